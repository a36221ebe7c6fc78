//! The manners of taking an index out of the way.

/// The manner in which an index is out of the way of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Dropped.
    Defer,
    /// Maintained with the least effort, and used by searches.
    Beside,
    /// No longer maintained, but still used by searches.
    Frozen,
}

impl Manner {
    /// The index mode, as in reports.
    #[must_use]
    pub fn mode(self) -> &'static str {
        match self {
            Self::Defer => "defer",
            Self::Beside => "rebuild",
            Self::Frozen => "rebuild-frozen",
        }
    }

    /// As in `forebay.index_work`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Defer => "defer",
            Self::Beside => "beside",
            Self::Frozen => "rebuild",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "beside" => Self::Beside,
            "rebuild" => Self::Frozen,
            _ => Self::Defer,
        }
    }
}
