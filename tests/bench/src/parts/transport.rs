//! Ways to the database: a Unix socket, TCP, TLS, and a network that takes its time.

use super::{Part, copy};
use crate::bars::{Bar, Bound};
use crate::ceiling::Column;
use crate::figures::Results;
use crate::lab::{Index, Lab, Tables};
use crate::load::{Load, Over};
use crate::rounds::{Rounds, Slot, Work};
use crate::sets::Set;
use crate::source::{Shape, Source};
use crate::{bars, markdown, rounds};

/// What is asked of new rows, as shares of the rate over the Unix socket.
const LEAST_TCP: f64 = 0.95;
const LEAST_TLS: f64 = 0.85;

/// Measures new rows over each way. All are compared with the Unix socket, in the same round.
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
    let mut ways = vec![
        (Over::Unix, "a Unix socket"),
        (Over::Tcp, "TCP"),
        (Over::Relay, "TCP to a relay"),
        (Over::RelayTls, "TLS to a relay"),
        (Over::Near, "TCP, 0 ms each way"),
        (Over::Far, "TCP, 1 ms each way"),
    ];
    if lab.has_tls {
        ways.push((Over::Tls, "TLS"));
    }
    ways.push((Over::Unix, "a Unix socket, again"));
    let controls = [0, ways.len() - 1];
    let last = ways.len() - 1;
    let slots = ways.iter().enumerate().map(|(place, (over, label))| {
        let against: &[usize] = match place {
            0 => &[],
            place if place == last => &[0],
            _ => &controls,
        };
        let load = Load {
            database_over: *over,
            ..Load::new(plugins, &source)
        };
        Slot::one(tables, *label, against, Work::Load(load))
    });
    let mut slots: Vec<_> = slots.collect();
    let raw = copy(shape, Column::Vector, 1);
    slots.push(Slot::one(
        tables,
        "bare COPY, a Unix socket",
        &controls,
        raw,
    ));
    let results = rounds::measure(lab, "transport", &slots, rounds).await?;
    let text = format!(
        "\n## {} rows with {} dimensions, three plugins\n\n{LEGEND}{}{}",
        shape.rows,
        shape.dimensions,
        markdown::loads(&results, "of the Unix socket"),
        bars::list(&bars(&results, &ways))
    );
    Ok(Part { text, chart: None })
}

const LEGEND: &str = "\
Shares are of new rows with the database over a Unix socket, the mean of its two runs in the same\n\
round. Relays are on the same cores: what TLS costs is what differs between the two to a relay, and\n\
what a network of 1 ms costs, between the two that name a time.\n";

fn bars(results: &Results, ways: &[(Over, &str)]) -> Vec<Bar> {
    let place = |over| ways.iter().position(|(way, _)| *way == over);
    let share = |over| place(over).map_or(f64::NAN, |place| results.share(place).median);
    let mut bars = vec![Bar::new(
        "over TCP, share of the rate over the Unix socket",
        Bound::AtLeast(LEAST_TCP),
        share(Over::Tcp),
    )];
    bars.push(match place(Over::Tls) {
        Some(_) => Bar::new(
            "over TLS, share of the rate over the Unix socket",
            Bound::AtLeast(LEAST_TLS),
            share(Over::Tls),
        ),
        None => Bar::new(
            "over TLS to a relay, share of the rate over TCP to a relay",
            Bound::AtLeast(LEAST_TLS),
            share(Over::RelayTls) / share(Over::Relay),
        ),
    });
    bars
}
