//! A transform that misbehaves when told to, for the tests of the sandbox.
//!
//! Each setting below is a list of keys separated by commas, or `*` for every row: a row with
//! such a key sets the fault off. Faults of the whole call are checked before any row is
//! answered, in the order of [`FAULTS`]. `refuse` makes `configure` fail with its value.

wit_bindgen::generate!({ path: "../../../wit", world: "transformer" });

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use exports::forebay::plugin::{describe, transform};
use forebay::plugin::embeddings;
use forebay::plugin::log::{self, Level};
use forebay::plugin::types::{Batch, Field, Outcome, Rejection, Row, Value};

/// The embedding that the faults touch.
const EMBEDDING: &str = "vector";

/// What can go wrong, by the name of its setting.
const FAULTS: [&str; 16] = [
    // More lines than the host writes.
    "log_flood_on",
    // The row's embedding becomes (1, 0, 0, …).
    "write_on",
    // The embedding of the batch's first row becomes (1, 0, 0, …); then the call traps.
    "write_then_trap_on",
    // A panic.
    "trap_on",
    // An endless loop.
    "loop_on",
    // Memory without end.
    "eat_on",
    // Recursion without end.
    "overflow_on",
    // An embedding that does not exist: the host traps.
    "no_embedding_on",
    // `err` for the batch.
    "error_on",
    // The row sets a column that nobody has.
    "bad_set_on",
    // The row sets `exp_years` to a text.
    "bad_type_on",
    // The row is dropped, for a reason that is its own, or rejected.
    "drop_on",
    "drop_each_on",
    "reject_on",
    // The row is dropped, but not by the first call of an instance.
    "remember_on",
    // The answer is one outcome short.
    "short_on",
];

/// Calls of this instance, which a plugin must not go by.
static CALLS: AtomicU32 = AtomicU32::new(0);

static KEYS: OnceLock<HashMap<String, String>> = OnceLock::new();

struct Faulty;
export!(Faulty);

impl describe::Guest for Faulty {
    fn describe() -> describe::Descriptor {
        describe::Descriptor {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reads: None,
        }
    }

    fn configure(config: Vec<(String, String)>) -> Result<(), String> {
        std::panic::set_hook(Box::new(|panic| {
            log::log(Level::Error, &panic.to_string().replace('\n', " "));
        }));
        for (key, value) in &config {
            match key.as_str() {
                "refuse" => return Err(value.clone()),
                fault if FAULTS.contains(&fault) => {}
                _ => {
                    return Err(format!(
                        "unknown setting `{key}`; there are refuse, {}",
                        FAULTS.join(", ")
                    ));
                }
            }
        }
        KEYS.set(config.into_iter().collect())
            .map_err(|_| "configured twice".to_owned())
    }
}

impl transform::Guest for Faulty {
    fn transform(batch: Batch) -> Result<Vec<Outcome>, String> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        for (index, row) in (0..).zip(&batch.rows) {
            for fault in FAULTS.into_iter().filter(|fault| is_on(fault, row)) {
                call_fault(fault, index, row)?;
            }
        }
        let mut outcomes: Vec<Outcome> = batch.rows.iter().map(outcome).collect();
        if batch.rows.iter().any(|row| is_on("short_on", row)) {
            outcomes.pop();
        }
        Ok(outcomes)
    }
}

fn is_on(fault: &str, row: &Row) -> bool {
    let keys = KEYS.get().and_then(|keys| keys.get(fault));
    keys.is_some_and(|keys| keys == "*" || keys.split(',').any(|key| key.trim() == row.key))
}

/// The faults of the whole call.
#[allow(clippy::panic)]
fn call_fault(fault: &str, index: u32, row: &Row) -> Result<(), String> {
    match fault {
        "log_flood_on" => (0..1000).for_each(|line| log::log(Level::Info, &format!("line {line}"))),
        "write_on" => write(index),
        "write_then_trap_on" => {
            write(0);
            panic!("wrote to row 0, then met row {}", row.key);
        }
        "trap_on" => panic!("met row {}", row.key),
        "loop_on" => loop {
            black_box(());
        },
        "eat_on" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "overflow_on" => {
            black_box(overflow(index));
        }
        "no_embedding_on" => {
            embeddings::read(index, "no such embedding");
        }
        "error_on" => return Err(format!("met row {}", row.key)),
        _ => {}
    }
    Ok(())
}

/// The answer for one row.
fn outcome(row: &Row) -> Outcome {
    let set = |name: &str, value| {
        Outcome::Set(vec![Field {
            name: name.to_owned(),
            value,
        }])
    };
    if is_on("bad_set_on", row) {
        set("no_such_column", Value::Integer(1))
    } else if is_on("bad_type_on", row) {
        set("exp_years", Value::Text("many".to_owned()))
    } else if is_on("drop_on", row)
        || is_on("remember_on", row) && CALLS.load(Ordering::Relaxed) > 1
    {
        Outcome::Drop("FAULTY".to_owned())
    } else if is_on("drop_each_on", row) {
        Outcome::Drop(row.key.clone())
    } else if is_on("reject_on", row) {
        let message = format!("met row {}", row.key);
        Outcome::Reject(Rejection {
            code: "FAULTY".to_owned(),
            message,
            field: None,
        })
    } else {
        Outcome::Unchanged
    }
}

fn write(row: u32) {
    let dimensions = embeddings::dimensions(row, EMBEDDING).unwrap_or(1);
    let values: Vec<f32> = (0..dimensions).map(|index| f32::from(index == 0)).collect();
    embeddings::write(row, EMBEDDING, &values);
}

#[allow(unconditional_recursion)]
fn overflow(depth: u32) -> u32 {
    black_box(overflow(black_box(depth.wrapping_add(1)))).wrapping_add(1)
}
