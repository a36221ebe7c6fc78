//! Uses everything that `forebay:plugin@0.1.0` has: each function, and each case of each
//! variant, in both directions. What it does with a row is the row's key.

wit_bindgen::generate!({ path: "../plugin.wit", world: "plugin" });

use exports::forebay::plugin::dead_letter_policy::{self, Decision, Failure};
use exports::forebay::plugin::{describe, transform, validate};
use forebay::plugin::embeddings;
use forebay::plugin::log::{Level, log};
use forebay::plugin::types::{Batch, Field, Outcome, Rejection, Value};

struct Witness;
export!(Witness);

/// The one embedding of the rows.
const VECTOR: &str = "vector";

impl describe::Guest for Witness {
    fn describe() -> describe::Descriptor {
        describe::Descriptor {
            name: "witness".into(),
            version: "of 0.1.0".into(),
            reads: None,
        }
    }

    fn configure(config: Vec<(String, String)>) -> Result<(), String> {
        match config.into_iter().find(|(key, _)| key == "refuse") {
            Some((_, message)) => Err(message),
            None => Ok(()),
        }
    }
}

impl transform::Guest for Witness {
    fn transform(batch: Batch) -> Result<Vec<Outcome>, String> {
        for (level, text) in [
            (Level::Debug, "debug"),
            (Level::Info, "info"),
            (Level::Warn, "warn"),
            (Level::Error, "error"),
        ] {
            log(level, text);
        }
        if batch.rows.iter().any(|row| row.key == "error") {
            return Err("there is a row named error".into());
        }
        let columns = &batch.columns;
        let answers = batch.rows.iter().zip(0..).map(|(row, index)| match row.key.as_str() {
            // Each `in_*` comes back as `out_*`.
            "echo" => {
                let fields = columns.iter().zip(&row.values).filter_map(|(name, value)| {
                    let name = format!("out_{}", name.strip_prefix("in_")?);
                    let value = value.clone();
                    Some(Field { name, value })
                });
                Outcome::Set(fields.collect())
            }
            "drop" => Outcome::Drop("NOT_WANTED".into()),
            "reject" => Outcome::Reject(rejection("REJECTED_IN_TRANSFORM", Some("in_text"))),
            "measure" => measured(index),
            "write" => {
                embeddings::write(index, VECTOR, &[0.0, 0.25, -1.5]);
                Outcome::Unchanged
            }
            "normalize" => {
                embeddings::normalize(VECTOR);
                Outcome::Unchanged
            }
            "truncate" => {
                embeddings::truncate(VECTOR, 2);
                Outcome::Unchanged
            }
            _ => Outcome::Unchanged,
        });
        Ok(answers.collect())
    }
}

impl validate::Guest for Witness {
    fn validate(batch: Batch) -> Result<Vec<Vec<Rejection>>, String> {
        let answers = batch.rows.iter().map(|row| match row.key.as_str() {
            "invalid" => vec![rejection("FIRST", Some("in_real")), rejection("SECOND", None)],
            _ => Vec::new(),
        });
        Ok(answers.collect())
    }
}

impl dead_letter_policy::Guest for Witness {
    fn decide(failures: Vec<Failure>) -> Result<Vec<Decision>, String> {
        let decisions = failures.iter().map(|failure| match failure.code.as_str() {
            "RETRY" => Decision::Retry(20),
            "DROP" => Decision::Drop,
            "HALT" => {
                let Failure { key, stage, code, message, attempt, fields } = failure;
                let fields: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                let fields = fields.join(",");
                Decision::Halt(format!("{key} {stage} {code} {message} {attempt} {fields}"))
            }
            _ => Decision::DeadLetter("witnessed".into()),
        });
        Ok(decisions.collect())
    }
}

/// What the functions that only look say about a row. No floats are made texts: that alone
/// would be a third of the component.
fn measured(index: u32) -> Outcome {
    let dimensions = embeddings::dimensions(index, VECTOR).map_or(-1, i64::from);
    let elements = embeddings::read(index, VECTOR);
    let norm = embeddings::norms(VECTOR)[index as usize];
    let rows = embeddings::non_finite(VECTOR);
    let fields = [
        ("out_integer", Value::Integer(dimensions)),
        ("out_binary", Value::Binary(elements.iter().flat_map(|x| x.to_le_bytes()).collect())),
        ("out_real", Value::Real(norm.into())),
        ("out_texts", Value::Texts(rows.iter().map(u32::to_string).collect())),
    ];
    Outcome::Set(fields.map(|(name, value)| Field { name: name.into(), value }).into())
}

fn rejection(code: &str, field: Option<&str>) -> Rejection {
    Rejection {
        code: code.into(),
        message: format!("{code}, says the witness"),
        field: field.map(Into::into),
    }
}
