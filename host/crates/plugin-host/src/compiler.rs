//! Compiles components, here or in a process of its own.
//!
//! A compiler cannot be stopped, and a file that is within all bounds of `complexity.rs` can still
//! take half a minute and a gigabyte. A process can be stopped: [`CompileProcess`] is a program that
//! calls [`CompileOrder::carry_out`], usually the host's own. It limits itself before it reads the
//! component, puts the artefact into a cache directory and ends; the host takes it from there, with
//! the checks that every artefact passes.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::bare::bare;
use super::cache::Cache;
use super::features;
use super::file;
use super::limits::{Limits, MAX_MESSAGE};
use super::load_error::Problem;
use super::sanitize::cut;

/// Wall-clock time that a process may take, in times of its processor time: on a busy machine, it
/// waits.
const PATIENCE: u32 = 10;

/// Time between two looks at whether the process has ended.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// Maximum bytes kept of each output of a process. What it says takes a quarter of that.
const MAX_SAID: u64 = 64 << 10;

/// How components are compiled.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    /// In this process: `compile_time` and `compile_memory` of [`Limits`] do not apply.
    #[default]
    Here,
    /// In a process of its own, under these limits.
    Process(CompileProcess),
}

/// A program that compiles one component, which it reads from standard input.
#[derive(Clone, Debug)]
pub struct CompileProcess {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments. Those of [`CompileOrder`] follow.
    pub arguments: Vec<OsString>,
}

/// What a compiling process is told by its last four arguments, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileOrder {
    /// [`Limits::stack`] of the engine.
    pub stack: usize,
    /// Maximum bytes of memory.
    pub memory: u64,
    /// Maximum seconds of processor time.
    pub seconds: u64,
    /// Cache directory that the artefact is put into.
    pub into: PathBuf,
}

/// What a compiling process says when there is no artefact, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// The component is refused.
    Refused { what: String, hint: String },
    /// The artefact could not be put into the directory.
    Unkept(String),
}

/// How a compiling process ended.
#[derive(Debug)]
struct Ended {
    status: ExitStatus,
    /// The first [`MAX_SAID`] bytes of its standard output.
    stdout: Vec<u8>,
    /// The same of its standard error.
    stderr: Vec<u8>,
    /// True if it took too long and was killed for that.
    was_stopped: bool,
}

/// Compiles a component.
///
/// # Errors
/// When it is invalid, or uses a feature that is off.
pub(super) fn compile(engine: &Engine, bytes: &[u8]) -> Result<Component, Problem> {
    Component::new(engine, bytes).map_err(|error| match features::missing(bytes) {
        Some((what, hint)) => Problem::new(what, hint),
        None => Problem::new(
            format!("not a valid component: {}", error.root_cause()),
            "the file is truncated or damaged: build it again",
        ),
    })
}

impl CompileOrder {
    fn arguments(&self) -> [OsString; 4] {
        [
            self.stack.to_string().into(),
            self.memory.to_string().into(),
            self.seconds.to_string().into(),
            self.into.clone().into(),
        ]
    }

    /// Limits this process, compiles the component on standard input, and puts the artefact into the
    /// directory.
    ///
    /// # Errors
    /// The text for standard output when there is no artefact.
    pub fn carry_out(&self) -> Result<(), String> {
        let short = |text| cut(text, MAX_MESSAGE);
        let said = match self.compile() {
            Ok(()) => return Ok(()),
            Err(Said::Refused { what, hint }) => Said::Refused {
                what: short(what),
                hint: short(hint),
            },
            Err(Said::Unkept(reason)) => Said::Unkept(short(reason)),
        };
        Err(serde_json::to_string(&said).unwrap_or_default())
    }

    fn compile(&self) -> Result<(), Said> {
        let unkept = |error: &dyn std::fmt::Display| Said::Unkept(error.to_string());
        // Beyond the soft limit the process is ended by SIGXCPU.
        limit(Resource::RLIMIT_CPU, self.seconds, 1)
            .and_then(|()| limit(Resource::RLIMIT_CORE, 0, 0))
            .map_err(|error| unkept(&error))?;
        #[cfg(target_os = "linux")]
        limit(Resource::RLIMIT_DATA, self.memory, 0).map_err(|error| unkept(&error))?;
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|error| unkept(&error))?;
        let engine = bare(self.stack).map_err(|error| unkept(&error))?;
        // Before the work, which would be done a second time for another directory.
        let cache = Cache::open(self.into.clone(), &engine);
        let cache = cache.ok_or_else(|| unkept(&"the directory cannot be used"))?;
        let probe = tempfile::NamedTempFile::new_in(&self.into);
        drop(probe.map_err(|error| unkept(&error))?);
        let refused = |Problem { what, hint }| Said::Refused { what, hint };
        let component = compile(&engine, &bytes).map_err(refused)?;
        let kept = cache.try_put(&component, &file::digest(&bytes));
        kept.map_err(|error| unkept(&error))
    }
}

/// Limits a resource of this process, with the hard limit `margin` above. A hard limit that is lower
/// already stays, because only root may raise it.
fn limit(resource: Resource, most: u64, margin: u64) -> nix::Result<()> {
    let (_, allowed) = getrlimit(resource)?;
    let hard = most.saturating_add(margin).min(allowed);
    setrlimit(resource, hard.saturating_sub(margin), hard)
}

impl CompileProcess {
    /// Compiles the component with this digest for an engine. The artefact is kept in the cache, if
    /// there is one that can be written.
    ///
    /// # Errors
    /// When the component is refused, takes more than it may, or the process cannot be run.
    pub(super) fn compile(
        &self,
        engine: &Engine,
        limits: &Limits,
        cache: Option<&Cache>,
        (bytes, digest): (&[u8], &str),
    ) -> Result<Component, Problem> {
        if let Some(cache) = cache
            && let Some(component) = self.compile_into(engine, limits, cache, (bytes, digest))?
        {
            return Ok(component);
        }
        let passing = tempfile::tempdir().map_err(|error| cannot_run(&error))?;
        // A directory that other users cannot write to, whatever the default is.
        let directory = passing.path().join("plugins");
        let created = DirBuilder::new().mode(0o700).create(&directory);
        created.map_err(|error| cannot_run(&error))?;
        let cache = Cache::open(directory, engine);
        let cache = cache.ok_or_else(|| cannot_run(&"no directory for its result"))?;
        self.compile_into(engine, limits, &cache, (bytes, digest))?
            .ok_or_else(|| cannot_run(&"its result cannot be read"))
    }

    /// Returns `None` if the artefact could not be kept.
    fn compile_into(
        &self,
        engine: &Engine,
        limits: &Limits,
        cache: &Cache,
        (bytes, digest): (&[u8], &str),
    ) -> Result<Option<Component>, Problem> {
        let order = CompileOrder {
            stack: limits.stack,
            memory: limits.compile_memory as u64,
            seconds: limits.compile_time.as_secs().max(1),
            into: cache.directory().to_owned(),
        };
        let ended = self
            .run(&order, bytes)
            .map_err(|error| cannot_run(&error))?;
        if ended.status.success() {
            return Ok(cache.get(engine, digest));
        }
        match serde_json::from_slice(&ended.stdout) {
            Ok(Said::Refused { what, hint }) if !is_out_of_memory(&what) => {
                Err(Problem::new(what, hint))
            }
            Ok(Said::Unkept(reason)) if !is_out_of_memory(&reason) => {
                let directory = cache.directory().display();
                tracing::warn!(%directory, reason, "cannot cache a compiled plugin");
                Ok(None)
            }
            _ => Err(ended_early(&ended, &order)),
        }
    }

    /// Runs the process, and ends it if it takes too long.
    fn run(&self, order: &CompileOrder, bytes: &[u8]) -> io::Result<Ended> {
        let mut child = self.command(order).spawn()?;
        let (input, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            scope.spawn(move || {
                // A process that has ended early says why.
                input.map(|mut input| input.write_all(bytes))
            });
            let stdout = scope.spawn(|| beginning(stdout));
            let stderr = scope.spawn(|| beginning(stderr));
            let patience = Duration::from_secs(order.seconds).saturating_mul(PATIENCE);
            let waited = wait(&mut child, patience);
            if waited.is_err() {
                // Writing to it and reading from it end only with it.
                drop(child.kill());
            }
            let (status, was_stopped) = waited?;
            let read = |reader: ScopedJoinHandle<'_, io::Result<Vec<u8>>>| {
                reader.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            Ok(Ended {
                status,
                stdout: read(stdout)?,
                stderr: read(stderr)?,
                was_stopped,
            })
        })
    }

    fn command(&self, order: &CompileOrder) -> Command {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut command = Command::new(&self.program);
        command
            .arg0("forebay-compiler")
            // A signal from the terminal is for the host.
            .process_group(0)
            .args(&self.arguments)
            .args(order.arguments())
            // One core stays for the rows.
            .env(
                "RAYON_NUM_THREADS",
                cores.saturating_sub(1).max(1).to_string(),
            )
            // A filter for the host's log, by which the compiler would write megabytes.
            .env_remove("FOREBAY_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Reads an output to its end, so that the process need not wait for a reader. Keeps the first
/// [`MAX_SAID`] bytes.
fn beginning(output: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(output) = output {
        let mut output = output.take(MAX_SAID);
        output.read_to_end(&mut kept)?;
        io::copy(&mut output.into_inner(), &mut io::sink())?;
    }
    Ok(kept)
}

/// Waits for a process to end, and ends it after `patience`: true if it did.
fn wait(child: &mut Child, patience: Duration) -> io::Result<(ExitStatus, bool)> {
    let began = Instant::now();
    let mut pause = SHORTEST_WAIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, false));
        }
        if began.elapsed() > patience {
            child.kill()?;
            return Ok((child.wait()?, true));
        }
        thread::sleep(pause);
        pause = (2 * pause).min(LONGEST_WAIT);
    }
}

/// The reason why a process ended without saying one.
fn ended_early(ended: &Ended, order: &CompileOrder) -> Problem {
    let signal = ended.status.signal().map(Signal::try_from);
    let said = String::from_utf8_lossy(&ended.stderr);
    let seconds = order.seconds;
    match signal {
        Some(Ok(Signal::SIGXCPU)) => Problem::new(
            format!(
                "takes more than {seconds} s of processor time to compile \
                 (`plugins.limits.compile_time`)"
            ),
            "build it smaller, with its largest functions split, or raise the limit",
        ),
        Some(Ok(Signal::SIGKILL)) if ended.was_stopped => Problem::new(
            format!(
                "was not compiled in {} s, {PATIENCE} times `plugins.limits.compile_time`",
                seconds.saturating_mul(u64::from(PATIENCE))
            ),
            "the machine may be busy: put the file in place again",
        ),
        Some(Ok(Signal::SIGKILL)) => Problem::new(
            "was not compiled: the compiling process was killed from outside, as the system does \
             when it runs out of memory",
            "give the machine or the container more memory, or lower \
             `plugins.limits.compile_memory` below what it has",
        ),
        _ if is_out_of_memory(&said)
            || is_out_of_memory(&String::from_utf8_lossy(&ended.stdout)) =>
        {
            out_of_memory(order)
        }
        _ => Problem::new(
            "not a valid component: the compiler gave up on it",
            "build it with current tools",
        ),
    }
}

fn out_of_memory(order: &CompileOrder) -> Problem {
    let mib = order.memory >> 20;
    Problem::new(
        format!("takes more than {mib} MiB of memory to compile (`plugins.limits.compile_memory`)"),
        "build it smaller, with its largest functions split, or raise the limit",
    )
}

/// True if this is how a process says that it got no memory: Rust's allocator, `mmap`, and a thread
/// without a stack.
fn is_out_of_memory(said: &str) -> bool {
    [
        "memory allocation of",
        "(os error 12)",
        "Cannot allocate memory",
        "(os error 11)",
    ]
    .iter()
    .any(|words| said.contains(words))
}

fn cannot_run(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(
        format!("cannot be compiled: the compiling process failed: {error}"),
        "the host runs its own program for that: check that it can be executed",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The reason that is given for a process that runs this script, with so much patience.
    fn reason(script: &str, patience: Duration) -> String {
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let (status, was_stopped) = wait(&mut child, patience).unwrap();
        let ended = Ended {
            status,
            stdout: Vec::new(),
            stderr: Vec::new(),
            was_stopped,
        };
        let order = CompileOrder {
            stack: 512 << 10,
            memory: 1 << 30,
            seconds: 1,
            into: PathBuf::new(),
        };
        ended_early(&ended, &order).what
    }

    #[test]
    fn who_killed_a_process_is_said() {
        assert_eq!(
            reason("exec sleep 60", Duration::from_millis(20)),
            "was not compiled in 10 s, 10 times `plugins.limits.compile_time`"
        );
        assert_eq!(
            reason("kill -KILL $$", Duration::from_secs(60)),
            "was not compiled: the compiling process was killed from outside, as the system does \
             when it runs out of memory"
        );
        assert_eq!(
            reason("kill -XCPU $$", Duration::from_secs(60)),
            "takes more than 1 s of processor time to compile (`plugins.limits.compile_time`)"
        );
    }

    #[test]
    fn outputs_are_read_to_their_end() {
        let mut long = io::repeat(b'a').take(3 * MAX_SAID);
        let kept = beginning(Some(&mut long)).unwrap();
        assert_eq!((kept.len() as u64, long.limit()), (MAX_SAID, 0));
        assert_eq!(beginning(Some(&b"short"[..])).unwrap(), b"short");
        assert_eq!(beginning(None::<io::Empty>).unwrap(), b"");
    }

    #[test]
    fn other_errors_are_not_taken_for_a_lack_of_memory() {
        for (said, expected) in [
            ("memory allocation of 64 bytes failed", true),
            ("Cannot allocate memory (os error 12)", true),
            ("Resource temporarily unavailable (os error 11)", true),
            ("Disk quota exceeded (os error 122)", false),
            ("Connection timed out (os error 110)", false),
        ] {
            assert_eq!(is_out_of_memory(said), expected, "{said}");
        }
    }
}
