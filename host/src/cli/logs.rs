//! Logs: `tracing` events on standard error, above the progress bar where there is one.

use std::io;
use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

/// Every progress bar is drawn through this, so that lines of the log do not tear it.
pub(super) static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

/// How logs are written.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
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
        .with_ansi(io::stderr().is_terminal());
    match format {
        Format::Text => registry.with(layer.with_target(false).compact()).init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
}
