//! Runs the commands that build a plugin.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use super::process::{run, shown};
use super::steps::{Kind, Plan, SCRATCH, Step, plan};
use super::tools::{Tool, Tools};
use super::{Language, Project, ProjectError, Recipe, io as cannot};

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
    /// `search`, or with the project's own command. Each command is shown before it runs; its output
    /// goes to standard error.
    ///
    /// # Errors
    /// If tools are missing, with all their names and before any command runs; if a command fails.
    pub fn build(
        &self,
        kind: Kind,
        search: Vec<PathBuf>,
        show: impl Fn(&str),
    ) -> Result<Built, ProjectError> {
        let tools = Tools::of(&self.directory, search);
        match &self.recipe {
            Recipe::Known { language, world } => {
                let plan = plan(self, (*language, *world), kind)?;
                self.carry_out(&plan, Some(*language), &tools, &show)
            }
            Recipe::Own(own) => self.build_own(own, kind, &tools, &show),
        }
    }

    /// Runs the commands of a plan.
    pub(super) fn carry_out(
        &self,
        plan: &Plan,
        language: Option<Language>,
        tools: &Tools,
        show: &impl Fn(&str),
    ) -> Result<Built, ProjectError> {
        let wanted: Vec<Tool> = plan.steps.iter().map(|step| step.tool).collect();
        let programs = tools.find(&wanted, plan.also, language)?;
        self.prepare(plan)?;
        let mut result = plan.result.as_ref().map(|path| self.directory.join(path));
        for (step, program) in plan.steps.iter().zip(programs) {
            show(&shown(step));
            let mut command = self.command(step, &program, tools);
            match step.tool {
                Tool::Cargo => result = super::cargo::run(&self.directory, step, &mut command)?,
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
        place(&self.path, output)
    }
}

/// Copies a file to another path in one step, so that nobody sees a part of it there.
///
/// # Errors
/// If it cannot be read or written.
pub fn place(file: &Path, output: &Path) -> Result<(), ProjectError> {
    let put = || {
        let parent = output.parent();
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut part = tempfile::Builder::new()
            // As files usually are; a temporary file is private.
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(directory)?;
        io::copy(&mut File::open(file)?, &mut part)?;
        part.persist(output)?;
        Ok(())
    };
    put().map_err(cannot(format!("write {}", output.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_is_put_as_a_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("built"), "new").unwrap();
        place(&at("built"), &at("plugins/a.wasm")).unwrap();
        assert_eq!(fs::read(at("plugins/a.wasm")).unwrap(), b"new");
        let permissions = fs::metadata(at("plugins/a.wasm")).unwrap().permissions();
        // The rest is up to the umask.
        assert_eq!(permissions.mode() & 0o711, 0o600);

        // It cannot be read, or there is a directory in its place.
        place(&at("nofile"), &at("plugins/a.wasm")).unwrap_err();
        fs::create_dir(at("plugins/b.wasm")).unwrap();
        place(&at("built"), &at("plugins/b.wasm")).unwrap_err();
        let left = fs::read_dir(at("plugins")).unwrap().count();
        assert_eq!(left, 2);
        assert_eq!(fs::read(at("plugins/a.wasm")).unwrap(), b"new");
    }
}
