//! The PostgreSQL + pgvector that Forebay runs by itself when no database is configured.
//!
//! It promises a server that is as durable as any other (nothing about `fsync` is relaxed), that
//! needs nothing installed by hand, and that ends with the last process that uses it. What bounds
//! it: one server per directory, reachable only through a Unix socket in a directory only its
//! owner may enter. That is why it asks for no password: whoever could open the socket could read
//! the data files as well.
//!
//! Who may start and stop it is decided by two file locks, which end with their process however
//! that ends. Every user of the server holds `users.lock` shared; starting and stopping happen
//! under `start.lock`. A host that is killed leaves its server running; the next one adopts it
//! and stops it at its end.
//!
//! PostgreSQL refuses to run as root, so root runs it as the owner of the data directory: uid
//! 65534 unless somebody else made it.

mod account;
mod error;
mod installation;
mod lock;
mod place;
mod server;
mod wheel;

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::MigrateDatabase;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use installation::Installation;
use place::Place;
use server::State;

pub use error::Error;

/// How long to wait for another process that starts or stops the same server. Longer than a
/// fetch over a slow line, shorter than the patience of whoever looks at a silent terminal.
const LOCK_WAIT: Duration = Duration::from_secs(300);

/// How often a server that ends while it is being adopted is replaced. Once is what a killed
/// server needs.
const ATTEMPTS: u32 = 3;

/// Where the embedded server lives and where its programs come from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host's own directory, usually `.forebay` beside the configuration. The server lives in
    /// `postgres` below it.
    pub directory: PathBuf,
    /// An installation of PostgreSQL with pgvector to use instead of looking for one: a directory
    /// that has `bin/postgres`.
    pub pg_dir: Option<PathBuf>,
    /// Where a fetched installation is kept; `None` is the platform's cache directory, or
    /// `/var/cache` for root.
    pub cache_directory: Option<PathBuf>,
    /// A loopback address on which a server that this starts answers as well, to everyone on the
    /// machine: for measuring and testing. `None` is the Unix socket only.
    pub listen: Option<IpAddr>,
}

/// A running server and the right to use it. Dropping it gives the right back but leaves the
/// server to whoever comes next; [`Embedded::stop`] also ends a server that nobody else uses.
#[derive(Debug)]
pub struct Embedded {
    place: Place,
    lease: File,
    running: Running,
}

#[derive(Debug)]
struct Running {
    url: String,
    version: String,
    data: PathBuf,
}

/// What became of the server when a process was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It has been shut down; everything is on disk.
    Stopped,
    /// It runs on because another process uses it; the last one stops it.
    InUse,
    /// It runs on because [`keep`] asked for that.
    Kept,
    /// There was none.
    NotRunning,
}

/// What is known about a directory's server without starting it.
#[derive(Clone, Debug)]
pub struct Status {
    /// Valid for sqlx and for everything that uses libpq, whether or not the server is running.
    pub url: String,
    /// Whether it accepts connections.
    pub running: bool,
    /// Whether it runs on when nobody uses it.
    pub kept: bool,
    /// The server's log file.
    pub log: PathBuf,
    /// The data directory, if it has been made.
    pub data_directory: Option<PathBuf>,
}

impl Embedded {
    /// A connection URL over the Unix socket, for sqlx and for everything that uses libpq.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.running.url
    }

    /// The server's version, such as `18.6`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.running.version
    }

    /// The data directory.
    #[must_use]
    pub fn data_directory(&self) -> &Path {
        &self.running.data
    }

    /// The server's log file.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.place.log()
    }

    /// Gives the lease back and shuts the server down if nobody else uses it and it is not kept.
    ///
    /// # Errors
    /// When another process holds the start lock for too long, or the server does not stop.
    pub async fn stop(self) -> Result<Stopped, Error> {
        let _starting = lock::exclusive(&self.place.start_lock(), LOCK_WAIT).await?;
        drop(self.lease);
        if self.place.kept() {
            return Ok(Stopped::Kept);
        }
        stop_unused(&self.place).await
    }
}

/// Makes sure that the directory's server runs and takes a lease on it: adopts a running one, or
/// finds or fetches an installation, makes the data directory if there is none, and starts it.
/// The database `forebay` exists afterwards.
///
/// # Errors
/// Each says what to do about it; see [`Error`].
pub async fn start(settings: &Settings) -> Result<Embedded, Error> {
    let place = Place::locate(&settings.directory)?;
    place.prepare()?;
    let _starting = lock::exclusive(&place.start_lock(), LOCK_WAIT).await?;
    lease(settings, place).await
}

/// Starts the server so that it runs until [`shut_down`], whoever uses it meanwhile.
///
/// # Errors
/// As [`start`].
pub async fn keep(settings: &Settings) -> Result<Status, Error> {
    let place = Place::locate(&settings.directory)?;
    place.prepare()?;
    let _starting = lock::exclusive(&place.start_lock(), LOCK_WAIT).await?;
    let embedded = lease(settings, place).await?;
    embedded.place.set_kept()?;
    Ok(describe(&embedded.place))
}

/// Ends what [`keep`] began, and shuts the server down unless a process still uses it.
///
/// # Errors
/// When another process holds the start lock for too long, or the server does not stop.
pub async fn shut_down(settings: &Settings) -> Result<Stopped, Error> {
    let place = Place::locate(&settings.directory)?;
    if !place.exists() {
        return Ok(Stopped::NotRunning);
    }
    let _starting = lock::exclusive(&place.start_lock(), LOCK_WAIT).await?;
    place.clear_kept()?;
    stop_unused(&place).await
}

/// What is known about the directory's server. Starts nothing and makes no directory.
///
/// # Errors
/// When the directory belongs to another user or cannot be read.
pub fn status(settings: &Settings) -> Result<Status, Error> {
    Ok(describe(&Place::locate(&settings.directory)?))
}

/// The `psql` that belongs to the installation that would be used, else one on `PATH`. Fetches
/// nothing.
pub async fn psql_path(settings: &Settings) -> Option<PathBuf> {
    installation::psql(settings).await
}

/// Under the start lock: a lease on a server that runs.
async fn lease(settings: &Settings, place: Place) -> Result<Embedded, Error> {
    // Nobody holds it exclusively but under the start lock, which is ours.
    let lease = lock::shared(&place.users_lock())?;
    let url = place.url();
    let mut attempt = 1;
    loop {
        let data = match running_data(&place).await? {
            Some(data) => {
                tracing::debug!(data = %data.display(), "adopting the running PostgreSQL");
                data
            }
            None => launch(settings, &place).await?,
        };
        match ensure_database(&url).await {
            Ok(version) => {
                return Ok(Embedded {
                    place,
                    lease,
                    running: Running { url, version, data },
                });
            }
            // It was dying, which takes a moment to show.
            Err(error) if attempt < ATTEMPTS && !server::settle(&place, &data).await? => {
                tracing::debug!(%error, "the running PostgreSQL has ended");
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The data directory of the running server. Waits for one that is starting or stopping: a host
/// that was killed may have left it so.
async fn running_data(place: &Place) -> Result<Option<PathBuf>, Error> {
    for major in place.majors()? {
        let data = place.data(major);
        if server::settle(place, &data).await? {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn launch(settings: &Settings, place: &Place) -> Result<PathBuf, Error> {
    let majors = place.majors()?;
    let installation: Installation = installation::resolve(settings, place, &majors).await?;
    let data = place.data(installation.major);
    if !majors.contains(&installation.major) {
        server::initialise(place, &installation, &data).await?;
    }
    server::start(place, &installation, &data, settings.listen).await?;
    Ok(data)
}

/// Connects, makes the database if it is missing, and returns the server's version.
async fn ensure_database(url: &str) -> Result<String, Error> {
    let options: PgConnectOptions = url.parse()?;
    let connection = match options.connect().await {
        Err(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some("3D000") => {
            sqlx::Postgres::create_database(url).await?;
            options.connect().await?
        }
        other => other?,
    };
    let number = connection.server_version_num().unwrap_or_default();
    connection.close().await?;
    Ok(format!("{}.{}", number / 10_000, number % 10_000))
}

/// Under the start lock, with no lease of its own.
async fn stop_unused(place: &Place) -> Result<Stopped, Error> {
    let Some(_unused) = lock::try_exclusive(&place.users_lock())? else {
        return Ok(Stopped::InUse);
    };
    let Some(data) = running_data(place).await? else {
        return Ok(Stopped::NotRunning);
    };
    server::stop(place, &data).await?;
    Ok(Stopped::Stopped)
}

fn describe(place: &Place) -> Status {
    let directories: Vec<PathBuf> = place
        .majors()
        .unwrap_or_default()
        .into_iter()
        .map(|major| place.data(major))
        .collect();
    let running = directories
        .iter()
        .find(|data| matches!(server::state(place, data), State::Ready(_)))
        .cloned();
    Status {
        url: place.url(),
        running: running.is_some(),
        kept: place.kept(),
        log: place.log(),
        data_directory: running.or_else(|| directories.last().cloned()),
    }
}
