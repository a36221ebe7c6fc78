//! As whom the server runs: as this process, or for root, whom PostgreSQL refuses, as another.

use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use nix::unistd::{getegid, geteuid};
use tokio::process::Command;

use super::error::Error;

/// The user whom root becomes: `nobody` by convention, and it needs no entry in the user database.
const NOBODY: u32 = 65_534;

/// Variables that would change what PostgreSQL's programs do.
const CLEARED: [&str; 7] = [
    "PGDATA",
    "PGPORT",
    "PGTZ",
    "PGDATESTYLE",
    "PGCLIENTENCODING",
    "PGOPTIONS",
    "PGHOST",
];

/// A user and its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether this process is root and has to become that user.
    pub(super) switch: bool,
}

impl Account {
    /// The account for a server whose data belongs to `owner`, or whose data is yet to be made.
    pub(super) fn choose(owner: Option<(u32, u32)>) -> Self {
        if !geteuid().is_root() {
            return Self {
                uid: geteuid().as_raw(),
                gid: getegid().as_raw(),
                switch: false,
            };
        }
        let (uid, gid) = owner
            .filter(|(uid, _)| *uid != 0)
            .unwrap_or((NOBODY, NOBODY));
        Self {
            uid,
            gid,
            switch: true,
        }
    }

    /// A command that runs as this account, away from directories it may not read.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env("LC_ALL", "C")
            .stdin(std::process::Stdio::null());
        for name in CLEARED {
            command.env_remove(name);
        }
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Makes a file or directory this account's. Never follows a link.
    pub(super) fn own(&self, path: &Path) -> Result<(), Error> {
        if self.switch {
            lchown(path, Some(self.uid), Some(self.gid)).map_err(Error::at(path))?;
        }
        Ok(())
    }

    /// Whether this account may enter an existing directory and those above it, going by the
    /// permission bits. Always so without a switch: then the system itself says no.
    pub(super) fn can_enter(&self, directory: &Path) -> bool {
        !self.switch
            || directory
                .ancestors()
                .all(|ancestor| self.may_search(ancestor))
    }

    fn may_search(&self, directory: &Path) -> bool {
        let Ok(metadata) = directory.metadata() else {
            return false;
        };
        let bit = if metadata.uid() == self.uid {
            0o100
        } else if metadata.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        metadata.mode() & bit != 0
    }
}
