//! Writes results to standard output.

use std::fmt::Arguments;
use std::io;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use serde::Serialize;

/// The first error of writing a result.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Writes a part of a result to standard output. If that fails, the command still runs to its
/// end. A reader that is gone, as after `| head`, is not an error.
pub(crate) fn write(text: Arguments<'_>) {
    note(io::stdout().write_fmt(text));
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
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}
