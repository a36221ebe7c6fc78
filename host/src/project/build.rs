//! Runs what builds a plugin.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, io};

use serde_json::Value;

use super::steps::{Kind, Plan, SCRATCH, Step, plan};
use super::tools::{Tool, Tools};
use super::{Project, ProjectError, io as cannot};

/// A component that is not in its place yet.
#[derive(Debug)]
pub struct Built {
    /// Where the tools have left it.
    pub path: PathBuf,
}

impl Project {
    /// Where the plugin goes if nothing else is said.
    #[must_use]
    pub fn default_output(&self) -> PathBuf {
        self.directory
            .join("dist")
            .join(format!("{}.wasm", self.name))
    }

    /// Builds the plugin with the language's tools, looked for in the project and in `search`.
    /// Each command is shown before it runs; what it prints goes to standard error.
    ///
    /// # Errors
    ///
    /// When tools are missing, of which all are named before anything is run; when one fails.
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
        fs::create_dir_all(&scratch).map_err(cannot(format!("make {}", scratch.display())))?;
        // A tool that ends well without writing anything must not leave an old plugin.
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
    /// Puts the component into its place, whole: who watches the directory sees all of it or
    /// nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
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

/// Runs a command, with all that it prints on standard error.
fn run(step: &Step, command: &mut Command) -> Result<(), ProjectError> {
    command.stdout(io::stderr());
    let mut child = start(step, command)?;
    finish(step, &mut child)
}

/// Runs cargo; the component that it has built.
fn run_cargo(step: &Step, command: &mut Command) -> Result<Option<PathBuf>, ProjectError> {
    command.stdout(Stdio::piped());
    let mut child = start(step, command)?;
    let mut built = None;
    if let Some(messages) = child.stdout.take() {
        for message in BufReader::new(messages).lines() {
            let message = message.map_err(cannot("read what cargo says".to_owned()))?;
            built = component_of(&message).or(built);
        }
    }
    finish(step, &mut child)?;
    Ok(built)
}

/// The component that this message of cargo's announces. Dependencies come first, and have
/// none.
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

/// A command as it would be typed.
fn shown(step: &Step) -> String {
    let set = |(key, value): &(&str, OsString)| format!("{key}={}", quoted(value));
    let words = step.environment.iter().map(set);
    let words = words.chain([step.tool.name().to_owned()]);
    let arguments = step.arguments.iter().map(|argument| quoted(argument));
    words.chain(arguments).collect::<Vec<_>>().join(" ")
}

/// For a shell.
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
