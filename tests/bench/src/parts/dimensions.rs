//! Vectors in single and half precision, on the wire and in the column.

use super::{Part, copy};
use crate::ceiling::Column;
use crate::lab::{Index, Lab, Tables};
use crate::load::Load;
use crate::rounds::{Rounds, Slot, Work};
use crate::sets::Set;
use crate::source::{Shape, Source, Wire};
use crate::{markdown, rounds};

/// Places of the bare loops into each kind of column.
const VECTOR: &[usize] = &[0, 6];
const HALFVEC: &[usize] = &[3];

/// Measures vectors of one size.
pub(crate) async fn measure(
    lab: &Lab,
    shape: Shape,
    plugins: &Set,
    rounds: Rounds,
) -> anyhow::Result<Part> {
    let single = Source::start(shape).await?;
    let half = Source::start(Shape {
        wire: Wire::F16,
        ..shape
    })
    .await?;
    let tables = |column| Tables {
        column,
        dimensions: shape.dimensions,
        index: Index::None,
    };
    let raw =
        |label, column, against| Slot::one(tables(column), label, against, copy(shape, column, 1));
    let load = |(wire, source), column: Column, against| {
        let label = format!("{wire} into {}, three plugins", column.name());
        let work = Work::Load(Load::new(plugins, source));
        Slot::one(tables(column), label, against, work)
    };
    let (single, half) = (("f32", &single), ("f16", &half));
    let slots = [
        raw("bare COPY into vector", Column::Vector, &[]),
        load(single, Column::Vector, VECTOR),
        load(half, Column::Vector, VECTOR),
        raw("bare COPY into halfvec", Column::Halfvec, VECTOR),
        load(single, Column::Halfvec, HALFVEC),
        load(half, Column::Halfvec, HALFVEC),
        raw("bare COPY into vector, again", Column::Vector, &[0]),
    ];
    let name = format!("single and half precision, {} dimensions", shape.dimensions);
    let results = rounds::measure(lab, &name, &slots, rounds).await?;
    let text = format!(
        "\n## {} rows with {} dimensions\n\nEach is compared with the bare loop into its own kind of \
         column, and that into halfvec with that into vector.\n{}",
        shape.rows,
        shape.dimensions,
        markdown::loads(&results, "of COPY")
    );
    Ok(Part { text, chart: None })
}
