//! Rows with embeddings from files: Parquet, Arrow IPC, JSON lines and CSV, with `.npy` beside them.
//!
//! A [`Reader`] reads one file from a position on and yields [`Units`]: undecoded lines, or record
//! batches. [`decode`] turns these into [`Rows`], in columns; what is wrong with a row is a [`Fault`]
//! of that row. Texts and vectors stay slices of what was read. [`Outline`] says what columns a file
//! has.
//!
//! Memory is bounded: a Parquet file is read page by page, and of lines only a block is held.

pub mod error;

pub mod identity;

pub mod kind;

mod key_kind;

mod rows;

mod pieces;

mod records;

mod json;

mod csv;

mod lines;

mod npy;

mod outline;

mod position;

mod units;

mod bounds;

mod arrow;

mod text;

mod reader;

mod look;

pub use self::bounds::Bounds;
pub use self::error::FileError;
pub use self::key_kind::KeyKind;
pub use self::kind::Kind;
pub use self::look::look;
pub use self::outline::{Outline, Overrides};
pub use self::pieces::{Line, Lines, Records};
pub use self::position::Position;
pub use self::reader::{Begin, Reader};
pub use self::rows::{Fault, Rows, Shape};
pub use self::units::{Units, decode};
