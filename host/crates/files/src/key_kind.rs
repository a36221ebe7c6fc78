//! What keys are.

/// What the keys of files are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// Texts.
    #[default]
    Text,
    /// Integers.
    Integer,
    /// UUIDs.
    Uuid,
}
