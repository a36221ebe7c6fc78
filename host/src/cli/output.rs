//! Writes results to standard output.

use std::fmt::Arguments;
use std::io;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use serde::Serialize;

use crate::printable::{json, lines};

/// The first error of writing a result.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Writes a part of a result to standard output, without anything that a terminal obeys: the
/// text may have come from a source, the database or a guest. If that fails, the command still runs to its
/// end. A reader that is gone, as after `| head`, is not an error.
pub(crate) fn write(text: Arguments<'_>) {
    note(io::stdout().write_all(lines(&text.to_string()).as_bytes()));
}

/// The reason why some results could not be written.
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
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", indented_json(value)?);
    Ok(())
}

/// Indented JSON that a terminal only shows.
pub(super) fn indented_json(value: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(json(&text).into_owned())
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}
