//! How much is read at once.

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Maximum number of rows of a chunk.
    pub rows: usize,
    /// Bytes beyond which a chunk gets no more rows.
    pub bytes: usize,
    /// Bytes of a line that are kept; a longer one is too large.
    pub row: usize,
}
