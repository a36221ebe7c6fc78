//! What results look like.

use std::fmt::Arguments;
use std::io;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// Why a result could not be written.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Writes a part of a result to standard output. A command goes on to its end also when that
/// fails; that nobody reads any more, as after `| head`, is no error at all.
pub(crate) fn write(text: Arguments<'_>) {
    note(io::stdout().write_fmt(text));
}

/// Why not all results could be written, if so.
pub(super) fn unwritten() -> Option<&'static io::Error> {
    note(io::stdout().flush());
    UNWRITTEN.get()
}

fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        UNWRITTEN.get_or_init(|| error);
    }
}

/// Prints a result as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// An empty table in the style of all tables here.
pub(super) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}
