//! Undecoded rows of a file.

use std::sync::Arc;

use forebay_plugin_host::row::Vector;

use crate::pieces::{Lines, Records};
use crate::rows::{Rows, Shape};
use crate::{csv, json, records};

/// Undecoded rows.
#[derive(Debug, Clone, Default)]
pub struct Units {
    pieces: Vec<Piece>,
    rows: usize,
    bytes: usize,
}

#[derive(Debug, Clone)]
enum Piece {
    Lines(Lines),
    Records(Records),
}

impl From<Lines> for Units {
    fn from(lines: Lines) -> Self {
        let texts: usize = lines.lines.iter().map(|line| line.bytes.len()).sum();
        let beside = lines.beside.iter().flat_map(|(_, vectors)| vectors);
        let vectors: usize = beside
            .map(|it| match it {
                Some(Vector::F16(bytes) | Vector::F32(bytes)) => bytes.len(),
                None => 0,
            })
            .sum();
        Self {
            rows: lines.lines.len(),
            bytes: texts + vectors,
            pieces: vec![Piece::Lines(lines)],
        }
    }
}

impl From<Records> for Units {
    fn from(records: Records) -> Self {
        Self {
            rows: records.batch.num_rows(),
            bytes: records.bytes,
            pieces: vec![Piece::Records(records)],
        }
    }
}

impl Units {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True if there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Their memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the rows that follow.
    pub fn append(&mut self, more: Self) {
        self.pieces.extend(more.pieces);
        self.rows += more.rows;
        self.bytes += more.bytes;
    }

    /// Where in its file a row stands, in words.
    #[must_use]
    pub fn place(&self, row: usize) -> Option<String> {
        let (piece, row) = self.find(row)?;
        Some(match piece {
            Piece::Lines(lines) => format!("line {}", lines.lines.get(row)?.number),
            Piece::Records(records) => format!("row {}", records.first + row as u64),
        })
    }

    /// One of the rows.
    #[must_use]
    pub fn one(&self, row: usize) -> Option<Self> {
        let (piece, row) = self.find(row)?;
        Some(match piece {
            Piece::Lines(lines) => Lines {
                header: lines.header.clone(),
                lines: vec![lines.lines.get(row)?.clone()],
                beside: lines
                    .beside
                    .iter()
                    .map(|(name, vectors)| {
                        let vector = vectors.get(row).cloned().flatten();
                        (Arc::clone(name), vec![vector])
                    })
                    .collect(),
            }
            .into(),
            Piece::Records(records) => Records {
                batch: records.batch.slice(row, 1),
                first: records.first + row as u64,
                bytes: records.bytes / records.batch.num_rows().max(1),
            }
            .into(),
        })
    }

    /// The value of a column of the first row, as JSON.
    #[must_use]
    pub fn json(&self, column: &str) -> Option<String> {
        let (piece, row) = self.find(0)?;
        match piece {
            Piece::Records(records) => records::as_json(&records.batch, column, row),
            Piece::Lines(lines) => {
                let line = lines.lines.get(row)?;
                match &lines.header {
                    None => json::member(str::from_utf8(&line.bytes).ok()?, column),
                    Some(header) => {
                        let at = header.iter().position(|name| name == column)?;
                        let fields = csv::fields(&line.bytes)?;
                        fields.get(at).map(|text| csv::as_json(text))
                    }
                }
            }
        }
    }

    /// The line that is the first row, as far as it was read, if it is one.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        let (piece, row) = self.find(0)?;
        match piece {
            Piece::Records(_) => None,
            Piece::Lines(lines) => {
                let line = lines.lines.get(row)?;
                Some(String::from_utf8_lossy(&line.bytes).into_owned())
            }
        }
    }

    fn find(&self, mut row: usize) -> Option<(&Piece, usize)> {
        for piece in &self.pieces {
            let rows = piece.rows();
            if row < rows {
                return Some((piece, row));
            }
            row -= rows;
        }
        None
    }
}

impl Piece {
    fn rows(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.lines.len(),
            Self::Records(records) => records.batch.num_rows(),
        }
    }
}

/// Decodes rows. What is wrong with a row is a fault of that row.
#[must_use]
pub fn decode(units: &Units, shape: &Shape<'_>) -> Rows {
    let mut rows = Rows::new(units.len(), shape.schema);
    let mut at = 0;
    for piece in &units.pieces {
        match piece {
            Piece::Records(records) => records::decode(&records.batch, shape, at, &mut rows),
            Piece::Lines(lines) => {
                match &lines.header {
                    Some(header) => csv::decode(lines, header, shape, at, &mut rows),
                    None => json::decode(lines, shape, at, &mut rows),
                }
                decode_beside(lines, shape, at, &mut rows);
            }
        }
        at += piece.rows();
    }
    rows
}

/// The vectors of files beside the lines.
fn decode_beside(lines: &Lines, shape: &Shape<'_>, at: usize, rows: &mut Rows) {
    for (name, vectors) in &lines.beside {
        let index = shape.schema.embedding(name);
        let Some(index) = index.filter(|index| (shape.is_used)(*index)) else {
            continue;
        };
        for (row, vector) in vectors.iter().enumerate() {
            if let Some(vector) = vector {
                rows.vector(at + row, index, vector.clone());
            }
        }
    }
}
