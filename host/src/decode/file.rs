//! Rows of files, which come in columns.

use super::fault::{Fault, fault};
use super::needs::Need;
use super::{Decoder, Sort};
use crate::files::{Rows, Shape, decode};
use crate::row::Batch;
use crate::source::FileRows;

impl Decoder {
    /// Decodes the rows of a file into a batch that is empty.
    pub(super) fn file(&self, rows: &FileRows, batch: &mut Batch) {
        let decoded = self.columns(rows);
        batch.keys = decoded.keys;
        batch.values = decoded.values;
        batch.embeddings.vectors = decoded.vectors;
        let is_defaulted = |place: &(u32, u32)| self.has_default(place.1);
        batch.left_out = decoded.left_out.into_iter().filter(is_defaulted).collect();
        batch.left_out.sort_unstable();
        let mut faults = decoded.faults;
        // The first fault of a row counts.
        faults.sort_by_key(|fault| fault.row);
        faults.dedup_by_key(|fault| fault.row);
        let mut faults = faults.into_iter().peekable();
        for row in 0..batch.keys.len() {
            let found = faults.next_if(|fault| fault.row == row);
            let found = found.map(|it| fault(it.code, it.message, it.field));
            self.finish(batch, row, found);
        }
    }

    /// Decodes one of the rows again.
    pub(super) fn file_row(&self, rows: &FileRows, batch: &mut Batch, row: usize) {
        let mut one = self.columns(&rows.one(row));
        let width = self.schema.columns.len();
        let values = batch.values.iter_mut().skip(row * width);
        values
            .zip(one.values)
            .for_each(|(slot, value)| *slot = value);
        let width = self.schema.embeddings.len();
        let vectors = batch.embeddings.vectors.iter_mut().skip(row * width);
        vectors
            .zip(one.vectors)
            .for_each(|(slot, vector)| *slot = vector);
        if let (Some(slot), Some(key)) = (batch.keys.get_mut(row), one.keys.pop()) {
            *slot = key;
        }
        self.needs.begin(batch, row, &mut Vec::new());
        if let Ok(row) = u32::try_from(row) {
            let places = one.left_out.into_iter().map(|(_, column)| (row, column));
            let is_defaulted = |place: &(u32, u32)| self.has_default(place.1);
            batch.left_out.extend(places.filter(is_defaulted));
            batch.left_out.sort_unstable();
        }
        let found = one.faults.into_iter().next();
        let found = found.map(|it| fault(it.code, it.message, it.field));
        self.finish(batch, row, found);
    }

    fn columns(&self, rows: &FileRows) -> Rows {
        let shape = Shape {
            schema: &self.schema,
            key: rows.key(),
            is_used: &|embedding| self.needs.embedding(embedding) != Need::Unused,
            max_row_bytes: self.max_row_bytes,
        };
        decode(rows.units(), &shape)
    }

    fn has_default(&self, column: u32) -> bool {
        let column = column as usize;
        self.needs.defaulted.binary_search(&column).is_ok()
    }

    fn finish(&self, batch: &mut Batch, row: usize, found: Option<Fault>) {
        let read = match found {
            Some(fault) if matches!(fault.0, "ROW_MALFORMED" | "ROW_TOO_LARGE") => Err(fault),
            // What is left out is noted already.
            found => self.check(batch, row, (Sort::Live, found), None),
        };
        self.settle(batch, row, read);
    }
}
