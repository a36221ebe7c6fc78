//! A plugin in many versions, for the tests of swapping: the tests write another number over
//! [`VERSION`] in the built component, which makes another version of it.
//!
//! It sets the field `version` of every row, rejects each row whose `number` is a multiple of 10
//! under its version, and as a policy names the queue by it: so rows, dead letters and queues
//! say which version they met. The first digit of the version says how it misbehaves.

wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });

use std::hint::black_box;

use exports::forebay::plugin::dead_letter_policy::{self, Decision, Failure};
use exports::forebay::plugin::{describe, transform, validate};
use forebay::plugin::types::{Batch, Field, Outcome, Rejection, Row, Value};

/// Read from memory at run time, so that it is in the component just once and as it stands here.
static VERSION: [u8; 12] = *b"version-0000";

/// How a version misbehaves, by its first digit.
enum Fault {
    None,
    /// 1: traps on each row whose number is a multiple of 3.
    TrapsOften,
    /// 2: traps on every row.
    Traps,
    /// 3: never answers.
    Loops,
    /// 4: rejects each row whose number is a multiple of 7 as well.
    RejectsMore,
    /// 5: refuses any settings.
    Refuses,
    /// 6: its policy traps.
    PolicyTraps,
}

fn version() -> String {
    String::from_utf8_lossy(black_box(&VERSION)).into_owned()
}

fn fault() -> Fault {
    match black_box(&VERSION)[8] {
        b'1' => Fault::TrapsOften,
        b'2' => Fault::Traps,
        b'3' => Fault::Loops,
        b'4' => Fault::RejectsMore,
        b'5' => Fault::Refuses,
        b'6' => Fault::PolicyTraps,
        _ => Fault::None,
    }
}

struct Stamp;
export!(Stamp);

impl describe::Guest for Stamp {
    fn describe() -> describe::Descriptor {
        describe::Descriptor {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: version(),
            reads: Some(vec!["number".to_owned()]),
        }
    }

    fn configure(_config: Vec<(String, String)>) -> Result<(), String> {
        match fault() {
            Fault::Refuses => Err(format!("{} takes no settings", version())),
            _ => Ok(()),
        }
    }
}

impl transform::Guest for Stamp {
    fn transform(batch: Batch) -> Result<Vec<Outcome>, String> {
        let version = version();
        let outcome = |row: &Row| {
            let number = number(row);
            match fault() {
                Fault::TrapsOften if number % 3 == 0 => core::arch::wasm32::unreachable(),
                Fault::Traps => core::arch::wasm32::unreachable(),
                Fault::Loops => loop {
                    black_box(());
                },
                _ => Outcome::Set(vec![Field {
                    name: "version".to_owned(),
                    value: Value::Text(version.clone()),
                }]),
            }
        };
        Ok(batch.rows.iter().map(outcome).collect())
    }
}

impl validate::Guest for Stamp {
    fn validate(batch: Batch) -> Result<Vec<Vec<Rejection>>, String> {
        let judge = |row: &Row| {
            let number = number(row);
            let code = match fault() {
                _ if number % 10 == 0 => "TEN",
                Fault::RejectsMore if number % 7 == 0 => "SEVEN",
                _ => return Vec::new(),
            };
            vec![Rejection {
                code: code.to_owned(),
                message: version(),
                field: Some("number".to_owned()),
            }]
        };
        Ok(batch.rows.iter().map(judge).collect())
    }
}

impl dead_letter_policy::Guest for Stamp {
    fn decide(failures: Vec<Failure>) -> Result<Vec<Decision>, String> {
        if matches!(fault(), Fault::PolicyTraps) {
            core::arch::wasm32::unreachable();
        }
        Ok(vec![Decision::DeadLetter(version()); failures.len()])
    }
}

fn number(row: &Row) -> i64 {
    match row.values.as_slice() {
        [Value::Integer(number)] => *number,
        _ => 0,
    }
}
