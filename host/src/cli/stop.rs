//! Ctrl-C and SIGTERM: the first signal drains, the second ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;

/// A token that is cancelled by the first signal. The second signal ends the process; rows that
/// are not committed by then are received again by the next start.
pub(super) fn on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let token = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if token.is_cancelled() {
                std::process::exit(Exit::Interrupted as i32);
            }
            tracing::warn!(
                "stopping after the received chunks are committed; send the signal again to stop at once"
            );
            token.cancel();
        }
    });
    Ok(stop)
}
