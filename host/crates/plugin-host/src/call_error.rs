//! Why a call failed.

use std::fmt;

/// The kinds of failure, as the interface names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The guest trapped.
    Trap,
    /// The guest took too long.
    Deadline,
    /// The guest failed after it had been refused memory.
    Memory,
    /// The guest answered `err`.
    Error,
    /// The answer has not one entry per row, or something in it cannot be.
    Output,
    /// There is no instance to call: it could not be opened or refused its settings. No row
    /// is to blame.
    Unusable,
}

impl Kind {
    /// The code of a row that failed so.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Trap | Self::Unusable => "PLUGIN_TRAP",
            Self::Deadline => "PLUGIN_DEADLINE",
            Self::Memory => "PLUGIN_MEMORY",
            Self::Error => "PLUGIN_ERROR",
            Self::Output => "PLUGIN_OUTPUT",
        }
    }

    /// Whether the instance can be called again.
    pub(super) fn spares_instance(self) -> bool {
        match self {
            Self::Error | Self::Output => true,
            Self::Trap | Self::Deadline | Self::Memory | Self::Unusable => false,
        }
    }
}

/// Why a call failed.
#[derive(Clone, Debug)]
pub(super) struct CallError {
    pub(super) kind: Kind,
    /// For people: what the guest said, else the trap.
    pub(super) message: String,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In one line, as it goes to the log.
        let message = self.message.replace('\n', " ");
        write!(f, "{}: {message}", self.kind.code())
    }
}
