//! What is measured, part by part.

pub(crate) mod dimensions;
pub(crate) mod dirt;
pub(crate) mod files;
pub(crate) mod index;
pub(crate) mod memory;
pub(crate) mod plugins;
pub(crate) mod transport;
pub(crate) mod write;

use crate::ceiling::{Column, Copy};
use crate::load::Over;
use crate::rounds::Work;
use crate::source::Shape;

/// What a part came to.
pub(crate) struct Part {
    /// Tables, in Markdown.
    pub(crate) text: String,
    /// SVG.
    pub(crate) chart: Option<String>,
}

/// The bare loop over Unix sockets.
fn copy(shape: Shape, column: Column, connections: usize) -> Work<'static> {
    let copy = Copy {
        shape,
        column,
        connections,
        then: String::new(),
    };
    Work::Copy(copy, Over::Unix)
}
