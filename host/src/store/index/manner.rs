//! The two manners of suspending an index.

/// The manner in which an index is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Dropped.
    Defer,
    /// No longer maintained, but still used by searches.
    Rebuild,
}

impl Manner {
    /// As in `forebay.index_work`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Defer => "defer",
            Self::Rebuild => "rebuild",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        if text == "rebuild" {
            Self::Rebuild
        } else {
            Self::Defer
        }
    }
}
