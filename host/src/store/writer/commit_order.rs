//! Whose turn it is to commit: chunks are written side by side, and become visible in the order
//! of their source.

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::store::StoreError;

/// A chunk's place in the order of commits.
#[derive(Debug)]
pub struct Turn {
    before: Before,
    after: oneshot::Sender<()>,
    waits: bool,
}

/// The chunks before one.
#[derive(Debug)]
enum Before {
    /// Not yet committed, or not all of them.
    Waiting(oneshot::Receiver<()>),
    Committed,
    /// One of them never will be.
    Lost,
}

/// The place behind a chunk.
#[derive(Debug)]
pub struct LaterChunk(oneshot::Receiver<()>);

impl Turn {
    /// The place behind `before`, or the first one; and the place behind this. A chunk that
    /// `waits` is not even written before its turn.
    #[must_use]
    pub fn new(before: Option<LaterChunk>, waits: bool) -> (Self, LaterChunk) {
        let (after, behind) = oneshot::channel();
        let before = before.map_or(Before::Committed, |LaterChunk(before)| {
            Before::Waiting(before)
        });
        (
            Self {
                before,
                after,
                waits,
            },
            LaterChunk(behind),
        )
    }

    /// Whether the chunk must not be written earlier.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Whether every chunk before this one is committed.
    pub(super) fn has_come(&mut self) -> bool {
        if let Before::Waiting(before) = &mut self.before {
            self.before = match before.try_recv() {
                Ok(()) => Before::Committed,
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Closed) => Before::Lost,
            };
        }
        matches!(self.before, Before::Committed)
    }

    /// Waits until every chunk before this one is committed. Can be dropped and called again.
    pub(super) async fn come(&mut self) -> Result<(), StoreError> {
        if let Before::Waiting(before) = &mut self.before {
            self.before = match before.await {
                Ok(()) => Before::Committed,
                Err(_) => Before::Lost,
            };
        }
        match self.before {
            Before::Committed => Ok(()),
            Before::Waiting(_) | Before::Lost => {
                let message = "the chunk before this one was not committed";
                Err(StoreError::Away(message.into()))
            }
        }
    }

    /// The chunk is committed.
    pub(super) fn pass(self) {
        // Nobody has to be behind it.
        self.after.send(()).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_order() {
        let (mut first, behind) = Turn::new(None, false);
        let (mut second, behind) = Turn::new(Some(behind), false);
        let (mut third, _) = Turn::new(Some(behind), true);
        assert!(first.has_come() && !second.has_come() && !third.has_come());
        assert!(third.waits() && !second.waits());
        first.pass();
        assert!(second.has_come() && !third.has_come());
        second.come().await.unwrap();
        drop(second);
        assert!(!third.has_come());
        assert!(third.come().await.is_err());
    }
}
