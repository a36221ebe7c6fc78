//! TCP and Unix sockets, to the source and to the database.

use super::{Part, copy};
use crate::ceiling::{Column, Copy};
use crate::lab::{Index, Lab, Tables};
use crate::load::{Load, Over};
use crate::rounds::{Rounds, Slot, Work};
use crate::sets::Set;
use crate::source::{Shape, Source};
use crate::{markdown, rounds};

/// Places of the bare loop over the Unix socket.
const CONTROLS: &[usize] = &[0, 6];

/// Measures all four ways through.
pub(crate) async fn measure(
    lab: &Lab,
    shape: Shape,
    plugins: &Set,
    rounds: Rounds,
) -> anyhow::Result<Part> {
    let source = Source::start(shape).await?;
    let tables = Tables {
        column: Column::Vector,
        dimensions: shape.dimensions,
        index: Index::None,
    };
    let raw =
        |label: &str, against| Slot::one(tables, label, against, copy(shape, Column::Vector, 1));
    let mut slots = vec![raw("bare COPY, Unix socket", &[])];
    for (database_over, database) in [(Over::Unix, "a Unix socket"), (Over::Tcp, "TCP")] {
        for (source_over, from) in [(Over::Tcp, "TCP"), (Over::Unix, "a Unix socket")] {
            let load = Load {
                source_over,
                database_over,
                ..Load::new(plugins, &source)
            };
            let label = format!("rows over {from}, database over {database}");
            slots.push(Slot::one(tables, label, CONTROLS, Work::Load(load)));
        }
    }
    let over_tcp = Copy {
        shape,
        column: Column::Vector,
        connections: 1,
        then: String::new(),
    };
    let over_tcp = Work::Copy(over_tcp, Over::Tcp);
    slots.push(Slot::one(tables, "bare COPY, TCP", CONTROLS, over_tcp));
    slots.push(raw("bare COPY, Unix socket, again", &[0]));
    let results = rounds::measure(lab, "transport", &slots, rounds).await?;
    let text = format!(
        "\n## {} rows with {} dimensions, three plugins\n{}",
        shape.rows,
        shape.dimensions,
        markdown::loads(&results, "of COPY over the Unix socket")
    );
    Ok(Part { text, chart: None })
}
