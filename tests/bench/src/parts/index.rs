//! With an HNSW index on the vectors: each mode of the host against doing it by hand, which is
//! to copy into a table without the index and to make it then; and a table that grows by a quarter,
//! by a superuser's way and by that of the table's owner.

use super::Part;
use crate::bars::{Bar, Bound};
use crate::ceiling::{Column, Copy};
use crate::figures::Results;
use crate::lab::{CREATE_INDEX, Index, Lab, Tables};
use crate::load::{Expect, Load, Over, knows_key};
use crate::markdown::{line, number, spread};
use crate::rounds::{Rounds, Slot, Step, Work};
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
        text.push_str(&grown(lab, shape, plugins, &source, rounds).await?);
    } else {
        text.push_str("\nThis host has no index modes: only doing it by hand was measured.\n");
    }
    Ok(Part { text, chart: None })
}

/// Makes the index, and a role that owns the tables and is no superuser.
const OWNED: &str = "
    do $$ begin
        if not exists (select from pg_roles where rolname = 'bench_owner') then
            create role bench_owner login;
        end if;
    end $$;
    grant create on schema public to bench_owner;
    grant all on schema forebay to bench_owner;
    grant all on all tables in schema forebay to bench_owner;
    grant all on all sequences in schema forebay to bench_owner;
    alter table recruit_metadata owner to bench_owner;
    alter table recruit_embedding owner to bench_owner;
    set min_parallel_table_scan_size = 0;
    set maintenance_work_mem = '1GB';
    create index recruit_embedding_hnsw on recruit_embedding using hnsw (vector vector_cosine_ops);
    checkpoint";

/// Steps of the growth: the first of each slot only fills the table.
const FROZEN: usize = 1;
const OWNER: usize = 3;
const FROZEN_AGAIN: usize = 5;

/// Rebuilds an index that grows by a quarter.
async fn grown(
    lab: &Lab,
    shape: Shape,
    plugins: &Set,
    whole: &Source,
    rounds: Rounds,
) -> anyhow::Result<String> {
    let known = shape.rows * 3 / 4;
    let part = Source::start(Shape {
        rows: known,
        ..shape
    })
    .await?;
    let slot = |label: &str, index, role, against: &[usize]| Slot {
        tables: Tables {
            column: Column::Vector,
            dimensions: shape.dimensions,
            index: Index::None,
        },
        steps: vec![
            Step {
                label: "three quarters".to_owned(),
                against: Vec::new(),
                work: Work::Load(Load::new(plugins, &part)),
            },
            Step {
                label: label.to_owned(),
                against: against.to_vec(),
                work: Work::Load(Load {
                    index: Some(index),
                    role,
                    before: Some(OWNED),
                    expect: Expect::Grown(known),
                    ..Load::new(plugins, whole)
                }),
            },
        ],
        rounds: usize::MAX,
    };
    let controls = &[FROZEN, FROZEN_AGAIN];
    let slots = [
        slot("superuser, `rebuild-frozen`", "rebuild-frozen", None, &[]),
        slot("owner, `rebuild`", "rebuild", Some("bench_owner"), controls),
        slot("superuser, again", "rebuild-frozen", None, &[FROZEN]),
    ];
    let results = rounds::measure(lab, "index, grown", &slots, rounds).await?;
    let mut text = format!(
        "\n## A table of {known} rows with an HNSW index that grows to {}\n\n\
         | variant | seconds | by the superuser's | server's CPU |\n| --- | ---: | ---: | ---: |\n",
        shape.rows
    );
    for place in [FROZEN, OWNER, FROZEN_AGAIN] {
        let label = results.0.get(place).map(|series| series.label.clone());
        let cells = [
            label.unwrap_or_default(),
            spread(results.spread(place, |run| run.wall_seconds), 1),
            spread(compared(&results, place), 2),
            number(results.spread(place, |run| run.server_cpu).median, 0),
        ];
        line(&mut text, format_args!("| {} |", cells.join(" | ")));
    }
    let bar = Bar::new(
        "rebuild by the owner, multiple of the superuser's time",
        Bound::AtMost(1.15),
        compared(&results, OWNER).median,
    );
    text.push_str(&bars::list(&[bar]));
    Ok(text)
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
            spread(compared(results, place), 2),
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

/// Seconds as a multiple of those that it is compared with.
fn compared(results: &Results, place: usize) -> crate::figures::Spread {
    results.compared(place, |run| run.wall_seconds, |it, by_hand| it / by_hand)
}

fn bars_of(results: &Results) -> Vec<Bar> {
    let seconds = |place| results.spread(place, |run| run.wall_seconds).median;
    vec![
        Bar::new(
            "defer, multiple of the time by hand",
            Bound::AtMost(1.1),
            compared(results, DEFER).median,
        ),
        Bar::new(
            "keep, multiple of the time of defer",
            Bound::AtLeast(2.0),
            seconds(KEEP) / seconds(DEFER),
        ),
    ]
}
