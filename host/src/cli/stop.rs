//! Ctrl-C and SIGTERM: the first drains, the second does not wait.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Exit;

/// A token that is cancelled by the first signal. The second ends the process: what is not
/// committed by then is simply not committed.
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
                "stopping when what was received is committed; once more to stop at once"
            );
            token.cancel();
        }
    });
    Ok(stop)
}
