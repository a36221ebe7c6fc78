//! What a plugin would have done otherwise than the one it runs beside.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::runner::Decision;
use super::worker_slot::WorkerSlot;
use crate::row::{Batch, Embeddings, Failure, PluginId};

/// The same rows, judged by a plugin without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The plugin that was tried.
    pub plugin: Arc<PluginId>,
    /// Rows compared. Failed rows that were put before a policy are not counted again.
    pub rows: u64,
    /// What it would have done otherwise, sorted.
    pub differences: Vec<Difference>,
    /// Set when it failed on most of the rows: nothing was compared.
    pub broken: Option<String>,
}

/// Rows of which the same would have become instead of the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What became of them, such as `accept` or `dead-letter FIELD_RANGE`.
    pub is: String,
    /// What would have.
    pub would_be: String,
    /// How many.
    pub rows: u64,
    /// The key of one of them.
    pub sample: String,
}

/// A batch before the plugin that is active changed it. Copies share texts and vectors.
pub(super) struct Before(Batch);

impl Before {
    pub(super) fn of(batch: &Batch) -> Self {
        Self(Batch {
            schema: Arc::clone(&batch.schema),
            wire: Vec::new(),
            keys: batch.keys.clone(),
            uuids: Vec::new(),
            values: batch.values.clone(),
            embeddings: Embeddings {
                width: batch.embeddings.width,
                vectors: batch.embeddings.vectors.clone(),
            },
            live: batch.live.clone(),
            deleted: Vec::new(),
            keyless: Vec::new(),
            failures: Vec::new(),
            drops: Vec::new(),
        })
    }

    /// Lets the shadow do the same, and says where it came to something else.
    pub(super) fn compare(mut self, after: &Batch, shadow: &mut WorkerSlot) -> Comparison {
        let rows = self.0.live.clone();
        let plugin = Arc::clone(shadow.link.plugin().id());
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
    /// Two policies' decisions about the same failures.
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

/// Differences by what they are, with the first key.
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

/// What became of each of `rows`; `None` for those that go on. Rows left before do not matter.
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

/// The names of the fields and embeddings in which a row differs.
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
