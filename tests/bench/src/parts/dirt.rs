//! Rows that the database refuses, against clean rows in the same tables: on a first load, and when
//! the same rows come again.

use super::Part;
use crate::bars::{Bar, Bound};
use crate::ceiling::Column;
use crate::figures::Results;
use crate::lab::{Index, Lab, Tables};
use crate::load::{Expect, Load, Over};
use crate::rounds::{Rounds, Slot, Step, Work};
use crate::sets::Set;
use crate::source::dirt::{Dirt, Why};
use crate::source::{Shape, Source};
use crate::{bars, markdown, rounds};

/// What the tables compare.
pub(crate) const LEGEND: &str = "\
Rows without plugins; some, chosen at random, are refused by the database. `of clean` compares with\n\
clean rows in the same tables in the same round, the mean of its two runs; the last two rows compare\n\
these, which shows what is noise. `again` is the next run, of the same rows.\n";

/// Places of the clean variants, first loads and later ones.
const FIRST: &[usize] = &[0, 8];
const AGAIN: &[usize] = &[1, 9];

/// What is asked, as a share of clean rows: refused of 10,000, first load, again.
const BARS: [(usize, f64, Option<f64>); 3] = [
    (24, 0.9, Some(0.9)),
    (100, 0.75, Some(0.85)),
    (1_000, 0.4, None),
];

/// Measures each reason over both sockets.
pub(crate) async fn measure(
    lab: &Lab,
    shape: Shape,
    about: Option<&str>,
    rounds: Rounds,
) -> anyhow::Result<Vec<Part>> {
    let source = Source::start_dirty(shape).await?;
    let none = Set::none("no plugins");
    let mut parts = Vec::new();
    for (over, socket) in [(Over::Unix, "a Unix socket"), (Over::Tcp, "TCP")] {
        for why in Why::ALL {
            let title = format!("{}, over {socket}", why.name());
            if !about.is_none_or(|about| title.contains(about)) {
                continue;
            }
            let load = Load {
                database_over: over,
                ..Load::new(&none, &source)
            };
            let slots = slots(shape, load, why);
            let results = rounds::measure(lab, &title, &slots, rounds).await?;
            parts.push(Part {
                text: format!(
                    "\n## {title}: {} rows with {} dimensions\n{}{}",
                    shape.rows,
                    shape.dimensions,
                    markdown::loads(&results, "of clean"),
                    bars::list(&bars(&results))
                ),
                chart: None,
            });
        }
    }
    Ok(parts)
}

fn slots<'a>(shape: Shape, load: Load<'a>, why: Why) -> Vec<Slot<'a>> {
    let slot = |label: &str, share, compared: bool| {
        let step = |night: &str, expect, against: &[usize]| Step {
            label: format!("{label}{night}"),
            against: if compared {
                against.to_vec()
            } else {
                Vec::new()
            },
            work: Work::Load(Load {
                expect,
                dirt: Some(Dirt { why, share }),
                ..load
            }),
        };
        Slot {
            tables: Tables {
                column: Column::Vector,
                dimensions: shape.dimensions,
                index: Index::None,
            },
            steps: vec![
                step("", Expect::New, FIRST),
                step(", again", Expect::Unchanged, AGAIN),
            ],
            rounds: usize::MAX,
        }
    };
    let mut slots = vec![slot("clean", 0, false)];
    for share in Dirt::SHARES {
        slots.push(slot(
            &format!("{} % refused", share as f64 / 100.0),
            share,
            true,
        ));
    }
    slots.push(slot("clean, once more", 0, true));
    slots
}

fn bars(results: &Results) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (place, (share, first, again)) in BARS.into_iter().enumerate() {
        let share = share as f64 / 100.0;
        let at = 2 + 2 * place;
        bars.push(Bar::new(
            format!("{share} % refused, share of clean rows"),
            Bound::AtLeast(first),
            results.share(at).median,
        ));
        bars.extend(again.map(|again| {
            Bar::new(
                "the same rows again, share of clean ones",
                Bound::AtLeast(again),
                results.share(at + 1).median,
            )
        }));
    }
    bars
}
