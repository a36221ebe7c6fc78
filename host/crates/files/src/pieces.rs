//! What a file is read in: lines, or record batches.

use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use forebay_plugin_host::row::Vector;

/// Lines of a file.
#[derive(Debug, Clone)]
pub struct Lines {
    /// Names of the fields of CSV; `None` if each line is a JSON object.
    pub header: Option<Arc<[String]>>,
    /// The lines, without their ends.
    pub lines: Vec<Line>,
    /// Vectors from files beside it, by name.
    pub beside: Vec<(Arc<str>, Vec<Option<Vector>>)>,
}

/// A line. That of CSV may have line breaks within quotes.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its bytes, or the first of them if there are too many.
    pub bytes: Bytes,
    /// Number of its bytes.
    pub length: u64,
    /// Its number in the file, from 1 on.
    pub number: u64,
    /// True if the file ends without ending the line.
    pub is_torn: bool,
}

/// A record batch.
#[derive(Debug, Clone)]
pub struct Records {
    /// The batch.
    pub batch: RecordBatch,
    /// Number of its first row in the file, from 1 on.
    pub first: u64,
    /// Memory of its rows, in bytes.
    pub bytes: usize,
}
