//! With an HNSW index on the vectors: each mode of the host against doing it by hand, which is
//! to copy into a table without the index and to make it then.

use super::Part;
use crate::bars::{Bar, Bound};
use crate::ceiling::{Column, Copy};
use crate::figures::Results;
use crate::lab::{CREATE_INDEX, Index, Lab, Tables};
use crate::load::{Load, Over, knows_key};
use crate::markdown::{line, number, spread};
use crate::rounds::{Rounds, Slot, Work};
use crate::sets::Set;
use crate::source::{Shape, Source};
use crate::{bars, rounds};

/// Places of the variants. Doing it by hand comes first and last: the two show what is noise.
const BY_HAND: &[usize] = &[0, 4];
const FIRST: &[usize] = &[0];
const DEFER: usize = 1;
const KEEP: usize = 3;

/// `keep` takes minutes, and its figure is not close to any other.
const KEEP_ROUNDS: usize = 1;

/// Measures the modes, or doing it by hand alone where the host has none.
pub(crate) async fn measure(
    lab: &Lab,
    shape: Shape,
    plugins: &Set,
    settings: &str,
    rounds: Rounds,
) -> anyhow::Result<Part> {
    let source = Source::start(shape).await?;
    let tables = |index| Tables {
        column: Column::Vector,
        dimensions: shape.dimensions,
        index,
    };
    let by_hand = |label, base| {
        let copy = Copy {
            shape,
            column: Column::Vector,
            connections: 1,
            then: format!("{settings}; {CREATE_INDEX}"),
        };
        let work = Work::Copy(copy, Over::Unix);
        Slot::one(tables(Index::None), label, base, work)
    };
    let mut slots = vec![by_hand("by hand: bare COPY, then CREATE INDEX", &[])];
    let known = knows_key(lab, "index").await?;
    if known {
        for (mode, label) in [
            ("defer", "`index = \"defer\"`"),
            ("rebuild", "`index = \"rebuild\"`"),
            ("keep", "`index = \"keep\"`"),
        ] {
            let load = Load {
                index: Some(mode),
                ..Load::new(plugins, &source)
            };
            let work = Work::Load(load);
            let mut slot = Slot::one(tables(Index::Hnsw), label, BY_HAND, work);
            if mode == "keep" {
                slot.rounds = KEEP_ROUNDS;
            }
            slots.push(slot);
        }
    }
    slots.push(by_hand("by hand, again", FIRST));
    let results = rounds::measure(lab, "index", &slots, rounds).await?;
    let mut text = table(&results, shape, settings);
    if known {
        text.push_str(&bars::list(&bars_of(&results)));
    } else {
        text.push_str("\nThis host has no index modes: only doing it by hand was measured.\n");
    }
    Ok(Part { text, chart: None })
}

fn table(results: &Results, shape: Shape, settings: &str) -> String {
    let mut text = format!(
        "\n## {} rows with {} dimensions into tables with an HNSW index\n\n\
         Seconds are until rows are committed and the index is complete: of the host from the start \
         of its process\nto its end. By hand with `{settings}`. `keep` runs in {KEEP_ROUNDS} round only.\n\n\
         | variant | seconds | by that by hand | rows/s | CPU | server's CPU | WAL | peak, MiB |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        shape.rows, shape.dimensions,
    );
    for (place, series) in results.0.iter().enumerate() {
        let seconds = results.spread(place, |run| run.wall_seconds);
        let cells = [
            series.label.clone(),
            spread(seconds, 1),
            spread(by_hand(results, place), 2),
            number(shape.rows as f64 / seconds.median, 0),
            number(results.spread(place, |run| run.client_cpu).median, 1),
            number(results.spread(place, |run| run.server_cpu).median, 0),
            number(results.spread(place, |run| run.wal).median, 0),
            number(results.spread(place, |run| run.memory).median, 0),
        ];
        line(&mut text, format_args!("| {} |", cells.join(" | ")));
    }
    text
}

fn by_hand(results: &Results, place: usize) -> crate::figures::Spread {
    results.compared(place, |run| run.wall_seconds, |it, by_hand| it / by_hand)
}

fn bars_of(results: &Results) -> Vec<Bar> {
    let seconds = |place| results.spread(place, |run| run.wall_seconds).median;
    vec![
        Bar::new(
            "defer, multiple of the time by hand",
            Bound::AtMost(1.1),
            by_hand(results, DEFER).median,
        ),
        Bar::new(
            "keep, multiple of the time of defer",
            Bound::AtLeast(2.0),
            seconds(KEEP) / seconds(DEFER),
        ),
    ]
}
