//! The order of commits: chunks are written side by side and become visible in the order of their
//! source.

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::store::StoreError;

/// A chunk's place in the order of commits.
#[derive(Debug)]
pub struct Turn {
    before: Before,
    after: oneshot::Sender<i64>,
    waits: bool,
}

/// The chunks before this one.
#[derive(Debug)]
enum Before {
    /// Not all of them are committed yet.
    Waiting(oneshot::Receiver<i64>),
    /// The number of chunks that the run has committed.
    Committed(i64),
    /// One of them failed and will never be committed.
    Lost,
}

/// The place after a chunk: what the next chunk's turn is made from.
#[derive(Debug)]
pub struct LaterChunk(oneshot::Receiver<i64>);

impl LaterChunk {
    /// The place of the next chunk of a partition of whose run `sequence` chunks are committed.
    #[must_use]
    pub fn after(sequence: i64) -> Self {
        let (before, first) = oneshot::channel();
        // The receiver is there.
        before.send(sequence).ok();
        Self(first)
    }
}

impl Turn {
    /// The turn after `before`, and the place after it. A chunk that `waits` is not even written
    /// before its turn.
    #[must_use]
    pub fn new(before: LaterChunk, waits: bool) -> (Self, LaterChunk) {
        let (after, later) = oneshot::channel();
        let before = Before::Waiting(before.0);
        (
            Self {
                before,
                after,
                waits,
            },
            LaterChunk(later),
        )
    }

    /// True if the chunk must not be written before its turn.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// True if every chunk before this one is committed.
    pub(super) fn has_come(&mut self) -> bool {
        if let Before::Waiting(before) = &mut self.before {
            self.before = match before.try_recv() {
                Ok(sequence) => Before::Committed(sequence),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Closed) => Before::Lost,
            };
        }
        matches!(self.before, Before::Committed(_))
    }

    /// Waits until every chunk before this one is committed; returns how many the run has committed.
    /// Cancel safe.
    pub(super) async fn wait(&mut self) -> Result<i64, StoreError> {
        if let Before::Waiting(before) = &mut self.before {
            self.before = match before.await {
                Ok(sequence) => Before::Committed(sequence),
                Err(_) => Before::Lost,
            };
        }
        match self.before {
            Before::Committed(sequence) => Ok(sequence),
            Before::Waiting(_) | Before::Lost => {
                let message = "an earlier chunk was not committed";
                Err(StoreError::Away(message.into()))
            }
        }
    }

    /// Tells the next chunk that this one is committed.
    pub(super) fn pass(self) {
        if let Before::Committed(sequence) = self.before {
            // There may be no next chunk.
            self.after.send(sequence + 1).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_order() {
        let (mut first, later) = Turn::new(LaterChunk::after(7), false);
        let (mut second, later) = Turn::new(later, false);
        let (mut third, _) = Turn::new(later, true);
        assert!(first.has_come() && !second.has_come() && !third.has_come());
        assert!(third.waits() && !second.waits());
        first.pass();
        assert!(second.has_come() && !third.has_come());
        assert_eq!(second.wait().await.unwrap(), 8);
        drop(second);
        assert!(!third.has_come());
        assert!(third.wait().await.is_err());
    }
}
