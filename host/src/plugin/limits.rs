//! What a plugin may use. Everything that a guest can make larger has its bound here, or at
//! the constant where it applies.

use std::time::Duration;

/// Bounds that the configuration can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all linear memories of an instance together.
    pub memory: usize,
    /// Wall-clock time of one entry into a guest: an instantiation, a `configure`, or a call
    /// with a batch. Kept to within two ticks (10 ms) on an idle machine.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            deadline: Duration::from_millis(500),
        }
    }
}

/// Bytes of a plugin's file. The largest guests, which carry an interpreter, have 20 MiB.
pub const MAX_FILE: u64 = 64 << 20;

/// Bytes of data a guest may hand to the host in one call, in either direction of calling.
/// A batch of 300 rows whose every field is set has well under 1 MiB.
pub(super) const MAX_TRANSFER: usize = 64 << 20;

/// Elements of all tables of an instance together, 8 bytes each. Interpreters have 20,000.
pub(super) const MAX_TABLE_ELEMENTS: usize = 1 << 20;

/// Core instances, tables and memories in a component. Interpreters split in many modules
/// have a hundred.
pub(super) const MAX_INSTANCES: usize = 1_000;

/// Handles a guest may have to host resources such as streams. It needs three.
pub(super) const MAX_RESOURCES: usize = 1_000;

/// Lines a guest may log in a call; what comes after is counted.
pub(super) const MAX_LOG_LINES: u32 = 100;

/// Characters of a log line.
pub(super) const MAX_LOG_LINE: usize = 2_000;

/// Characters of a rejection's code and of a queue's name.
pub(super) const MAX_CODE: usize = 64;

/// Characters of a rejection's message.
pub(super) const MAX_MESSAGE: usize = 2_000;

/// Characters of a field's name in a rejection. PostgreSQL's names have 63 bytes.
pub(super) const MAX_FIELD: usize = 200;

/// Characters of the reason of a drop: it becomes a metric's label.
pub(super) const MAX_REASON: usize = 200;

/// Columns a plugin may name in `reads`; a PostgreSQL table has at most 1,600.
pub(super) const MAX_READS: usize = 1_600;

/// Answers of `err` after which an instance is replaced: a guest that gave up half way may
/// have leaked what it had allocated.
pub(super) const MAX_ERRORS: u32 = 16;
