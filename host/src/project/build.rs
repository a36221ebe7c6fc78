//! Runs the commands that build a plugin.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, io};

use serde_json::Value;

use super::steps::{Kind, Plan, SCRATCH, Step, plan};
use super::tools::{Tool, Tools};
use super::{Project, ProjectError, io as cannot};

/// A built component that is not installed yet.
#[derive(Debug)]
pub struct Built {
    /// Path to which the tools wrote it.
    pub path: PathBuf,
}

impl Project {
    /// Default path of the built plugin.
    #[must_use]
    pub fn default_output(&self) -> PathBuf {
        self.directory
            .join("dist")
            .join(format!("{}.wasm", self.name))
    }

    /// Builds the plugin with the language's tools, which are looked up in the project and in
    /// `search`. Each command is shown before it runs; its output goes to standard error.
    ///
    /// # Errors
    /// If tools are missing, with all their names and before any command runs; if a command fails.
    pub fn build(
        &self,
        kind: Kind,
        search: Vec<PathBuf>,
        show: impl Fn(&str),
    ) -> Result<Built, ProjectError> {
        let plan = plan(self, kind)?;
        let tools = Tools::of(&self.directory, search);
        let wanted: Vec<Tool> = plan.steps.iter().map(|step| step.tool).collect();
        let programs = tools.find(&wanted, plan.also, self.language)?;
        self.prepare(&plan)?;
        let mut result = plan.result.as_ref().map(|path| self.directory.join(path));
        for (step, program) in plan.steps.iter().zip(programs) {
            show(&shown(step));
            let mut command = self.command(step, &program, &tools);
            match step.tool {
                Tool::Cargo => result = run_cargo(step, &mut command)?,
                _ => run(step, &mut command)?,
            }
        }
        let path = result.ok_or_else(|| ProjectError::Unfit {
            path: self.directory.join("Cargo.toml"),
            what: "cargo built no component".to_owned(),
            hint: "give the package `[lib]` with `crate-type = [\"cdylib\"]`".to_owned(),
        })?;
        Ok(Built { path })
    }

    fn prepare(&self, plan: &Plan) -> Result<(), ProjectError> {
        let Some(result) = &plan.result else {
            return Ok(());
        };
        let scratch = self.directory.join(SCRATCH);
        fs::create_dir_all(&scratch).map_err(cannot(format!("create {}", scratch.display())))?;
        // If a tool succeeds without writing anything, no old plugin must remain.
        let result = self.directory.join(result);
        match fs::remove_file(&result) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot(format!("remove {}", result.display()))(error));
            }
            _ => {}
        }
        for (name, bytes) in &plan.files {
            let path = self.directory.join(name);
            fs::write(&path, bytes).map_err(cannot(format!("write {}", path.display())))?;
        }
        Ok(())
    }

    fn command(&self, step: &Step, program: &Path, tools: &Tools) -> Command {
        let mut command = match step.wrapper {
            Some(script) => {
                let mut command = Command::new("bash");
                command.args(["-c", script, "toolchain.sh"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .args(&step.arguments)
            .envs(step.environment.iter().cloned())
            .env("PATH", tools.search_path())
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        command
    }
}

impl Built {
    /// Installs the component atomically, so that a host that watches the directory never sees a
    /// part of it.
    ///
    /// # Errors
    /// If the component cannot be written.
    pub fn place(&self, output: &Path) -> Result<(), ProjectError> {
        let put = || {
            if let Some(directory) = output.parent() {
                fs::create_dir_all(directory)?;
            }
            let mut part = output.as_os_str().to_owned();
            part.push(".part");
            fs::copy(&self.path, &part)?;
            fs::rename(&part, output)
        };
        put().map_err(cannot(format!("write {}", output.display())))
    }
}

/// Runs a command with its output on standard error.
fn run(step: &Step, command: &mut Command) -> Result<(), ProjectError> {
    command.stdout(io::stderr());
    let mut child = start(step, command)?;
    finish(step, &mut child)
}

/// Runs cargo and returns the component that it built.
fn run_cargo(step: &Step, command: &mut Command) -> Result<Option<PathBuf>, ProjectError> {
    command.stdout(Stdio::piped());
    let mut child = start(step, command)?;
    let mut built = None;
    if let Some(messages) = child.stdout.take() {
        for message in BufReader::new(messages).lines() {
            let message = message.map_err(cannot("read the output of cargo".to_owned()))?;
            built = component_of(&message).or(built);
        }
    }
    finish(step, &mut child)?;
    Ok(built)
}

/// The component that a message of cargo announces. Messages of dependencies come first and
/// announce none.
fn component_of(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let files = message.get("filenames")?.as_array()?;
    let mut paths = files.iter().filter_map(Value::as_str).map(PathBuf::from);
    paths.find(|path| {
        path.extension()
            .is_some_and(|extension| extension == "wasm")
    })
}

fn start(step: &Step, command: &mut Command) -> Result<Child, ProjectError> {
    let spawned = command.spawn();
    spawned.map_err(cannot(format!("start {}", step.tool.name())))
}

fn finish(step: &Step, child: &mut Child) -> Result<(), ProjectError> {
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
fn shown(step: &Step) -> String {
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

    #[test]
    fn cargo_says_where_the_component_is() {
        let made = r#"{"reason":"compiler-artifact","filenames":["/t/a.d","/t/a.wasm"]}"#;
        assert_eq!(component_of(made), Some(PathBuf::from("/t/a.wasm")));
        for other in [
            r#"{"reason":"compiler-artifact","filenames":["/t/liba.rlib"]}"#,
            r#"{"reason":"build-finished","success":true}"#,
            "text of a build script",
        ] {
            assert_eq!(component_of(other), None, "{other}");
        }
    }
}
