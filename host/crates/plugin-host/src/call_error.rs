//! Reasons why a plugin call failed.

use std::fmt;

use super::codes;

/// Kinds of failure, as the interface names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The guest trapped.
    Trap,
    /// The guest missed its deadline.
    Deadline,
    /// The guest was refused memory or table elements: whatever it answered is not believed.
    Memory,
    /// The guest returned `err`.
    Error,
    /// The answer is invalid, or does not have one entry per row.
    Output,
    /// There is no instance to call: it could not be created, or it refused its settings. No
    /// row is to blame.
    Unusable,
}

impl Kind {
    /// The code of a row on which the plugin failed like this.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Trap | Self::Unusable => codes::TRAP,
            Self::Deadline => codes::DEADLINE,
            Self::Memory => codes::MEMORY,
            Self::Error => codes::ERROR,
            Self::Output => codes::OUTPUT,
        }
    }

    /// True if the instance can be called again.
    pub(super) fn spares_instance(self) -> bool {
        match self {
            Self::Error | Self::Output => true,
            Self::Trap | Self::Deadline | Self::Memory | Self::Unusable => false,
        }
    }
}

/// A failed call.
#[derive(Clone, Debug)]
pub(super) struct CallError {
    pub(super) kind: Kind,
    /// Message for people: the guest's own, or else a description of the trap.
    pub(super) message: String,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // On one line, because it goes to the log.
        let message = self.message.replace('\n', " ");
        write!(f, "{}: {message}", self.kind.code())
    }
}
