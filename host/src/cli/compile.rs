//! `forebay compile-plugin`: compiles one component in a process of its own. The host runs it; it is
//! not for people.

use std::path::{Path, PathBuf};

use crate::cli::exit::Exit;
use crate::plugin::{CompileOrder, CompileProcess, Compiler};

/// Name of the command.
const NAME: &str = "compile-plugin";

/// The running program on Linux, also after its file was replaced: another version of it would
/// compile for another host.
const RUNNING: &str = "/proc/self/exe";

/// What [`CompileOrder`] says, in its order.
#[derive(Debug, clap::Args)]
pub(super) struct Compile {
    stack: usize,
    memory: u64,
    seconds: u64,
    into: PathBuf,
}

impl Compile {
    /// Compiles the component on standard input.
    pub(super) fn execute(self) -> Exit {
        let order = CompileOrder {
            stack: self.stack,
            memory: self.memory,
            seconds: self.seconds,
            into: self.into,
        };
        match order.carry_out() {
            Ok(()) => Exit::Done,
            Err(said) => {
                println!("{said}");
                Exit::Failed
            }
        }
    }
}

/// Compiles in a process of this program; in this process where the program cannot be found.
pub(super) fn compiler() -> Compiler {
    let running = Path::new(RUNNING);
    let program = match running.exists() {
        true => Ok(running.to_owned()),
        false => std::env::current_exe(),
    };
    match program {
        Ok(program) => Compiler::Process(CompileProcess {
            program,
            arguments: vec![NAME.into()],
        }),
        Err(error) => {
            tracing::warn!(%error, "plugins are compiled in the host's own process, without limits on time and memory");
            Compiler::Here
        }
    }
}
