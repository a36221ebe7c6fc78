//! Builds a project with a command of its own, for languages that are not known here.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, io};

use super::build::Built;
use super::manifest::{MANIFEST, OwnBuild};
use super::process::quoted;
use super::steps::{Kind, SCRATCH, componentized};
use super::tools::Tools;
use super::{Project, ProjectError, io as cannot};

/// The first bytes of a core module, as opposed to a component.
const CORE_MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

impl Project {
    /// Runs the command, and makes a component of what it wrote unless it is one.
    pub(super) fn build_own(
        &self,
        own: &OwnBuild,
        kind: Kind,
        tools: &Tools,
        show: &impl Fn(&str),
    ) -> Result<Built, ProjectError> {
        // Where commands of all kinds write to.
        let scratch = self.directory.join(SCRATCH);
        fs::create_dir_all(&scratch).map_err(cannot(format!("create {}", scratch.display())))?;
        self.run_own(&own.command, tools, show)?;
        let path = self.directory.join(&own.output);
        if !is_core_module(&path).map_err(|error| self.unwritten(own, &error))? {
            return Ok(Built { path });
        }
        let Some(world) = own.world else {
            return Err(ProjectError::Unfit {
                path,
                what: "a core module, not a component".to_owned(),
                hint: format!(
                    "give {MANIFEST} the `world` whose exports it has, and the interface in `wit`"
                ),
            });
        };
        let plan = componentized(self, world, kind, &own.output);
        self.carry_out(&plan, None, tools, show)
    }

    fn run_own(
        &self,
        command: &[String],
        tools: &Tools,
        show: &impl Fn(&str),
    ) -> Result<(), ProjectError> {
        let words: Vec<String> = command.iter().map(|word| quoted(word.as_ref())).collect();
        let shown = words.join(" ");
        show(&shown);
        let Some((program, arguments)) = command.split_first() else {
            return Ok(());
        };
        let status = Command::new(program)
            .args(arguments)
            .env("PATH", tools.search_path())
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .status();
        let status = status.map_err(|error| ProjectError::Unfit {
            path: self.directory.join(MANIFEST),
            what: format!("`{program}` of `build` cannot be started: {error}"),
            hint: "name a program on the search path, in .venv/bin or in node_modules/.bin, or a path \
                   that begins with ./"
                .to_owned(),
        })?;
        if status.success() {
            return Ok(());
        }
        Err(ProjectError::Failed {
            command: shown,
            status,
        })
    }

    fn unwritten(&self, own: &OwnBuild, error: &io::Error) -> ProjectError {
        let output = own.output.display();
        ProjectError::Unfit {
            path: self.directory.join(MANIFEST),
            what: match error.kind() {
                ErrorKind::NotFound => format!("`build` has not written {output}"),
                _ => format!("{output}, the `output` of `build`, cannot be read: {error}"),
            },
            hint: "`output` names the file that the command writes, relative to this file"
                .to_owned(),
        }
    }
}

fn is_core_module(path: &Path) -> io::Result<bool> {
    let mut first = Vec::new();
    File::open(path)?.take(8).read_to_end(&mut first)?;
    Ok(first == CORE_MODULE)
}
