//! Variants in turn: what a round compares has to run close together, for the machine's speed
//! drifts. So each round takes the slots in another order.

use std::time::Instant;

use anyhow::Context;

use crate::ceiling::Copy;
use crate::figures::{Metered, Results, Run, Series};
use crate::lab::{Lab, Tables, Urls};
use crate::load::{Load, Over};
use crate::{ceiling, process};

/// A fresh database, and what happens in it, one step after the other.
pub(crate) struct Slot<'a> {
    pub(crate) tables: Tables,
    pub(crate) steps: Vec<Step<'a>>,
    /// Rounds that it takes part in, from the first.
    pub(crate) rounds: usize,
}

/// A run.
pub(crate) struct Step<'a> {
    pub(crate) label: String,
    /// The steps that it is compared with, by their place among those of all slots.
    pub(crate) against: Vec<usize>,
    pub(crate) work: Work<'a>,
}

/// What a step does.
pub(crate) enum Work<'a> {
    /// The bare loop.
    Copy(Copy, Over),
    /// The host.
    Load(Load<'a>),
}

/// How often, and whether the first time counts.
#[derive(Clone, std::marker::Copy)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    pub(crate) warm_up: WarmUp,
}

/// The first runs fill the server's files and the cache of compiled plugins.
#[derive(Clone, std::marker::Copy, PartialEq, Eq)]
pub(crate) enum WarmUp {
    /// One round more, which is not counted.
    Round,
    /// For variants that take minutes.
    None,
}

impl<'a> Slot<'a> {
    /// One step in all rounds.
    pub(crate) fn one(
        tables: Tables,
        label: impl Into<String>,
        against: &[usize],
        work: Work<'a>,
    ) -> Self {
        Self {
            tables,
            steps: vec![Step {
                label: label.into(),
                against: against.to_vec(),
                work,
            }],
            rounds: usize::MAX,
        }
    }
}

/// Runs all slots in each round.
pub(crate) async fn measure(
    lab: &Lab,
    name: &str,
    slots: &[Slot<'_>],
    rounds: Rounds,
) -> anyhow::Result<Results> {
    let mut results: Vec<Vec<Series>> = slots.iter().map(series).collect();
    let first = if rounds.warm_up == WarmUp::Round {
        0
    } else {
        1
    };
    for round in first..=rounds.count {
        eprintln!("{name}: round {round} of {}", rounds.count);
        for place in 0..slots.len() {
            let at = (place + round.saturating_sub(1)) % slots.len();
            let (Some(slot), Some(series)) = (slots.get(at), results.get_mut(at)) else {
                continue;
            };
            if round > slot.rounds {
                continue;
            }
            let urls = lab.database(slot.tables).await?;
            for (step, series) in slot.steps.iter().zip(series) {
                let run = step.work.run(lab, &urls).await;
                let run = run.with_context(|| format!("{name}: {}", step.label))?;
                if round > 0 {
                    series.runs.push(run);
                }
            }
        }
    }
    Ok(Results(results.into_iter().flatten().collect()))
}

fn series(slot: &Slot<'_>) -> Vec<Series> {
    let steps = slot.steps.iter();
    let series = steps.map(|step| Series {
        label: step.label.clone(),
        against: step.against.clone(),
        runs: Vec::new(),
    });
    series.collect()
}

impl Work<'_> {
    /// Does it once.
    pub(crate) async fn run(&self, lab: &Lab, urls: &Urls) -> anyhow::Result<Run> {
        match self {
            Self::Copy(copy, over) => {
                let url = urls.over(*over)?;
                let (took, used) = lab.metered(ceiling::run(&url, copy)).await?;
                let rows = copy.shape.rows as f64;
                let run = Run {
                    // Without the time that encoding takes.
                    wall_seconds: took.seconds,
                    rows_per_second: rows / took.seconds,
                    client_cpu: took.cpu_seconds * 1e6 / rows,
                    source_cpu: f64::NAN,
                    chunk: [f64::NAN; 2],
                    memory: f64::NAN,
                    ..of_server(used, rows)
                };
                Ok(run)
            }
            Self::Load(load) => {
                let config = load.prepare(lab, urls).await?;
                let source = process::cpu_seconds(load.source.pid);
                let began = Instant::now();
                let work = async { Ok(load.spawn(lab, &config)?.wait_with_output().await?) };
                let (output, used) = lab.metered(work).await?;
                let wall = began.elapsed();
                let source = process::cpu_seconds(load.source.pid) - source;
                let report = load.report(&config, &output)?;
                let rows = load.source.shape.rows as f64;
                let chunk = report.chunk_seconds;
                Ok(Run {
                    wall_seconds: wall.as_secs_f64(),
                    rows_per_second: report.rows_per_second,
                    client_cpu: report.cpu_microseconds_per_row,
                    source_cpu: source * 1e6 / rows,
                    chunk: chunk.map_or([f64::NAN; 2], |it| [it.p50 * 1e3, it.p99 * 1e3]),
                    memory: report.peak_memory_bytes.unwrap_or(f64::NAN) / 1_048_576.0,
                    ..of_server(used, rows)
                })
            }
        }
    }
}

fn of_server(used: Metered, rows: f64) -> Run {
    Run {
        wall_seconds: f64::NAN,
        rows_per_second: f64::NAN,
        client_cpu: f64::NAN,
        server_cpu: used.server_cpu_seconds * 1e6 / rows,
        source_cpu: f64::NAN,
        wal: used.wal_bytes / rows,
        chunk: [f64::NAN; 2],
        memory: f64::NAN,
    }
}
