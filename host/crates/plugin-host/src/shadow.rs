//! Shadows: compares what a second plugin would have done with what the active one did.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::outcome::Decision;
use super::worker_slot::WorkerSlot;
use crate::row::{Batch, Embeddings, Failure, PluginId};

/// Result of running a plugin on the same rows without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The shadow.
    pub plugin: Arc<PluginId>,
    /// Number of rows compared. Failed rows presented to a policy are not counted again.
    pub rows: u64,
    /// Differences, sorted.
    pub differences: Vec<Difference>,
    /// Set if the shadow failed on most of the rows: nothing was compared.
    pub broken: Option<String>,
}

/// Rows with the same actual and the same alternative outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Actual outcome, such as `accept` or `dead-letter FIELD_RANGE`.
    pub is: String,
    /// Outcome with the shadow in its place.
    pub would_be: String,
    /// Number of these rows.
    pub rows: u64,
    /// Key of one of these rows.
    pub sample: String,
}

/// A batch before the active plugin changes it. Copies share texts and vectors.
pub(super) struct Before(Batch);

impl Before {
    pub(super) fn of(batch: &Batch) -> Self {
        Self(Batch {
            schema: Arc::clone(&batch.schema),
            keys: batch.keys.clone(),
            uuids: Vec::new(),
            values: batch.values.clone(),
            embeddings: Embeddings {
                width: batch.embeddings.width,
                vectors: batch.embeddings.vectors.clone(),
            },
            left_out: Vec::new(),
            live: batch.live.clone(),
            deleted: Vec::new(),
            keyless: Vec::new(),
            failures: Vec::new(),
            drops: Vec::new(),
        })
    }

    /// Runs the shadow on the same rows and compares its outcomes with those in `after`.
    pub(super) fn compare(mut self, after: &Batch, shadow: &mut WorkerSlot) -> Comparison {
        let rows = self.0.live.clone();
        let plugin = Arc::clone(shadow.configured.plugin().id());
        if let Err(broken) = shadow.run(&mut self.0) {
            return Comparison {
                plugin,
                rows: 0,
                differences: Vec::new(),
                broken: Some(broken.message),
            };
        }
        let (is, would_be) = (fates(after, &rows), fates(&self.0, &rows));
        let mut found = Found::default();
        for ((row, is), would_be) in rows.iter().zip(is).zip(would_be) {
            let key = || key(after, *row);
            match (is, would_be) {
                (None, None) => {
                    if let Some(changed) = changed(after, &self.0, *row) {
                        found.add("accept".into(), format!("accept with other {changed}"), key);
                    }
                }
                (is, would_be) if is == would_be => {}
                (is, would_be) => found.add(shown(is), shown(would_be), key),
            }
        }
        Comparison {
            plugin,
            rows: rows.len() as u64,
            differences: found.sorted(),
            broken: None,
        }
    }
}

impl Comparison {
    /// Compares the decisions of two policies about the same failures.
    pub(super) fn of_policy(
        plugin: &Arc<PluginId>,
        batch: &Batch,
        failures: &[Failure],
        is: &[Decision],
        would_be: &[Decision],
    ) -> Self {
        let mut found = Found::default();
        for ((failure, is), would_be) in failures.iter().zip(is).zip(would_be) {
            if is != would_be {
                let shown = |decision| format!("{} {}", failure.code, decided(decision));
                found.add(shown(is), shown(would_be), || key(batch, failure.row));
            }
        }
        Self {
            plugin: Arc::clone(plugin),
            rows: 0,
            differences: found.sorted(),
            broken: None,
        }
    }
}

/// Counts of differences, each with the key of its first row.
#[derive(Default)]
struct Found(BTreeMap<(String, String), (u64, String)>);

impl Found {
    fn add(&mut self, is: String, would_be: String, key: impl FnOnce() -> String) {
        let entry = self.0.entry((is, would_be));
        entry.or_insert_with(|| (0, key())).0 += 1;
    }

    fn sorted(self) -> Vec<Difference> {
        let difference = |((is, would_be), (rows, sample))| Difference {
            is,
            would_be,
            rows,
            sample,
        };
        self.0.into_iter().map(difference).collect()
    }
}

/// The outcome of each of `rows`; `None` for rows that are still live. Other rows are ignored.
fn fates(batch: &Batch, rows: &[u32]) -> Vec<Option<String>> {
    let mut fates: Vec<Option<String>> = vec![None; batch.keys.len()];
    let mut set = |row: u32, fate: String| {
        if let Some(place) = fates.get_mut(row as usize) {
            *place = Some(fate);
        }
    };
    for failure in &batch.failures {
        set(failure.row, format!("dead-letter {}", failure.code));
    }
    for drop in &batch.drops {
        set(drop.row, format!("drop {}", drop.reason));
    }
    rows.iter()
        .map(|row| fates.get_mut(*row as usize).and_then(Option::take))
        .collect()
}

fn shown(fate: Option<String>) -> String {
    fate.unwrap_or_else(|| "accept".into())
}

fn decided(decision: &Decision) -> String {
    match decision {
        Decision::Retry(after) => format!("retry after {} ms", after.as_millis()),
        Decision::DeadLetter(queue) => format!("to queue {queue}"),
        Decision::Drop => "drop".into(),
        Decision::Halt(_) => "halt".into(),
    }
}

fn key(batch: &Batch, row: u32) -> String {
    batch
        .keys
        .get(row as usize)
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Names of the fields and embeddings in which a row differs.
fn changed(a: &Batch, b: &Batch, row: u32) -> Option<String> {
    let columns = a
        .schema
        .columns
        .iter()
        .zip(a.row(row).iter().zip(b.row(row)));
    let mut names: Vec<&str> = columns
        .filter(|(_, (a, b))| !a.is_same(b))
        .map(|(column, _)| column.name.as_str())
        .collect();
    for (index, embedding) in a.schema.embeddings.iter().enumerate() {
        if a.embeddings.get(row as usize, index) != b.embeddings.get(row as usize, index) {
            names.push(&embedding.name);
        }
    }
    (!names.is_empty()).then(|| names.join(", "))
}
