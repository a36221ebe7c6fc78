//! Ctrl-C, SIGTERM and SIGHUP, which all mean the same: the first signal ends the work in order, the
//! second ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;

/// A token that is cancelled by the first signal. The second signal ends the process; rows that
/// are not committed by then are received again by the next start.
pub(super) fn on_signal() -> anyhow::Result<CancellationToken> {
    on_signal_saying(
        "stopping after the received chunks are committed; send the signal again to stop at once",
    )
}

/// As [`on_signal`], for a command that moves no rows.
pub(super) fn quietly() -> anyhow::Result<CancellationToken> {
    on_signal_saying("stopping")
}

fn on_signal_saying(message: &'static str) -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let mut hangup = match hangup_is_ignored() {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    let token = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                Some(_) = async { hangup.as_mut()?.recv().await } => {}
            }
            if token.is_cancelled() {
                std::process::exit(Exit::Interrupted as i32);
            }
            tracing::warn!("{message}");
            token.cancel();
        }
    });
    Ok(stop)
}

/// True if the process was started to outlive its terminal, as by `nohup`. A handler would undo that.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal n is bit n - 1, and SIGHUP is 1.
    ignored.is_some_and(|mask| mask & 1 == 1)
}
