//! Logs: `tracing` events on standard error, above the progress bar if one is shown.
//!
//! An event is one line, and has nothing that a terminal obeys, whatever its fields hold.
//!
//! They are coloured only on a terminal, and not if `NO_COLOR` is set (<https://no-color.org>).

use std::fmt;
use std::io;
use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::printable::{json, printable};

/// Draws all progress bars, so that log lines do not overwrite them.
pub(super) static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

/// Format of the log.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Format {
    /// Lines of text
    Text,
    /// One JSON object per line
    Json,
}

struct AboveBars;

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Lines of JSON, which by itself escapes only some of the characters that terminals obey.
struct Json;

impl Write for Json {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        AboveBars.write_all(json(&line).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        AboveBars.flush()
    }
}

/// Writes a field of an event: the message alone, others with their name.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = one_line(&format!("{value:?}"));
    match field.name() {
        "message" => writer.write_str(&value),
        name if writer.has_ansi_escapes() => {
            let (italic, plain) = (AnsiStyle::Italic, AnsiStyle::Plain);
            write!(writer, "{italic}{name}{plain}={value}")
        }
        name => write!(writer, "{name}={value}"),
    }
}

/// Styles of the names of fields.
#[derive(Clone, Copy)]
enum AnsiStyle {
    Plain,
    Italic,
}

impl fmt::Display for AnsiStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "\x1b[0m",
            Self::Italic => "\x1b[3m",
        })
    }
}

/// A text with its line ends, and the indents after them, as spaces. Line ends of others are
/// escaped before they are in a message; what is left are those before a hint.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    printable(&lines.join(" ")).into_owned()
}

pub(super) fn start(format: Format, filter: Option<&str>, default: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter.unwrap_or(default));
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        Format::Text => {
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(|| AboveBars)
                .with_ansi(io::stderr().is_terminal() && !anstyle_query::no_color())
                .with_target(false)
                .compact()
                .fmt_fields(debug_fn(field).delimited(" "));
            registry.with(layer).init();
        }
        Format::Json => {
            let layer = tracing_subscriber::fmt::layer().with_writer(|| Json);
            registry.with(layer.json().flatten_event(true)).init();
        }
    }
}
