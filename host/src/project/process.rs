//! Starts tools, waits for them, and shows their commands.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{Child, Command};

use super::steps::Step;
use super::{ProjectError, io as cannot};

/// Runs a command with its output on standard error.
pub(super) fn run(step: &Step, command: &mut Command) -> Result<(), ProjectError> {
    command.stdout(io::stderr());
    let mut child = start(step, command)?;
    finish(step, &mut child)
}

pub(super) fn start(step: &Step, command: &mut Command) -> Result<Child, ProjectError> {
    let spawned = command.spawn();
    spawned.map_err(cannot(format!("start {}", step.tool.name())))
}

pub(super) fn finish(step: &Step, child: &mut Child) -> Result<(), ProjectError> {
    let ended = child.wait();
    let status = ended.map_err(cannot(format!("wait for {}", step.tool.name())))?;
    if status.success() {
        return Ok(());
    }
    Err(ProjectError::Failed {
        command: shown(step),
        status,
    })
}

/// Writes a command as it would be typed.
pub(super) fn shown(step: &Step) -> String {
    let set = |(key, value): &(&str, OsString)| format!("{key}={}", quoted(value));
    let words = step.environment.iter().map(set);
    let words = words.chain([step.tool.name().to_owned()]);
    let arguments = step.arguments.iter().map(|argument| quoted(argument));
    words.chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Quotes an argument for a shell.
pub(crate) fn quoted(argument: &OsStr) -> String {
    let argument = argument.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./+,:@".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.into_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_typed_as_they_are_shown() {
        for (argument, expected) in [
            ("-o", "-o"),
            ("build/core.wasm", "build/core.wasm"),
            ("", "''"),
            ("my plugin", "'my plugin'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(argument.as_ref()), expected);
        }
    }
}
