//! The witness of `forebay:plugin@0.1.0` in the packed form: it answers every row alike. Uses each
//! function of the two roles, and each case of each variant, in both directions.

wit_bindgen::generate!({
    path: ["../../0.1.0/plugin.wit", "../packed.wit"],
    inline: "
        package forebay:witness;
        world witness {
            import forebay:plugin/log@0.1.0;
            import forebay:plugin/embeddings@0.1.0;
            export forebay:plugin/describe@0.1.0;
            export forebay:packed/transform@0.1.0;
            export forebay:packed/validate@0.1.0;
        }
    ",
    world: "forebay:witness/witness",
    generate_all,
});

use exports::forebay::packed::{transform, validate};
use exports::forebay::plugin::describe;
use forebay::packed::types::{Batch, Cells, Changes, Departure, Fault, Reason};
use forebay::plugin::embeddings;
use forebay::plugin::log::{Level, log};
use forebay::plugin::types::Rejection;

struct Witness;
export!(Witness);

/// The one embedding of the rows.
const VECTOR: &str = "vector";

/// Kinds of values.
const INTEGER: u8 = 2;
const REAL: u8 = 3;
const BINARY: u8 = 5;
const TEXTS: u8 = 8;

impl describe::Guest for Witness {
    fn describe() -> describe::Descriptor {
        describe::Descriptor {
            name: "packed-witness".into(),
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
    fn transform(batch: Batch) -> Result<Changes, String> {
        for (level, text) in [
            (Level::Debug, "debug"),
            (Level::Info, "info"),
            (Level::Warn, "warn"),
            (Level::Error, "error"),
        ] {
            log(level, text);
        }
        if keys(&batch).any(|(_, key)| key == "error") {
            return Err("there is a row named error".into());
        }
        // What is answered is put behind what came, so that spans of that stay what they are.
        let mut changes = Changes {
            columns: Vec::new(),
            places: Vec::new(),
            cells: Cells {
                kinds: Vec::new(),
                words: Vec::new(),
                text: batch.cells.text.clone(),
                binary: batch.cells.binary.clone(),
                items: batch.cells.items.clone(),
            },
            gone: Vec::new(),
        };
        for (row, key) in keys(&batch) {
            match key {
                // Each `in_*` comes back as `out_*`.
                "echo" => {
                    let first = row as usize * (batch.columns.len() + 1) + 1;
                    for (at, name) in (first..).zip(&batch.columns) {
                        if let Some(name) = name.strip_prefix("in_") {
                            let name = format!("out_{name}");
                            set(&mut changes, row, &name, batch.cells.kinds[at], batch.cells.words[at]);
                        }
                    }
                }
                "drop" => changes.gone.push(Departure { row, why: Reason::Drop("NOT_WANTED".into()) }),
                "reject" => {
                    let why = Reason::Reject(rejection("REJECTED_IN_TRANSFORM", Some("in_text")));
                    changes.gone.push(Departure { row, why });
                }
                "measure" => measure(&mut changes, row),
                "write" => embeddings::write(row, VECTOR, &[0.0, 0.25, -1.5]),
                "normalize" => embeddings::normalize(VECTOR),
                "truncate" => embeddings::truncate(VECTOR, 2),
                _ => {}
            }
        }
        Ok(changes)
    }
}

impl validate::Guest for Witness {
    fn validate(batch: Batch) -> Result<Vec<Fault>, String> {
        let mut faults = Vec::new();
        for (row, _) in keys(&batch).filter(|(_, key)| *key == "invalid") {
            faults.push(Fault { row, why: rejection("FIRST", Some("in_real")) });
            faults.push(Fault { row, why: rejection("SECOND", None) });
        }
        Ok(faults)
    }
}

fn keys(batch: &Batch) -> impl Iterator<Item = (u32, &str)> {
    (0..batch.rows).map(|row| {
        let (begin, length) = halves(batch.cells.words[row as usize * (batch.columns.len() + 1)]);
        (row, &batch.cells.text[begin..begin + length])
    })
}

fn halves(word: u64) -> (usize, usize) {
    ((word >> 32) as usize, word as u32 as usize)
}

fn span(begin: usize, length: usize) -> u64 {
    (begin as u64) << 32 | length as u64
}

/// What the functions that only look say about a row.
fn measure(changes: &mut Changes, row: u32) {
    let dimensions = embeddings::dimensions(row, VECTOR).map_or(-1, i64::from);
    set(changes, row, "out_integer", INTEGER, dimensions as u64);

    let elements = embeddings::read(row, VECTOR);
    let begin = changes.cells.binary.len();
    changes.cells.binary.extend(elements.iter().flat_map(|x| x.to_le_bytes()));
    set(changes, row, "out_binary", BINARY, span(begin, 4 * elements.len()));

    let norm = f64::from(embeddings::norms(VECTOR)[row as usize]);
    set(changes, row, "out_real", REAL, norm.to_bits());

    let begin = changes.cells.items.len();
    let rows = embeddings::non_finite(VECTOR);
    for row in &rows {
        let text = row.to_string();
        changes.cells.items.push(span(changes.cells.text.len(), text.len()));
        changes.cells.text.push_str(&text);
    }
    set(changes, row, "out_texts", TEXTS, span(begin, rows.len()));
}

fn set(changes: &mut Changes, row: u32, name: &str, kind: u8, word: u64) {
    let known = changes.columns.iter().position(|column| column == name);
    let column = known.unwrap_or_else(|| {
        changes.columns.push(name.into());
        changes.columns.len() - 1
    });
    changes.places.push(span(row as usize, column));
    changes.cells.kinds.push(kind);
    changes.cells.words.push(word);
}

fn rejection(code: &str, field: Option<&str>) -> Rejection {
    Rejection {
        code: code.into(),
        message: format!("{code}, says the witness"),
        field: field.map(Into::into),
    }
}
