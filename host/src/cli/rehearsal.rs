//! What would become of a dataset's first rows, on the screen.

use super::table::{Column, Table};
use crate::pipeline::{Fate, Rehearsal};

/// Spaces before the lines below a finding.
const INDENT: usize = 5;

pub(super) fn print(rehearsal: &Rehearsal) {
    let indent = " ".repeat(INDENT);
    let fates = [
        (Fate::Written, "written to "),
        (Fate::Deleted, "removed"),
        (Fate::Dropped, "dropped"),
        (Fate::DeadLettered, "dead letters"),
    ];
    let counts = fates.into_iter().filter_map(|(fate, words)| {
        let count = rehearsal.count(fate);
        let tables = match fate {
            Fate::Written => rehearsal.tables.join(", "),
            _ => String::new(),
        };
        (count > 0).then(|| format!("{count} {words}{tables}"))
    });
    let counts: Vec<String> = counts.collect();
    println!(
        "{indent}of the first {} rows: {}",
        rehearsal.rows,
        counts.join("; ")
    );
    println!(
        "{indent}(constraints and triggers of the tables were not asked, nothing was written)"
    );
    let told = rehearsal
        .outcomes
        .iter()
        .filter(|it| it.fate != Fate::Written);
    let mut table = Table::new([
        Column::name("fate"),
        Column::name("stage").optional(),
        Column::name("code"),
        Column::number("rows"),
        Column::name("such as").optional(),
        Column::text("message"),
    ])
    .indented(INDENT + 2);
    let mut is_empty = true;
    for it in told {
        is_empty = false;
        table.row([
            it.fate.words().into(),
            it.stage.into(),
            it.code.clone(),
            it.rows.to_string(),
            it.key.clone(),
            it.message.clone(),
        ]);
    }
    if !is_empty {
        println!("{table}");
    }
}
