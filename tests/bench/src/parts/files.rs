//! Rows from a Parquet file, beside the same rows from a server that speaks the own protocol.

use super::Part;
use crate::bars::{Bar, Bound};
use crate::ceiling::Column;
use crate::lab::{Index, Lab, Tables};
use crate::load::Load;
use crate::rounds::{Rounds, Slot, Work};
use crate::sets::Set;
use crate::source::{Shape, Source, parquet};
use crate::{bars, markdown, rounds};

/// Places of the runs with the own protocol.
const OWN: &[usize] = &[0, 2];
const FILE: usize = 1;

/// What is asked of a file, as a share of the own protocol's rate.
const LEAST_SHARE: f64 = 0.9;

/// Measures vectors of one size.
pub(crate) async fn measure(
    lab: &Lab,
    shape: Shape,
    plugins: &Set,
    rounds: Rounds,
) -> anyhow::Result<Part> {
    let source = Source::start(shape).await?;
    let path = lab.directory.join("rows.parquet");
    parquet::write(shape, &path)?;
    let tables = Tables {
        column: Column::Vector,
        dimensions: shape.dimensions,
        index: Index::None,
    };
    let own = Load::new(plugins, &source);
    let file = Load {
        file: Some(&path),
        ..own
    };
    let slots = [
        Slot::one(tables, "the own protocol", &[], Work::Load(own)),
        Slot::one(tables, "a Parquet file, f32", OWN, Work::Load(file)),
        Slot::one(tables, "the own protocol, again", &[0], Work::Load(own)),
    ];
    let name = format!("files, {} dimensions", shape.dimensions);
    let results = rounds::measure(lab, &name, &slots, rounds).await?;
    std::fs::remove_file(&path)?;
    let share = results.share(FILE).median;
    let bar = Bar::new(
        "a Parquet file, share of the own protocol's rate",
        Bound::AtLeast(LEAST_SHARE),
        share,
    );
    let text = format!(
        "\n## {} rows with {} dimensions, three plugins\n{}{}",
        shape.rows,
        shape.dimensions,
        markdown::loads(&results, "of the own protocol"),
        bars::list(&[bar])
    );
    Ok(Part { text, chart: None })
}
