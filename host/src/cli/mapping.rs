//! The mapping of a pipeline on the screen.

use super::table::{Column, Table};
use crate::plugin::line;
use crate::route::{Mapping, TableMapping};

/// Spaces before the lines below a finding.
const INDENT: usize = 5;

/// Maximum characters of a list of names.
const MAX_LINE: usize = 1_000;

pub(super) fn print(mapping: &Mapping) {
    for table in &mapping.tables {
        println!("{}{}", " ".repeat(INDENT), heading(table));
        println!("{}", rows(table));
    }
    let embeddings = mapping.unused_embeddings.iter().map(|it| it.name.clone());
    let embeddings: Vec<String> = embeddings.collect();
    let unused = [
        ("fields", &mapping.unused_fields),
        ("embeddings", &embeddings),
    ];
    for (what, names) in unused.into_iter().filter(|(_, names)| !names.is_empty()) {
        println!(
            "{}{what} that no column takes: {}",
            " ".repeat(INDENT),
            line(names.join(", "), MAX_LINE)
        );
    }
}

fn heading(table: &TableMapping) -> String {
    let key = table.key.join(", ");
    format!("{}: rows are found by {key}", table.quoted)
}

fn rows(table: &TableMapping) -> Table<3> {
    let columns = [
        Column::name("column"),
        Column::name("type"),
        Column::text("fed by"),
    ];
    let mut rows = Table::new(columns).indented(INDENT + 2);
    for it in &table.columns {
        rows.row([it.column.clone(), it.type_sql.clone(), it.fed_by.words()]);
    }
    rows
}
