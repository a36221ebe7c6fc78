//! Trims the white space around texts.

// `println!`, `eprintln!` and `dbg!` go to the host's log.
#[allow(unused_imports)]
#[macro_use]
extern crate forebay_plugin;

use forebay_plugin::{AllColumns, Cell, Field, Outcome, Plugin, Settings, Transform, Value};

struct Trim;

forebay_plugin::export!(Trim: transform);

impl Plugin for Trim {
    // Fewer columns are faster: declare them with `forebay_plugin::columns!`.
    type Row<'a> = AllColumns<'a>;

    fn configure(_: &mut Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Transform for Trim {
    fn transform(&self, row: AllColumns<'_>) -> Outcome {
        row.cells().filter_map(trimmed).collect()
    }
}

/// The field to set, if its text changes. An empty text becomes null.
fn trimmed(cell: Cell<'_>) -> Option<Field> {
    let text = cell.text()?;
    match text.trim() {
        "" => Some(cell.set(Value::None)),
        trimmed if trimmed == text => None,
        trimmed => Some(cell.set(trimmed)),
    }
}
