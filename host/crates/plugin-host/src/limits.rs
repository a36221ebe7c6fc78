//! What a plugin may use. Everything that a guest can make larger has its bound here, or at
//! the constant where it applies.

use std::time::Duration;

/// Bounds that the configuration can change (`[plugins] limits`). "A call" is one entry into a
/// guest: an instantiation, `describe`, a `configure`, or a call with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// Bytes of all linear memories of an instance together.
    pub memory: usize,
    /// Wall-clock time of a call. Kept to within a tenth of it on an idle machine, and to within
    /// 2 ms if that is longer.
    #[serde(rename = "deadline_ms", serialize_with = "millis")]
    pub deadline: Duration,
    /// Bytes of stack of a call; at least [`MIN_STACK`] and at most [`MAX_STACK`].
    pub stack: usize,
    /// Elements of all tables of an instance together, 8 bytes each. Interpreters have 20,000.
    pub table_elements: usize,
    /// Core instances in a component; and as many tables, and as many memories. Interpreters
    /// split in many modules have a hundred.
    pub instances: usize,
    /// Calls of imported functions in a call. The largest chunk has 10,000 rows: this allows
    /// for reading and writing three embeddings of each, and some more.
    pub host_calls: u32,
    /// Lines a guest may log in a call; what comes after is counted.
    pub log_lines: u32,
    /// Bytes a guest may hand to the host in its answer; and as many in all calls of imported
    /// functions during a call, together with the copies of embeddings that it has the host
    /// make. What the values of a packed answer come to when each is written out may be as much,
    /// and so may all answers about one batch, which are several where a call has failed.
    /// A batch of 300 rows whose every field is set has well under 1 MiB.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            deadline: Duration::from_millis(500),
            stack: 512 << 10,
            table_elements: 1 << 20,
            instances: 1_000,
            host_calls: 100_000,
            log_lines: 100,
            output: 64 << 20,
        }
    }
}

fn millis<S: serde::Serializer>(deadline: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(deadline.as_millis())
}

/// Bytes of stack below which hardly any guest can run.
pub const MIN_STACK: usize = 64 << 10;

/// Bytes of stack that leave the host's functions enough of a thread's 2 MiB.
pub const MAX_STACK: usize = 1 << 20;

/// Bytes of a plugin's file. The largest guests, which carry an interpreter, have 20 MiB.
pub const MAX_FILE: u64 = 64 << 20;

/// Characters that are shown of an import's or an export's name. Tools make 60.
pub(super) const MAX_NAME: usize = 200;

/// Handles a guest may have to host resources such as streams. It needs three.
pub(super) const MAX_RESOURCES: usize = 1_000;

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
