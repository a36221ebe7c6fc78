//! Logs: `tracing` events on standard error, above the progress bar if one is shown.
//!
//! They are coloured only on a terminal, and not if `NO_COLOR` is set (<https://no-color.org>).

use std::io;
use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

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

pub(super) fn start(format: Format, filter: Option<&str>, default: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter.unwrap_or(default));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer()
        .with_writer(|| AboveBars)
        .with_ansi(io::stderr().is_terminal() && !anstyle_query::no_color());
    match format {
        Format::Text => registry.with(layer.with_target(false).compact()).init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
}
