//! The chain alone: decoded batches through the sandbox on one thread.
//!
//! A round takes every set once over all chunks, in another order each time. Its figure is the
//! median over the chunks, which a thread that is interrupted does not move; the table has the
//! median and quartiles over the rounds.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use forebay::config::Config;
use forebay::decode::{Decoder, KeyType, Needs};
use forebay::plugin::{Chain, Engine, Limits, Runner};
use forebay::row::Schema;
use forebay::source::{Format, Units};

use crate::figures::Spread;
use crate::markdown::{line, spread};
use crate::sets::Set;
use crate::source::rows::Rows;
use crate::source::{FIRST, Source};

/// Chunks of a round: what interpreters take for them is seconds.
const CHUNKS: usize = 20;

/// Nothing here is about limits: a busy machine must not fail a call.
fn limits() -> Limits {
    Limits {
        memory: 256 << 20,
        deadline: Duration::from_secs(60),
        ..Limits::default()
    }
}

/// What a set costs.
pub(crate) struct Cost {
    pub(crate) label: String,
    /// Of the component, or of all of them.
    pub(crate) kilobytes: usize,
    /// From the component to machine code; what the cache saves.
    pub(crate) compile: Duration,
    /// Microseconds.
    pub(crate) row: Spread,
}

/// A set at work.
struct Subject {
    label: String,
    kilobytes: usize,
    compile: Duration,
    runner: Runner,
    rounds: Vec<f64>,
}

/// Measures each set.
pub(crate) async fn measure(
    sets: &[&Set],
    source: &Source,
    rounds: usize,
) -> anyhow::Result<Vec<Cost>> {
    let (schema, chunk_rows) = schema(&source.url).await?;
    let schema = Arc::new(schema);
    let decoder = Decoder {
        schema: Arc::clone(&schema),
        key_type: KeyType::Uuid,
        max_row_bytes: 1 << 20,
        needs: Needs::default(),
        format: Format::Row,
    };
    let rows = Rows::first(source.shape)?;
    let rows: Vec<Bytes> = (0..rows.len()).map(|place| rows.at(place)).collect();
    let chunks: Vec<&[Bytes]> = rows.chunks_exact(chunk_rows).take(CHUNKS).collect();
    let engine = Engine::new(limits(), None)?;
    let mut subjects = Vec::new();
    for set in sets {
        eprintln!("compiling {}", set.label);
        subjects.push(Subject::new(set, &engine, &schema)?);
    }
    // One round warms up and is not counted.
    for round in 0..=rounds {
        eprintln!("the chain alone: round {round} of {rounds}");
        for place in 0..subjects.len() {
            let at = (place + round) % subjects.len();
            let subject = subjects.get_mut(at).context("a set for each place")?;
            subject.round(&decoder, &chunks)?;
            if round == 0 {
                subject.rounds.clear();
            }
        }
    }
    Ok(subjects.into_iter().map(Subject::cost).collect())
}

/// The dataset as the host learns it, and the rows of a chunk.
async fn schema(url: &str) -> anyhow::Result<(Schema, usize)> {
    let config = format!(
        "[pipelines.recruit]\nsource = {{ grpc = {url:?}, dataset = {FIRST:?} }}\n\
         plugins = []\ntables = [\"recruit_metadata\"]\n"
    );
    let config = Config::parse(Path::new("bench.toml"), &config, &|_| None)?;
    let pipeline = config.pipelines.first().context("there is a pipeline")?;
    let source = forebay::source::Source::new(&pipeline.source, config.limits);
    let dataset = source.dataset().await?;
    Ok((dataset.schema, pipeline.source.chunk_rows as usize))
}

impl Subject {
    fn new(set: &Set, engine: &Arc<Engine>, schema: &Arc<Schema>) -> anyhow::Result<Self> {
        let mut plugins = Vec::new();
        let (mut bytes, mut compile) = (0, Duration::ZERO);
        for file in &set.files {
            let plugin = engine.load(file)?;
            bytes += plugin.size();
            compile += plugin.compile_time();
            plugins.push((plugin, Vec::new()));
        }
        let chain =
            Chain::new(plugins).map_err(|errors| anyhow::anyhow!("{}: {errors:?}", set.label))?;
        Ok(Self {
            label: set.label.clone(),
            kilobytes: bytes / 1000,
            compile,
            runner: chain.runner(schema),
            rounds: Vec::new(),
        })
    }

    fn round(&mut self, decoder: &Decoder, chunks: &[&[Bytes]]) -> anyhow::Result<()> {
        let mut figures = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let mut batch = decoder.decode(&Units::Messages(chunk.to_vec()));
            let began = Instant::now();
            self.runner.run(&mut batch)?;
            let failures = std::mem::take(&mut batch.failures);
            self.runner.decide(&batch, &failures);
            let time = began.elapsed();
            anyhow::ensure!(
                batch.live.len() == chunk.len(),
                "{} let {} of {} clean rows pass; the first that does not: {:?}",
                self.label,
                batch.live.len(),
                chunk.len(),
                failures.first()
            );
            figures.push(time.as_secs_f64() * 1e6 / chunk.len() as f64);
        }
        self.rounds.push(Spread::of(figures).median);
        Ok(())
    }

    fn cost(self) -> Cost {
        Cost {
            label: self.label,
            kilobytes: self.kilobytes,
            compile: self.compile,
            row: Spread::of(self.rounds),
        }
    }
}

/// The results.
pub(crate) fn table(costs: &[Cost]) -> String {
    let mut text = "\n## The chain alone\n\nOne thread, no database: decoded batches through the \
                    sandbox and back.\n\n\
                    | plugins | size, kB | compiled in, ms | µs a row |\n| --- | ---: | ---: | ---: |\n"
        .to_owned();
    for cost in costs {
        let Cost {
            label,
            kilobytes,
            compile,
            row,
        } = cost;
        let compile = compile.as_millis();
        let row = spread(*row, 2);
        line(
            &mut text,
            format_args!("| {label} | {kilobytes} | {compile} | {row} |"),
        );
    }
    text
}
