//! Leases on the server: the first one starts it, the last one stops it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::MigrateDatabase;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::error::Error;
use super::installation::Installation;
use super::place::Place;
use super::server::State;
use super::settings::Settings;
use super::{installation, lock, server};

/// Maximum wait for another process that starts or stops the same server. Longer than a fetch over
/// a slow line, shorter than a user waits at a silent terminal.
const LOCK_WAIT: Duration = Duration::from_secs(300);

/// Maximum number of attempts to adopt or start a server. A server that was killed and ends while
/// it is being adopted needs two.
const ATTEMPTS: u32 = 3;

/// A lease on a running server. Dropping it releases the lease but leaves the server running for
/// the next process; [`Embedded::stop`] also stops a server that no other process uses.
#[derive(Debug)]
pub struct Embedded {
    place: Place,
    settings: Settings,
    lease: File,
    running: Running,
}

#[derive(Debug)]
struct Running {
    url: String,
    version: String,
    data: PathBuf,
}

/// State of the server after a lease on it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It has been shut down; everything is on disk.
    Stopped,
    /// It keeps running because another process uses it; the last one stops it.
    InUse,
    /// It keeps running because of [`keep`].
    Kept,
    /// No server was running.
    NotRunning,
}

/// Status of a directory's server.
#[derive(Clone, Debug)]
pub struct Status {
    /// Connection URL for sqlx and libpq; valid even if the server is not running.
    pub url: String,
    /// True if it accepts connections.
    pub running: bool,
    /// True if it keeps running when no process uses it.
    pub kept: bool,
    /// The server's log file.
    pub log: PathBuf,
    /// The data directory, if it exists.
    pub data_directory: Option<PathBuf>,
}

impl Embedded {
    /// The connection URL over the Unix socket, for sqlx and libpq.
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

    /// True unless the server has ended, as after SIGKILL.
    #[must_use]
    pub fn is_running(&self) -> bool {
        match server::state(&self.place, &self.running.data) {
            State::Ready(_) | State::Changing(_) => true,
            State::Absent | State::Reused => false,
        }
    }

    /// Starts the server again if it has ended; false if it has not, or if another process was
    /// quicker. What was committed is there: the server recovers it from its log.
    ///
    /// # Errors
    /// As for [`start`].
    pub async fn revive(&self) -> Result<bool, Error> {
        let _starting = self.place.lock_start(LOCK_WAIT).await?;
        if running_data(&self.place).await?.is_some() {
            return Ok(false);
        }
        launch(&self.settings, &self.place).await?;
        Ok(true)
    }

    /// Releases the lease, and shuts the server down if no other process uses it and it is not kept.
    ///
    /// # Errors
    /// If another process holds the start lock for too long, or the server does not stop.
    pub async fn stop(self) -> Result<Stopped, Error> {
        let _starting = self.place.lock_start(LOCK_WAIT).await?;
        drop(self.lease);
        if self.place.kept() {
            return Ok(Stopped::Kept);
        }
        stop_unused(&self.place).await
    }
}

/// Takes a lease on the directory's server. Adopts a running server, or finds or fetches an
/// installation, creates the data directory if it is missing, and starts the server. The database
/// `forebay` exists afterwards.
///
/// # Errors
/// If the server cannot be started. Each [`Error`] says what to do about it.
pub async fn start(settings: &Settings) -> Result<Embedded, Error> {
    let place = Place::locate(&settings.directory)?;
    place.prepare()?;
    let _starting = place.lock_start(LOCK_WAIT).await?;
    lease(settings, place).await
}

/// Starts the server so that it runs until [`shut_down`], even if no process uses it.
///
/// # Errors
/// As for [`start`].
pub async fn keep(settings: &Settings) -> Result<Status, Error> {
    let place = Place::locate(&settings.directory)?;
    place.prepare()?;
    let _starting = place.lock_start(LOCK_WAIT).await?;
    let embedded = lease(settings, place).await?;
    embedded.place.set_kept()?;
    Ok(describe(&embedded.place))
}

/// Reverts [`keep`], and shuts the server down unless a process still uses it.
///
/// # Errors
/// If another process holds the start lock for too long, or the server does not stop.
pub async fn shut_down(settings: &Settings) -> Result<Stopped, Error> {
    let place = Place::locate(&settings.directory)?;
    if !place.exists() {
        return Ok(Stopped::NotRunning);
    }
    let _starting = place.lock_start(LOCK_WAIT).await?;
    place.clear_kept()?;
    stop_unused(&place).await
}

/// The status of the directory's server. Does not start it and creates no directory.
///
/// # Errors
/// If the directory belongs to another user or cannot be read.
pub fn status(settings: &Settings) -> Result<Status, Error> {
    Ok(describe(&Place::locate(&settings.directory)?))
}

/// The `psql` of the installation that would be used, or else the one on `PATH`. Does not fetch an
/// installation.
pub async fn psql_path(settings: &Settings) -> Option<PathBuf> {
    installation::psql(settings).await
}

/// Takes a lease on a running server. The caller holds the start lock.
async fn lease(settings: &Settings, place: Place) -> Result<Embedded, Error> {
    // Does not block: it is held exclusively only under the start lock, which this process holds.
    let lease = lock::shared(&place.users_lock(), place.account)?;
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
                    settings: settings.clone(),
                    lease,
                    running: Running { url, version, data },
                });
            }
            // The server was ending, which is visible only after a moment.
            Err(error)
                if attempt < ATTEMPTS && !server::wait_until_stable(&place, &data).await? =>
            {
                tracing::debug!(%error, "the running PostgreSQL has ended");
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The data directory of the running server. Waits for a server that is starting or stopping, as a
/// host that was killed may leave one.
async fn running_data(place: &Place) -> Result<Option<PathBuf>, Error> {
    for major in place.majors()? {
        let data = place.data(major);
        if server::wait_until_stable(place, &data).await? {
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

/// Connects, creates the database if it is missing, and returns the server's version.
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

/// Stops the server unless it is in use. The caller holds the start lock and no lease.
async fn stop_unused(place: &Place) -> Result<Stopped, Error> {
    let Some(_unused) = lock::try_exclusive(&place.users_lock(), place.account)? else {
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
