//! Rejects rows that lack a required column.

// `println!`, `eprintln!` and `dbg!` go to the host's log.
#[allow(unused_imports)]
#[macro_use]
extern crate forebay_plugin;

use forebay_plugin::{AllColumns, Cell, Plugin, Rejection, Settings, Validate};

struct Required {
    columns: Vec<String>,
}

forebay_plugin::export!(Required: validate);

impl Plugin for Required {
    // Fewer columns are faster: declare them with `forebay_plugin::columns!`.
    type Row<'a> = AllColumns<'a>;

    fn configure(settings: &mut Settings) -> Result<Self, String> {
        let columns = settings.list("required", "");
        Ok(Self { columns })
    }
}

impl Validate for Required {
    fn validate(&self, row: AllColumns<'_>) -> Vec<Rejection> {
        let cells = self.columns.iter().map(|name| row.get(name));
        let missing = cells.filter(is_missing);
        missing
            .map(|cell| cell.reject("FIELD_REQUIRED", "must be given"))
            .collect()
    }
}

fn is_missing(cell: &Cell<'_>) -> bool {
    cell.is_none() || cell.text().is_some_and(str::is_empty)
}
