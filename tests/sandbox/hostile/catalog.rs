//! The hostile components, each with the one way in which it has to end.

use std::fmt;

use support::component::component;

use super::{answers, calls, kept, packed, shapes, starts};

/// How the host gets over a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is not loaded; the message has this part.
    Refused(&'static str),
    /// It is loaded, and refused for a pipeline; the message has this part.
    Unsettled(&'static str),
    /// The row with the key `evil` fails with this code and part of a message; the others
    /// go on.
    Row(&'static str, &'static str),
    /// Rows are not to blame, so the pipeline halts; the message has this part.
    Broken(&'static str),
    /// The policy is not followed: failed rows go to the queue `default`.
    DefaultQueue,
    /// Nothing happens, for this reason.
    Harmless(&'static str),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(part) => write!(f, "refused: … {part} …"),
            Self::Unsettled(part) => write!(f, "refused for the pipeline: … {part} …"),
            Self::Row(code, part) => write!(f, "costs its row: `{code}`, … {part} …"),
            Self::Broken(part) => write!(f, "halts the pipeline: … {part} …"),
            Self::DefaultQueue => f.write_str("failed rows go to the queue `default`"),
            Self::Harmless(why) => write!(f, "harmless: {why}"),
        }
    }
}

/// A component that tries to hurt the host.
pub struct Hostile {
    /// Of its file.
    pub name: &'static str,
    /// What it tries.
    pub tries: &'static str,
    /// The component.
    pub bytes: Vec<u8>,
    /// How that ends.
    pub end: End,
}

/// The good component with these parts.
pub fn hostile(
    name: &'static str,
    tries: &'static str,
    parts: &[(&str, &str)],
    end: End,
) -> Hostile {
    let bytes = component(parts);
    Hostile {
        name,
        tries,
        bytes,
        end,
    }
}

/// All of them.
pub fn all() -> Vec<Hostile> {
    let all = [
        calls::all(),
        answers::all(),
        packed::all(),
        kept::all(),
        starts::all(),
        shapes::all(),
    ];
    all.into_iter().flatten().collect()
}
