//! The way into the tables: new, unchanged and changed rows, against the bare loop.

use super::{Part, copy};
use crate::bars::{Bar, Bound};
use crate::ceiling::Column;
use crate::chart::{Figure, Scale};
use crate::figures::Results;
use crate::lab::{Index, Lab, Tables};
use crate::load::{Expect, Load};
use crate::rounds::{Rounds, Slot, Step, Work};
use crate::sets::Set;
use crate::source::{Shape, Source, Wire};
use crate::{bars, chart, markdown, rounds};

/// Places of the variants.
const CONTROLS: &[usize] = &[0, 8];
const NEW: usize = 3;
const UNCHANGED: usize = 4;
const CHANGED: usize = 5;
const MIXED: usize = 7;

/// What is asked of new rows: a share of the ceiling, and µs of CPU a row by dimensions.
const LEAST_SHARE: f64 = 0.8;
fn most_cpu(dimensions: usize) -> f64 {
    if dimensions <= 512 { 8.0 } else { 12.0 }
}

/// Whether the host takes part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    Host,
    CeilingOnly,
}

/// Measures vectors of one size.
pub(crate) async fn measure(
    lab: &Lab,
    shape: Shape,
    plugins: &Set,
    rounds: Rounds,
    with: With,
) -> anyhow::Result<Part> {
    let source = Source::start(shape).await?;
    let tables = Tables {
        column: Column::Vector,
        dimensions: shape.dimensions,
        index: Index::None,
    };
    let none = Set::none("no plugins");
    let raw = |label: &str, against, connections| {
        Slot::one(
            tables,
            label,
            against,
            copy(shape, Column::Vector, connections),
        )
    };
    let mut slots = vec![
        raw("bare COPY, one connection", &[], 1),
        raw("bare COPY, two connections", CONTROLS, 2),
    ];
    if with == With::Host {
        let load = Load::new(&none, &source);
        slots.push(Slot::one(
            tables,
            "new rows, no plugins",
            CONTROLS,
            Work::Load(load),
        ));
        slots.push(three_nights(tables, Load::new(plugins, &source)));
        slots.push(half_known(tables, load, shape.lower_half()?));
        slots.push(raw("bare COPY, one connection, again", &[0], 1));
    } else {
        slots.push(raw("bare COPY, one connection, again", &[0], 1));
    }
    let name = format!("write, {} dimensions", shape.dimensions);
    let results = rounds::measure(lab, &name, &slots, rounds).await?;
    let mut text = format!(
        "\n## {} rows with {} dimensions\n{}",
        shape.rows,
        shape.dimensions,
        markdown::loads(&results, "of COPY")
    );
    if with == With::Host {
        text.push_str(&bars::list(&bars(&results, shape.dimensions)));
        text.push_str(&bars::list(&server_bars(&results, shape)?));
    }
    Ok(Part {
        text,
        chart: Some(draw(&results, shape)),
    })
}

/// New rows; the same again; the same with some that differ.
fn three_nights<'a>(tables: Tables, new: Load<'a>) -> Slot<'a> {
    let step = |label: &str, expect| Step {
        label: label.to_owned(),
        against: CONTROLS.to_vec(),
        work: Work::Load(Load { expect, ..new }),
    };
    Slot {
        tables,
        steps: vec![
            step("new rows, three plugins", Expect::New),
            step("unchanged rows, three plugins", Expect::Unchanged),
            step("3 % changed, three plugins", Expect::Changed),
        ],
        rounds: usize::MAX,
    }
}

/// Takes the rows with keys from `8` on away, as if the pipeline had never written them: nothing is left
/// of them in any page or index.
const FORGET_HALF: &str = "create table m as select * from recruit_metadata where id::text < '8';
    create table e as select * from recruit_embedding where id::text < '8';
    create table d as select * from forebay.digest where id::text < '8';
    truncate recruit_metadata, recruit_embedding, forebay.digest;
    insert into recruit_metadata select * from m;
    insert into recruit_embedding select * from e;
    insert into forebay.digest select * from d;
    drop table m, e, d";

/// All rows where about half of each chunk's are there already.
fn half_known(tables: Tables, new: Load<'_>, known: usize) -> Slot<'_> {
    let step = |label: &str, expect, before| Step {
        label: label.to_owned(),
        against: CONTROLS.to_vec(),
        work: Work::Load(Load {
            expect,
            before,
            ..new
        }),
    };
    Slot {
        tables,
        steps: vec![
            step("new rows, no plugins, again", Expect::New, None),
            step(
                "half of them known, no plugins",
                Expect::Grown(known),
                Some(FORGET_HALF),
            ),
        ],
        rounds: usize::MAX,
    }
}

/// What is asked of the server: multiples of its CPU time for a row of the bare COPY.
fn server_bars(results: &Results, shape: Shape) -> anyhow::Result<Vec<Bar>> {
    let (first, mixed) = match shape.dimensions {
        ..=512 => (1.25, 1.5),
        _ => (1.15, 1.3),
    };
    let cpu = |place| results.spread(place, |run| run.server_cpu).median;
    let bare = f64::midpoint(cpu(0), cpu(8));
    let known = shape.lower_half()? as f64 / shape.rows as f64;
    // What is known costs as much as in a run in which nothing else comes.
    let new = (cpu(MIXED) - known * cpu(UNCHANGED)) / (1.0 - known);
    Ok(vec![
        Bar::new(
            "server's CPU for a new row of a first load, multiple of the bare COPY's",
            Bound::AtMost(first),
            cpu(NEW) / bare,
        ),
        Bar::new(
            "the same where half of each chunk is known",
            Bound::AtMost(mixed),
            new / bare,
        ),
        Bar::new(
            "the bare COPY's CPU, the second time by the first",
            Bound::AtMost(1.1),
            cpu(8) / cpu(0),
        ),
        Bar::new(
            "new rows, multiple of the bare COPY's rate",
            Bound::AtLeast(1.2),
            results.share(NEW).median,
        ),
    ])
}

fn bars(results: &Results, dimensions: usize) -> Vec<Bar> {
    let rate = |place| results.spread(place, |run| run.rows_per_second).median;
    let cpu = results.spread(NEW, |run| run.client_cpu).median;
    let wal = results.spread(UNCHANGED, |run| run.wal).median;
    vec![
        Bar::new(
            "new rows through three plugins, share of the bare COPY's rate",
            Bound::AtLeast(LEAST_SHARE),
            results.share(NEW).median,
        ),
        Bar::new(
            "their cost to the host, µs of CPU a row",
            Bound::AtMost(most_cpu(dimensions)),
            cpu,
        ),
        Bar::new(
            "unchanged rows, multiple of the rate of new ones",
            Bound::AtLeast(2.0),
            rate(UNCHANGED) / rate(NEW),
        ),
        Bar::new("their WAL, bytes a row", Bound::AtMost(100.0), wal),
        Bar::new(
            "3 % changed, multiple of the rate of new rows",
            Bound::AtLeast(1.0),
            rate(CHANGED) / rate(NEW),
        ),
        Bar::new(
            "3 % changed, multiple of the rate of unchanged rows",
            Bound::AtMost(1.0),
            rate(CHANGED) / rate(UNCHANGED),
        ),
    ]
}

fn draw(results: &Results, shape: Shape) -> String {
    let figures = results.0.iter().enumerate().map(|(place, series)| Figure {
        label: series.label.clone(),
        value: results.spread(place, |run| run.rows_per_second).median,
        digits: 0,
    });
    let title = format!("Rows a second, {} dimensions", shape.dimensions);
    chart::draw(&title, Scale::Linear, &figures.collect::<Vec<_>>())
}

/// The usual size of rows of a part.
pub(crate) fn shape(rows: usize, dimensions: usize) -> Shape {
    Shape {
        rows,
        dimensions,
        wire: Wire::F32,
    }
}
