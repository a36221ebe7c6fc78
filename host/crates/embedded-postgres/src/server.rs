//! Creates a data directory, starts and stops the server on it, and reads its state.
//!
//! The server is started directly rather than through `pg_ctl`: it is ready a tenth of a second
//! sooner, the paths pass through no shell, and a failure is known at once.

use std::fs;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};

use super::account::Account;
use super::error::{Error, tail};
use super::guarded;
use super::installation::Installation;
use super::place::{NAME, PORT, Place, remove_unfinished};

/// Time limit of a start. It replays up to `max_wal_size` after a crash, which takes minutes on a
/// slow disk.
const START_LIMIT: Duration = Duration::from_secs(300);
/// Time limit of a stop, which writes a checkpoint: at most `shared_buffers`.
const STOP_LIMIT: Duration = Duration::from_secs(120);
/// Time limit of `initdb`, which takes less than a second on an ordinary machine.
const INITIALISE_LIMIT: Duration = Duration::from_secs(120);
/// Maximum wait for the children of a killed postmaster to end; until then the next postmaster
/// refuses to start.
const ORPHAN_LIMIT: Duration = Duration::from_secs(30);
/// Interval of reading the state, whose changes are not signalled.
const POLL: Duration = Duration::from_millis(5);
/// A log larger than this is set aside at the next start; one older log is kept.
const LOG_BYTES: u64 = 8 << 20;
/// Prefix of a data directory that is being created.
const UNFINISHED: &str = ".init-";
/// No process has this id: Linux and macOS both stay below it.
const NO_PROCESS: i32 = i32::MAX;

/// Settings for bulk loading on a small machine with other work. Those of durability (fsync,
/// synchronous_commit, full_page_writes) keep PostgreSQL's default: on.
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
    // User and host schema have the same name; the user's tables must not be created in it.
    "search_path=public",
    // Statements are short, and not every build supports it.
    "jit=off",
    "log_checkpoints=off",
];

/// State of a server, from its data directory and the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No server.
    Absent,
    /// No server; the pid in its file belongs to an unrelated process.
    Reused,
    /// A server that is starting or stopping.
    Changing(i32),
    /// A server that accepts connections.
    Ready(i32),
}

/// The state of the server of a data directory.
pub(super) fn state(place: &Place, data: &Path) -> State {
    let Ok(text) = read(place, &data.join("postmaster.pid")) else {
        return State::Absent;
    };
    // It names the data directory, whose path need not be UTF-8.
    let text = String::from_utf8_lossy(&text);
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
    // A directory that was renamed while its server runs no longer matches, but its socket answers.
    let answers = || UnixStream::connect(place.socket_file()).is_ok();
    if !runs_as(pid, place.account) || (!is_server_of(pid, data) && !answers()) {
        return State::Reused;
    }
    // The eighth line, which the postmaster updates.
    match lines.nth(6).map(str::trim) {
        Some("ready") => State::Ready(pid),
        _ => State::Changing(pid),
    }
}

/// The bytes of a file of the server.
fn read(place: &Place, path: &Path) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let mut file = guarded::open(path, place.account, File::options().read(true))?;
    file.read_to_end(&mut text).map_err(Error::at(path))?;
    Ok(text)
}

/// True unless a process is known to be of another user: root must not send a signal to whatever a
/// file of the account names.
fn runs_as(pid: i32, account: Account) -> bool {
    fs::metadata(format!("/proc/{pid}")).map_or(true, |process| process.uid() == account.uid)
}

/// True if a process is a server that was started on the data directory.
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
pub(super) async fn wait_until_stable(place: &Place, data: &Path) -> Result<bool, Error> {
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

/// Creates a data directory. It appears complete and on disk, or not at all.
pub(super) async fn initialise(
    place: &Place,
    installation: &Installation,
    data: &Path,
) -> Result<(), Error> {
    remove_unfinished(place.directory(), UNFINISHED);
    // Removed on drop unless it is kept.
    let unfinished = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(place.directory())
        .map_err(Error::at(place.directory()))?;
    guarded::give(unfinished.path(), place.account)?;
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
            "initdb did not finish within {} s",
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
    tracing::info!(data = %data.display(), "created a data directory");
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
        // The last setting of a name applies.
        command.arg("-c").arg(format!("listen_addresses={address}"));
    }
    command.arg("-c").arg(format!(
        "unix_socket_directories={}",
        list_item(place.socket())
    ));
    command.stdout(Stdio::from(log)).stderr(Stdio::from(second));
    // Its own group: Ctrl-C in the terminal must stop the host only, which still needs the database.
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

/// Shuts the server down: disconnects its clients and writes everything to disk.
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

/// Replaces the pid in the files of a server that is gone with one that no process has, because
/// PostgreSQL would mistake the process that now has the pid for its predecessor. The rest of
/// `postmaster.pid` stays: PostgreSQL uses it to find children of that server.
fn forget_reused(place: &Place, data: &Path) -> Result<(), Error> {
    let path = data.join("postmaster.pid");
    let text = read(place, &path)?;
    let rest = text.iter().position(|byte| *byte == b'\n');
    let rest = rest.and_then(|end| text.get(end..)).unwrap_or_default();
    tracing::info!(path = %path.display(), "replacing a reused pid of a server that is gone");
    // In place, so that the file keeps its owner. Readers accept any size.
    let mut file = guarded::open(&path, place.account, File::options().write(true))?;
    // Emptied once it is known to be what it should be.
    file.set_len(0)
        .and_then(|()| file.write_all(NO_PROCESS.to_string().as_bytes()))
        .and_then(|()| file.write_all(rest))
        .map_err(Error::at(&path))?;
    let lock = place.socket().join(format!(".s.PGSQL.{PORT}.lock"));
    match fs::remove_file(&lock) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::at(&lock)(error)),
        _ => Ok(()),
    }
}

/// Quotes a path as an item of a list setting.
fn list_item(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('"', "\"\""))
}

/// The log, opened for appending, and its length.
fn open_log(place: &Place) -> Result<(File, u64), Error> {
    let path = place.log();
    if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES) {
        fs::rename(&path, path.with_extension("1")).map_err(Error::at(&path))?;
    }
    let mut options = File::options();
    options.append(true).create(true);
    let log = guarded::open(&path, place.account, &mut options)?;
    let length = log.metadata().map_err(Error::at(&path))?.len();
    Ok((log, length))
}

/// The text written to the log since `offset`, as far as it can be read.
fn log_since(place: &Place, offset: u64) -> String {
    let mut written = Vec::new();
    let path = place.log();
    let log = guarded::open(&path, place.account, File::options().read(true));
    let read = log.and_then(|mut log| {
        let read = log.seek(SeekFrom::Start(offset));
        read.and_then(|_| log.take(64 << 10).read_to_end(&mut written))
            .map_err(Error::at(&path))
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&written).into_owned(),
        Err(error) => format!("the log cannot be read: {error}"),
    }
}
