//! What plugins cost: a set of them against the host without any, in the same round.

use super::Part;
use crate::bars::{Bar, Bound};
use crate::ceiling::Column;
use crate::figures::{Results, Spread};
use crate::lab::{Index, Lab, Tables};
use crate::load::Load;
use crate::markdown::{line, signed, spread};
use crate::rounds::{Rounds, Slot, Work};
use crate::sets::Set;
use crate::source::Source;
use crate::{bars, rounds};

/// What the three Rust plugins may cost: a share of the throughput, and microseconds of CPU
/// time a row.
const MOST_THROUGHPUT: f64 = 0.03;
/// See [`MOST_THROUGHPUT`].
const MOST_CPU: f64 = 1.5;

/// Whether a table is followed by what is asked of its plugins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bars {
    Shown,
    None,
}

/// Measures sets of plugins: the first and the last variant are without any.
pub(crate) async fn measure(
    lab: &Lab,
    source: &Source,
    title: &str,
    sets: &[&Set],
    rounds: Rounds,
    asked: Bars,
) -> anyhow::Result<Part> {
    let tables = Tables {
        column: Column::Vector,
        dimensions: source.shape.dimensions,
        index: Index::None,
    };
    let (none, again) = (Set::none("no plugins"), Set::none("no plugins, again"));
    let controls = [0, sets.len() + 1];
    let variants = std::iter::once((&none, &[][..]))
        .chain(sets.iter().map(|set| (*set, &controls[..])))
        .chain([(&again, &controls[..1])]);
    let slots: Vec<Slot<'_>> = variants
        .map(|(set, against)| {
            let work = Work::Load(Load::new(set, source));
            Slot::one(tables, set.label.clone(), against, work)
        })
        .collect();
    let results = rounds::measure(lab, title, &slots, rounds).await?;
    let mut text = table(title, &results);
    if asked == Bars::Shown {
        text.push_str(&bars::list(&bars_of(&results)));
    }
    Ok(Part { text, chart: None })
}

fn table(title: &str, results: &Results) -> String {
    let mut text = format!(
        "\n## End to end: {title}\n\nThe last two columns compare with the runs without plugins of \
         the same round; the last row compares\nthese with each other, which shows what is noise.\n\n\
         | plugins | rows/s | host CPU, µs a row | throughput, % | CPU, µs a row |\n\
         | --- | ---: | ---: | ---: | ---: |\n"
    );
    for (place, series) in results.0.iter().enumerate() {
        let rate = spread(results.spread(place, |run| run.rows_per_second), 0);
        let cpu = spread(results.spread(place, |run| run.client_cpu), 2);
        // The first row is what the others are compared with.
        let (throughput, more) = if series.against.is_empty() {
            (String::new(), String::new())
        } else {
            let share = results.share(place);
            let percent = |share: f64| (share - 1.0) * 100.0;
            let percent = Spread {
                median: percent(share.median),
                lower: percent(share.lower),
                upper: percent(share.upper),
            };
            (signed(percent, 1), signed(more_cpu(results, place), 2))
        };
        let label = &series.label;
        line(
            &mut text,
            format_args!("| {label} | {rate} | {cpu} | {throughput} | {more} |"),
        );
    }
    text
}

fn more_cpu(results: &Results, place: usize) -> Spread {
    results.compared(place, |run| run.client_cpu, |it, mean| it - mean)
}

fn bars_of(results: &Results) -> Vec<Bar> {
    let lost = 1.0 - results.share(1).median;
    vec![
        Bar::new(
            "lost throughput, %",
            Bound::AtMost(MOST_THROUGHPUT * 100.0),
            lost * 100.0,
        ),
        Bar::new(
            "µs of CPU a row",
            Bound::AtMost(MOST_CPU),
            more_cpu(results, 1).median,
        ),
    ]
}
