//! The functions of `forebay:plugin/embeddings`: the vectors of a batch, worked on in the host.
//!
//! The batch's embeddings belong to the store while a call runs, and to nobody's store
//! otherwise: outside of a call every function traps. What a call changed is undone when it
//! fails. What is written and what is copied natively counts as handed to the host
//! (`Limits::output`), and each function ends within milliseconds, so that the deadline holds.

use std::sync::Arc;

use wasmtime::{Error, Result, bail, format_err};

use super::bindings::embeddings::Host;
use super::sandbox::State;
use super::sanitize::shortened;
use super::vectors;
use crate::row::{Embeddings, Schema, Vector};

/// Elements of an embedding that a guest may write: the most that pgvector stores.
const MAX_DIMENSIONS: usize = 16_000;

/// What a call may do with the embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// In `validate`.
    Read,
    /// In `transform`.
    Write,
}

/// Embeddings lent to an instance for one call.
pub(super) struct Lent {
    schema: Arc<Schema>,
    embeddings: Embeddings,
    /// For each row of the call its index in the embeddings.
    rows: Vec<u32>,
    access: Access,
    /// All vectors as they were before the first change. Clones share the buffers.
    before: Option<Vec<Option<Vector>>>,
}

impl Lent {
    /// Lends the embeddings of these rows of a batch.
    pub(super) fn new(
        schema: &Arc<Schema>,
        embeddings: Embeddings,
        rows: &[u32],
        access: Access,
    ) -> Self {
        Self {
            schema: Arc::clone(schema),
            embeddings,
            rows: rows.to_vec(),
            access,
            before: None,
        }
    }

    /// The embeddings with what the call changed.
    pub(super) fn kept(self) -> Embeddings {
        self.embeddings
    }

    /// The embeddings as they were before the call.
    pub(super) fn undone(mut self) -> Embeddings {
        if let Some(before) = self.before.take() {
            self.embeddings.vectors = before;
        }
        self.embeddings
    }

    fn embedding(&self, name: &str) -> Result<usize> {
        self.schema.embedding(name).ok_or_else(|| {
            let known: Vec<_> = self
                .schema
                .embeddings
                .iter()
                .map(|e| e.name.as_str())
                .collect();
            let name = shortened(name, 80);
            format_err!("no embedding is named {name:?}; there are {known:?}")
        })
    }

    fn row(&self, row: u32) -> Result<usize> {
        match self.rows.get(row as usize) {
            Some(row) => Ok(*row as usize),
            None => bail!(
                "row {row} does not exist: the batch has {} rows",
                self.rows.len()
            ),
        }
    }

    fn vector(&self, row: u32, name: &str) -> Result<Option<&Vector>> {
        Ok(self.embeddings.get(self.row(row)?, self.embedding(name)?))
    }

    /// The vectors of one embedding, in the order of the call's rows.
    fn column(&self, name: &str) -> Result<impl Iterator<Item = Option<&Vector>>> {
        let embedding = self.embedding(name)?;
        Ok(self
            .rows
            .iter()
            .map(move |row| self.embeddings.get(*row as usize, embedding)))
    }

    fn begin_change(&mut self) -> Result<()> {
        if self.access == Access::Read {
            bail!("embeddings can only be changed in transform");
        }
        if self.before.is_none() {
            self.before = Some(self.embeddings.vectors.clone());
        }
        Ok(())
    }

    /// Replaces the vectors of one embedding for which `change` has another.
    fn change(&mut self, name: &str, change: impl Fn(&Vector) -> Option<Vector>) -> Result<()> {
        let embedding = self.embedding(name)?;
        self.begin_change()?;
        for row in &self.rows {
            if let Some(Some(vector)) = self.embeddings.slot(*row as usize, embedding)
                && let Some(changed) = change(vector)
            {
                *vector = changed;
            }
        }
        Ok(())
    }
}

impl State {
    /// What every function here asks for first.
    fn lent(&mut self) -> Result<&mut Lent> {
        self.meter.count_call();
        self.meter.check()?;
        self.lent.as_mut().ok_or_else(outside_of_call)
    }
}

fn outside_of_call() -> Error {
    format_err!("embeddings exist only during transform and validate")
}

impl Host for State {
    fn dimensions(&mut self, row: u32, name: String) -> Result<Option<u32>> {
        match self.lent()?.vector(row, &name)? {
            Some(vector) => Ok(Some(u32::try_from(vector.dimensions())?)),
            None => Ok(None),
        }
    }

    fn read(&mut self, row: u32, name: String) -> Result<Vec<f32>> {
        match self.lent()?.vector(row, &name)? {
            Some(vector) => Ok(vectors::elements(vector)),
            None => bail!("row {row} has no embedding {name:?}"),
        }
    }

    fn write(&mut self, row: u32, name: String, values: Vec<f32>) -> Result<()> {
        let lent = self.lent()?;
        let (at, embedding) = (lent.row(row)?, lent.embedding(&name)?);
        if values.is_empty() || values.len() > MAX_DIMENSIONS {
            bail!(
                "an embedding has 1 to {MAX_DIMENSIONS} elements, not {}",
                values.len()
            );
        }
        if let Some(element) = values.iter().position(|x| !x.is_finite()) {
            bail!("element {element} of the embedding written to row {row} is not finite");
        }
        lent.begin_change()?;
        let written = vectors::from_elements(&values);
        let bytes = vectors::size(&written);
        if let Some(slot) = lent.embeddings.slot(at, embedding) {
            *slot = Some(written);
        }
        Ok(self.meter.charge(bytes)?)
    }

    fn norms(&mut self, name: String) -> Result<Vec<f32>> {
        let column = self.lent()?.column(&name)?;
        Ok(column
            .map(|v| v.map_or(0.0, |v| vectors::narrowed(vectors::norm(v))))
            .collect())
    }

    fn non_finite(&mut self, name: String) -> Result<Vec<u32>> {
        let column = self.lent()?.column(&name)?.zip(0_u32..);
        Ok(column
            .filter_map(|(vector, row)| (!vectors::is_finite(vector?)).then_some(row))
            .collect())
    }

    fn normalize(&mut self, name: String) -> Result<()> {
        let column = self.lent()?.column(&name)?;
        let bytes = column.flatten().map(vectors::size).sum();
        self.meter.charge(bytes)?;
        self.lent()?.change(&name, |vector| {
            let norm = vectors::norm(vector);
            (norm > 0.0 && norm.is_finite()).then(|| vectors::divided(vector, norm))
        })
    }

    fn truncate(&mut self, name: String, dimensions: u32) -> Result<()> {
        if dimensions == 0 {
            bail!("an embedding cannot be truncated to 0 elements");
        }
        let dimensions = usize::try_from(dimensions)?;
        self.lent()?
            .change(&name, |vector| vectors::truncated(vector, dimensions))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::super::grants::Grants;
    use super::super::limits::Limits;
    use super::*;
    use crate::row::EmbeddingColumn;

    /// Three rows with one embedding; the call has the rows 2 and 0, and row 1 has none.
    fn state(access: Access) -> State {
        let schema = Arc::new(Schema {
            columns: Vec::new(),
            embeddings: vec![EmbeddingColumn {
                name: "v".to_owned(),
                dimensions: 2,
            }],
        });
        let vectors = vec![
            Some(vectors::from_elements(&[3.0, 4.0])),
            None,
            Some(vectors::from_elements(&[0.0, f32::NAN])),
        ];
        let mut state = State::new("test", &Limits::default(), &Grants::new());
        state.lent = Some(Lent::new(
            &schema,
            Embeddings { width: 1, vectors },
            &[2, 0, 1],
            access,
        ));
        state
    }

    fn v() -> String {
        "v".to_owned()
    }

    #[test]
    fn rows_are_those_of_the_call() {
        let mut state = state(Access::Read);
        assert_eq!(state.dimensions(0, v()).unwrap(), Some(2));
        assert_eq!(state.dimensions(2, v()).unwrap(), None);
        assert_eq!(state.read(1, v()).unwrap(), [3.0, 4.0]);
        assert_eq!(state.non_finite(v()).unwrap(), [0]);
        let norms = state.norms(v()).unwrap();
        assert!(norms[0].is_nan());
        assert_eq!(norms[1..], [5.0, 0.0]);
    }

    #[test]
    fn rules_broken_trap_with_a_reason() {
        let check = |result: Result<()>, part: &str| {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };
        let mut state = state(Access::Write);
        check(state.read(3, v()).map(drop), "row 3 does not exist");
        check(state.read(u32::MAX, v()).map(drop), "does not exist");
        check(state.read(2, v()).map(drop), "has no embedding");
        check(
            state.norms("w".to_owned()).map(drop),
            "no embedding is named \"w\"",
        );
        check(state.write(0, v(), vec![]), "1 to 16000 elements");
        check(
            state.write(0, v(), vec![0.0; 16_001]),
            "1 to 16000 elements",
        );
        check(state.write(0, v(), vec![0.0, f32::NAN]), "element 1");
        check(state.truncate(v(), 0), "0 elements");
        state.lent = None;
        check(state.normalize(v()), "only during");
    }

    #[test]
    fn validate_cannot_write() {
        let mut state = state(Access::Read);
        for result in [
            state.normalize(v()),
            state.truncate(v(), 1),
            state.write(0, v(), vec![1.0]),
        ] {
            assert!(
                result
                    .unwrap_err()
                    .to_string()
                    .contains("only be changed in transform")
            );
        }
    }

    #[test]
    fn changes_are_kept_or_undone() {
        let change = |state: &mut State| {
            state.normalize(v()).unwrap();
            state.truncate(v(), 1).unwrap();
            state.write(2, v(), vec![1.0, 2.0, 3.0]).unwrap();
            state.lent.take().unwrap()
        };
        let kept = change(&mut state(Access::Write)).kept();
        assert_eq!(kept.vectors[0], Some(vectors::from_elements(&[0.6])));
        assert_eq!(
            kept.vectors[1],
            Some(vectors::from_elements(&[1.0, 2.0, 3.0]))
        );

        let undone = change(&mut state(Access::Write)).undone();
        let untouched = state(Access::Write).lent.unwrap().kept();
        assert_eq!(undone.vectors[0], untouched.vectors[0]);
        assert_eq!(undone.vectors[1], None);
        assert_eq!(undone.width, 1);
    }
}
