//! Compares the tables of a pipeline with its source, row by row and column by column, and repairs
//! them.
//!
//! The source is read from the beginning, through today's plugins, as a run would; instead of being
//! written, rows are compared with what the tables have ([`crate::store::compare`]). Nothing is
//! claimed and no position moves, so a host may be at work meanwhile. Of a key that comes several
//! times the last row counts. Rows that a run would drop or refuse have no place in the tables to
//! be compared with; they are counted.
//!
//! Memory: 8 bytes for each row, and about 60 more for each that differs.

mod findings;
mod repair;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::findings::{ColumnFindings, Extra, TableFindings, Verification};
use self::findings::{Findings, Place};
use super::prepare::Pipeline;
use crate::chunk::Prepared;
use crate::decode;
use crate::error::PipelineError;
use crate::partition::{End, Intake, IntakeContext};
use crate::progress::Progress;
use crate::retry::Patience;
use crate::route::Target;
use crate::row::Batch;
use crate::store::compare::Comparer;
use crate::workers::Workers;

/// Number of keys for which the tables are asked at once.
const KEYS: usize = 1_000;

/// Whether rows that are not as they should be are written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// The tables stay as they are.
    No,
    /// They are written as a run would write them.
    Yes,
}

impl Pipeline {
    /// Compares the tables with the source, and repairs them if told so. `None` if it was stopped.
    ///
    /// # Errors
    /// If source or database fail for too long, a plugin is broken, or the pipeline has an
    /// unfinished run that a repair would interfere with.
    pub async fn verify(
        &self,
        repair: Repair,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<Option<Verification>, PipelineError> {
        if repair == Repair::Yes {
            self.refuse_unfinished().await?;
            self.keep_formats().await?;
        }
        let workers = Arc::new(self.start_workers()?);
        let comparer = Comparer::new(&self.host.store, &self.targets);
        let mut findings = Findings::default();
        let expected = self.dataset.row_count.unwrap_or(0);
        progress.expected.store(expected, Ordering::Relaxed);
        for (partition, name) in self.dataset.partitions.iter().enumerate() {
            let look = async |prepared: Prepared, row: u64| {
                let place = Place { partition, row };
                let rows = prepared.units.len() as u64;
                compare(&comparer, &prepared, place, &mut findings).await?;
                progress.rows.fetch_add(rows, Ordering::Relaxed);
                Ok(())
            };
            if let End::Stopped = self.read_all(&workers, name, stop, look).await? {
                return Ok(None);
            }
        }
        let extra = self.settle(&comparer, &mut findings).await?;
        let mut verification = findings.verification(&self.config.name, &self.targets, &comparer);
        verification.extra = extra;
        if repair == Repair::Yes && findings.unequal() > 0 {
            let repaired = self.repair(&findings, &workers, stop).await?;
            verification.repaired = Some(repaired);
        }
        Ok(Some(verification))
    }

    /// Reads a partition from its beginning, and gives `each` its chunks with the number of rows
    /// before them. Source and database may be away for a while: then `each` gets a chunk again.
    async fn read_all(
        &self,
        workers: &Arc<Workers>,
        partition: &str,
        stop: &CancellationToken,
        mut each: impl AsyncFnMut(Prepared, u64) -> Result<(), PipelineError>,
    ) -> Result<End, PipelineError> {
        let source = &self.config.source;
        let in_flight = self.host.config.limits.in_flight;
        let schema = &self.targets.schema;
        let chunk_rows = decode::chunk_rows(schema, in_flight, source.chunk_rows);
        let mut patience = Patience::new(self.host.config.give_up_after);
        let (mut position, mut before) = (String::new(), 0);
        loop {
            let read: Result<End, PipelineError> = async {
                let chunks = self.source.open(partition, &position, chunk_rows).await?;
                let context = IntakeContext {
                    pipeline: self.config.name.clone(),
                    workers: Arc::clone(workers),
                    rollout: Arc::clone(&self.rollout),
                    room: Arc::new(Semaphore::new(in_flight)),
                    in_flight,
                    row_cost: decode::row_cost(schema),
                    stop: stop.clone(),
                };
                let joined = Arc::new(AtomicUsize::new(source.max_chunk_rows as usize));
                let mut intake = Intake::start(context, chunks, joined);
                while let Some(prepared) = intake.next().await? {
                    let (next, rows) = (prepared.position.clone(), prepared.units.len());
                    each(prepared, before).await?;
                    (position, before) = (next, before + rows as u64);
                    patience.progress();
                }
                let ended = "receiving ended early; its panic is on stderr";
                intake
                    .end()
                    .ok_or_else(|| PipelineError::Broken(ended.into()))
            }
            .await;
            match read {
                Ok(end) => return Ok(end),
                Err(error) => patience.wait(error).await?,
            }
        }
    }

    /// Asks for what the source does not say: rows that only the pipeline knows, and rows that the
    /// database is known to refuse. Returns the former, unless they cannot be told.
    async fn settle(
        &self,
        comparer: &Comparer,
        findings: &mut Findings,
    ) -> Result<Option<Extra>, PipelineError> {
        let (store, name) = (&self.host.store, &self.config.name);
        let refused = |key: String| findings.refused(&key);
        store.refused_keys(name, refused).await?;
        findings.sort();
        let by_key = |target: &Target| target.whole_key().is_some();
        // What a feed of changes does not say may have come before its beginning.
        if self.dataset.continues || !self.targets.tables.iter().all(by_key) {
            return Ok(None);
        }
        let mut unmet = Vec::new();
        let known = |key: String| unmet.extend(findings.unmet(&key).map(|dropped| (key, dropped)));
        store.known_keys(name, known).await?;
        let mut extra = Extra::default();
        for part in unmet.chunks(KEYS) {
            let keys: Vec<&str> = part.iter().map(|(key, _)| key.as_str()).collect();
            for index in comparer.present(&keys).await? {
                if let Some((key, dropped)) = part.get(index) {
                    extra.add(key, *dropped);
                }
            }
        }
        Ok(Some(extra))
    }
}

/// Compares the rows of a chunk, and notes what became of each.
async fn compare(
    comparer: &Comparer,
    prepared: &Prepared,
    place: Place,
    findings: &mut Findings,
) -> Result<(), PipelineError> {
    let batch = &prepared.batch;
    let last = last_rows(prepared);
    let counts = |row: &u32| last.as_ref().is_none_or(|last| last.contains(row));
    let key = |row: u32| batch.keys.get(row as usize).map_or("", |key| key.as_ref());
    let rows: Vec<u32> = batch.live.iter().copied().filter(counts).collect();
    let compared = comparer
        .compare(batch, &rows, prepared.units.kind())
        .await?;
    for row in &rows {
        findings.equal(key(*row));
    }
    for row in batch.deleted.iter().filter(|row| counts(row)) {
        findings.deleted(key(*row));
    }
    let dropped = batch.drops.iter().map(|drop| drop.row);
    for row in dropped.filter(counts) {
        findings.dropped(key(row));
    }
    let settled = &prepared.settled;
    let letters = settled.dead_letters.iter().map(|it| it.failure.row);
    let failed = letters.chain(settled.drops.iter().map(|drop| drop.row));
    for row in failed.filter(counts).chain(compared.refused) {
        findings.failed(key(row));
    }
    for difference in &compared.differences {
        let row = difference.row;
        let place = Place {
            row: place.row + u64::from(row),
            ..place
        };
        findings.differs(key(row), place, difference);
    }
    Ok(())
}

/// The last row of each key; `None` if no key comes twice.
fn last_rows(prepared: &Prepared) -> Option<HashSet<u32>> {
    let repeats = prepared.keys.repeats();
    repeats.then(|| last_of(&prepared.batch))
}

fn last_of(batch: &Batch) -> HashSet<u32> {
    let rows = (0..).zip(&batch.keys);
    let last: HashMap<&str, u32> = rows.map(|(row, key)| (key.as_ref(), row)).collect();
    last.into_values().collect()
}
