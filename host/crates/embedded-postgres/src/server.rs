//! Makes a data directory, starts the server on it, stops it, and tells what state it is in.
//!
//! The server is started directly rather than through `pg_ctl`: it is ready a tenth of a second
//! sooner, no shell sees the paths, and its failure is known at once.

use std::fs;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};

use super::error::{Error, tail};
use super::installation::Installation;
use super::place::{NAME, PORT, Place, remove_unfinished};

/// Start-up replays up to `max_wal_size` after a crash, which a slow disk takes minutes for.
const START_LIMIT: Duration = Duration::from_secs(300);
/// Stopping writes a checkpoint: `shared_buffers` at most.
const STOP_LIMIT: Duration = Duration::from_secs(120);
/// `initdb` takes less than a second on an ordinary machine.
const INITIALISE_LIMIT: Duration = Duration::from_secs(120);
/// After a postmaster was killed, its children need a moment to notice; until then the next one
/// refuses to start.
const ORPHAN_LIMIT: Duration = Duration::from_secs(30);
/// The files that tell the state change without notice.
const POLL: Duration = Duration::from_millis(5);
/// A log larger than this is set aside at the next start; one older log is kept.
const LOG_BYTES: u64 = 8 << 20;
/// Begins the name of a data directory that is being made.
const UNFINISHED: &str = ".init-";
/// No process has this id: Linux and macOS both stay below it.
const NO_PROCESS: i32 = i32::MAX;

/// For bulk loading on a small machine that has other work. What decides over durability (fsync,
/// synchronous_commit, full_page_writes) stays as PostgreSQL has it: on.
const CONFIGURATION: [&str; 14] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "cluster_name=forebay",
    "max_connections=50",
    "shared_buffers=256MB",
    "maintenance_work_mem=256MB",
    "max_wal_size=2GB",
    // No replicas, so building an index need not be written twice.
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_logical_replication_workers=0",
    "timezone=UTC",
    // The user is called like the host's own schema, which must not take in the user's tables.
    "search_path=public",
    // Statements are short, and not every build has it.
    "jit=off",
    "log_checkpoints=off",
];

/// What the data directory and the process table say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No server.
    Absent,
    /// No server, but its file names a process that has nothing to do with it.
    Reused,
    /// A server that is starting or stopping.
    Changing(i32),
    /// A server that accepts connections.
    Ready(i32),
}

/// The state of the server of a data directory.
pub(super) fn state(place: &Place, data: &Path) -> State {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else {
        return State::Absent;
    };
    let mut lines = text.lines();
    let Some(pid) = lines
        .next()
        .and_then(|line| line.trim().parse::<i32>().ok())
    else {
        return State::Absent;
    };
    if pid <= 0 || kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return State::Absent;
    }
    // A directory that was renamed under its server no longer matches, but its socket answers.
    let answers = || UnixStream::connect(place.socket_file()).is_ok();
    if !is_server_of(pid, data) && !answers() {
        return State::Reused;
    }
    // The eighth line, written by the postmaster as it goes along.
    match lines.nth(6).map(str::trim) {
        Some("ready") => State::Ready(pid),
        _ => State::Changing(pid),
    }
}

/// Whether a process is a server that was started on the data directory.
fn is_server_of(pid: i32, data: &Path) -> bool {
    let Some(command) = command_line(pid) else {
        return false;
    };
    command.contains("postgres") && command.contains(&format!("-D {}", data.display()))
}

#[cfg(target_os = "linux")]
fn command_line(pid: i32) -> Option<String> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&arguments).replace('\0', " "))
}

#[cfg(not(target_os = "linux"))]
fn command_line(pid: i32) -> Option<String> {
    let process = std::process::Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&process.stdout).into_owned())
}

/// Waits until the server is either ready (true) or gone (false).
pub(super) async fn settle(place: &Place, data: &Path) -> Result<bool, Error> {
    let begin = Instant::now();
    loop {
        match state(place, data) {
            State::Ready(_) => return Ok(true),
            State::Absent | State::Reused => return Ok(false),
            State::Changing(pid) if begin.elapsed() > START_LIMIT => {
                let detail = format!("pid {pid} is still starting or stopping");
                return Err(Error::Start {
                    detail,
                    log: place.log(),
                });
            }
            State::Changing(_) => sleep(POLL).await,
        }
    }
}

/// Makes a data directory. It appears complete and on disk, or not at all.
pub(super) async fn initialise(
    place: &Place,
    installation: &Installation,
    data: &Path,
) -> Result<(), Error> {
    remove_unfinished(place.directory(), UNFINISHED);
    // Removed again unless it is kept.
    let unfinished = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(place.directory())
        .map_err(Error::at(place.directory()))?;
    place.account.own(unfinished.path())?;
    let program = installation.program("initdb");
    let mut command = place.account.command(&program);
    command.arg("-D").arg(unfinished.path());
    command.args([
        "--username",
        NAME,
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
    ]);
    command.arg("--no-instructions").kill_on_drop(true);
    if cfg!(target_os = "linux") && installation.major >= 17 {
        // One call for the file system instead of one for each of a thousand files.
        command.arg("--sync-method=syncfs");
    }
    let Ok(finished) = timeout(INITIALISE_LIMIT, command.output()).await else {
        let detail = format!(
            "initdb has not finished within {} s",
            INITIALISE_LIMIT.as_secs()
        );
        return Err(Error::Initialise { detail });
    };
    let output = finished.map_err(|source| Error::Program {
        program: program.display().to_string(),
        source,
    })?;
    if !output.status.success() {
        let detail = tail(&String::from_utf8_lossy(&output.stderr));
        return Err(Error::Initialise { detail });
    }
    fs::rename(unfinished.path(), data).map_err(Error::at(data))?;
    let _renamed = unfinished.keep();
    let directory = place.directory();
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(Error::at(directory))?;
    tracing::info!(data = %data.display(), "made a data directory");
    Ok(())
}

/// Starts the server and waits until it accepts connections.
pub(super) async fn start(
    place: &Place,
    installation: &Installation,
    data: &Path,
    listen: Option<IpAddr>,
) -> Result<(), Error> {
    place.prepare_socket()?;
    if state(place, data) == State::Reused {
        forget_reused(place, data)?;
    }
    let begin = Instant::now();
    loop {
        let Some(complaint) = attempt(place, installation, data, listen).await? else {
            tracing::info!(
                version = %installation.version,
                data = %data.display(),
                milliseconds = begin.elapsed().as_millis(),
                "started PostgreSQL"
            );
            return Ok(());
        };
        let orphans = complaint.contains("pre-existing shared memory block");
        if !orphans || begin.elapsed() > ORPHAN_LIMIT {
            return Err(Error::Start {
                detail: tail(&complaint),
                log: place.log(),
            });
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// One attempt: `None` when the server is ready, its log when it has ended.
async fn attempt(
    place: &Place,
    installation: &Installation,
    data: &Path,
    listen: Option<IpAddr>,
) -> Result<Option<String>, Error> {
    let (log, offset) = open_log(place)?;
    let second = log.try_clone().map_err(Error::at(&place.log()))?;
    let program = installation.program("postgres");
    let mut command = place.account.command(&program);
    command.arg("-D").arg(data).args(["-p", &PORT.to_string()]);
    for setting in CONFIGURATION {
        command.args(["-c", setting]);
    }
    if let Some(address) = listen {
        // The last one counts.
        command.arg("-c").arg(format!("listen_addresses={address}"));
    }
    command.arg("-c").arg(format!(
        "unix_socket_directories={}",
        list_item(place.socket())
    ));
    command.stdout(Stdio::from(log)).stderr(Stdio::from(second));
    // Its own group: Ctrl-C in the terminal is for the host, which still needs its database.
    command.process_group(0);
    let mut child = command.spawn().map_err(|source| Error::Program {
        program: program.display().to_string(),
        source,
    })?;
    let begin = Instant::now();
    loop {
        if child.try_wait().map_err(Error::at(&program))?.is_some() {
            return Ok(Some(log_since(place, offset)));
        }
        if matches!(state(place, data), State::Ready(pid) if Some(pid as u32) == child.id()) {
            return Ok(None);
        }
        if begin.elapsed() > START_LIMIT {
            let detail = format!("it is not ready after {} s", START_LIMIT.as_secs());
            return Err(Error::Start {
                detail,
                log: place.log(),
            });
        }
        sleep(POLL).await;
    }
}

/// Shuts the server down: its clients are disconnected, everything is written out.
pub(super) async fn stop(place: &Place, data: &Path) -> Result<(), Error> {
    let State::Ready(pid) = state(place, data) else {
        return Ok(());
    };
    if let Err(errno) = kill(Pid::from_raw(pid), Signal::SIGINT)
        && errno != Errno::ESRCH
    {
        return Err(Error::at(&data.join("postmaster.pid"))(errno.into()));
    }
    let begin = Instant::now();
    while !matches!(state(place, data), State::Absent | State::Reused) {
        if begin.elapsed() > STOP_LIMIT {
            let seconds = STOP_LIMIT.as_secs();
            return Err(Error::Stop {
                pid,
                seconds,
                log: place.log(),
            });
        }
        sleep(POLL).await;
    }
    place.remove_socket();
    tracing::info!(data = %data.display(), "stopped PostgreSQL");
    Ok(())
}

/// Puts an id that no process has where the files of a server that is gone name a living process,
/// because PostgreSQL would take that process for its predecessor. The rest of `postmaster.pid`
/// stays: with it PostgreSQL finds out whether children of that server still run.
fn forget_reused(place: &Place, data: &Path) -> Result<(), Error> {
    let path = data.join("postmaster.pid");
    let text = fs::read_to_string(&path).map_err(Error::at(&path))?;
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    tracing::info!(path = %path.display(), "left over from a server that is gone");
    // In place: the file stays its owner's. Its size does not matter to who reads it.
    fs::write(&path, format!("{NO_PROCESS}\n{rest}")).map_err(Error::at(&path))?;
    let lock = place.socket().join(format!(".s.PGSQL.{PORT}.lock"));
    match fs::remove_file(&lock) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::at(&lock)(error)),
        _ => Ok(()),
    }
}

/// A path as an item of a list in a setting.
fn list_item(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('"', "\"\""))
}

/// The log, opened for appending, and its length.
fn open_log(place: &Place) -> Result<(File, u64), Error> {
    let path = place.log();
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES) {
        fs::rename(&path, path.with_extension("1")).map_err(Error::at(&path))?;
    }
    let log = File::options()
        .append(true)
        .create(true)
        .open(&path)
        .map_err(Error::at(&path))?;
    let length = log.metadata().map_err(Error::at(&path))?.len();
    Ok((log, length))
}

/// What was written to the log since, as far as it can be read.
fn log_since(place: &Place, offset: u64) -> String {
    let mut written = Vec::new();
    let read = File::open(place.log()).and_then(|mut log| {
        log.seek(SeekFrom::Start(offset))?;
        log.take(64 << 10).read_to_end(&mut written)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&written).into_owned(),
        Err(error) => format!("its log cannot be read: {error}"),
    }
}
