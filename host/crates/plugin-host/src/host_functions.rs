//! The functions that the plugin interface offers to guests: `log`, and `embeddings`, which works
//! on a batch's vectors in the host.
//!
//! Outside of a call every function of `embeddings` traps. Bytes that a guest writes or has the
//! host copy count towards `Limits::output`, and each function returns within milliseconds, so
//! that the deadline holds.

use wasmtime::{Error, Result, bail, format_err};

use super::bindings::{embeddings, log, types};
use super::embeddings::Lent;
use super::guest_log::Level;
use super::sandbox::State;
use super::vectors;
use crate::row::MAX_DIMENSIONS;

impl types::Host for State {}

impl log::Host for State {
    fn log(&mut self, level: log::Level, message: String) -> Result<()> {
        self.usage.count_call();
        self.usage.charge(message.len())?;
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.guest_log().line(level, message);
        Ok(())
    }
}

impl State {
    /// Counts a call of `embeddings` and returns the embeddings.
    fn lent(&mut self) -> Result<&mut Lent> {
        self.usage.count_call();
        self.usage.check()?;
        self.lent.as_mut().ok_or_else(outside_of_call)
    }
}

fn outside_of_call() -> Error {
    format_err!("embeddings exist only during transform and validate")
}

impl embeddings::Host for State {
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
        Ok(self.usage.charge(bytes)?)
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
        self.usage.charge(bytes)?;
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

    use std::sync::Arc;

    use super::super::embeddings::Access;
    use super::super::grants::Grants;
    use super::super::limits::Limits;
    use super::embeddings::Host;
    use super::*;
    use crate::row::{EmbeddingColumn, Embeddings, Schema};

    /// Three rows with one embedding; the call has the rows 2, 0 and 1, and row 1 has no vector.
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
