//! Limits of a plugin. Everything that a guest can make grow is bounded here, or by a constant at
//! the place where it applies.

use std::time::Duration;

/// Limits that the configuration can change (`[plugins] limits`). A "call" is one entry into a
/// guest: instantiation, `describe`, `configure`, or a call with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// Maximum bytes of all linear memories of an instance together.
    pub memory: usize,
    /// Maximum wall-clock time of a call. On an idle machine the overrun is at most a tenth of it,
    /// or 2 ms if that is more.
    #[serde(rename = "deadline_ms", serialize_with = "millis")]
    pub deadline: Duration,
    /// Bytes of stack for a call, from [`MIN_STACK`] to [`MAX_STACK`].
    pub stack: usize,
    /// Maximum elements of all tables of an instance together, 8 bytes each. Interpreters have
    /// 20,000.
    pub table_elements: usize,
    /// Maximum number of core instances in a component, and likewise of tables and of memories.
    /// Interpreters that are split into many modules have a hundred.
    pub instances: usize,
    /// Maximum number of imported functions called in a call. The largest chunk has 10,000 rows:
    /// the default allows reading and writing three embeddings of each, with some to spare.
    pub host_calls: u32,
    /// Maximum lines that a guest logs in a call; further lines are only counted.
    pub log_lines: u32,
    /// Maximum bytes for each of the following. A batch of 300 rows with every field set takes well
    /// under 1 MiB.
    ///
    /// * The answer of a call.
    /// * Arguments of all imported functions during a call, together with the copies of embeddings
    ///   that the host makes for them.
    /// * The values of a packed answer when each is written out.
    /// * All answers about one batch: several, if a call failed.
    pub output: usize,
    /// Maximum processor time for compiling a component, of all threads together, in whole seconds.
    /// The largest interpreters take 10 s. Applies where a [`Compiler`](super::Compiler) is a
    /// process of its own.
    #[serde(rename = "compile_time_ms", serialize_with = "millis")]
    pub compile_time: Duration,
    /// Maximum bytes of memory for that. Linux only.
    pub compile_memory: usize,
}

impl Limits {
    /// Names of the limits in which these differ from `common`, among those that a plugin may have
    /// of its own.
    pub(super) fn own_keys(&self, common: &Self) -> impl Iterator<Item = &'static str> + use<> {
        [
            ("memory", self.memory != common.memory),
            ("deadline", self.deadline != common.deadline),
            (
                "table_elements",
                self.table_elements != common.table_elements,
            ),
            ("host_calls", self.host_calls != common.host_calls),
            ("log_lines", self.log_lines != common.log_lines),
            ("output", self.output != common.output),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
    }

    /// The larger of each limit.
    pub(super) fn or_larger(self, other: &Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            deadline: self.deadline.max(other.deadline),
            table_elements: self.table_elements.max(other.table_elements),
            host_calls: self.host_calls.max(other.host_calls),
            log_lines: self.log_lines.max(other.log_lines),
            output: self.output.max(other.output),
            ..self
        }
    }
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
            compile_time: Duration::from_secs(60),
            compile_memory: 1 << 30,
        }
    }
}

fn millis<S: serde::Serializer>(deadline: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(deadline.as_millis())
}

/// Minimum bytes of stack: hardly any guest runs with less.
pub const MIN_STACK: usize = 64 << 10;

/// Maximum bytes of stack: leaves enough of a thread's 2 MiB for the host's functions.
pub const MAX_STACK: usize = 1 << 20;

/// Maximum bytes of a plugin's file. The largest guests, which contain an interpreter, have 20 MiB.
pub(super) const MAX_FILE: u64 = 64 << 20;

/// Maximum characters shown of the name of an import or export. Tools generate 60.
pub(super) const MAX_NAME: usize = 200;

/// Maximum handles of a guest to host resources such as streams. It needs three.
pub(super) const MAX_RESOURCES: usize = 1_000;

/// Maximum characters of a log line.
pub(super) const MAX_LOG_LINE: usize = 2_000;

/// Maximum characters of a rejection's code, and of a queue's name.
pub(super) const MAX_CODE: usize = 64;

/// Maximum characters of a rejection's message.
pub(super) const MAX_MESSAGE: usize = 2_000;

/// Maximum characters of a field's name in a rejection. Names in PostgreSQL have at most 63 bytes.
pub(super) const MAX_FIELD: usize = 200;

/// Maximum characters of a drop's reason, which becomes a metric's label.
pub(super) const MAX_REASON: usize = 200;

/// Maximum columns in `reads`; a PostgreSQL table has at most 1,600.
pub(super) const MAX_READS: usize = 1_600;

/// Number of `err` answers after which an instance is replaced: a guest that gave up half-way may
/// have leaked its allocations.
pub(super) const MAX_ERRORS: u32 = 16;
