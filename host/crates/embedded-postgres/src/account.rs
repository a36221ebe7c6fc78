//! The user that runs the server: that of this process, or another one if this process is root,
//! which PostgreSQL refuses.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{getegid, geteuid};
use tokio::process::Command;

/// The user that runs root's servers: `nobody` by convention. It needs no entry in the user
/// database.
const NOBODY: u32 = 65_534;

/// Environment variables that would change the behaviour of PostgreSQL's programs.
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
    /// True if this process is root and has to switch to that user.
    pub(super) switch: bool,
}

impl Account {
    /// The account for a server whose data belongs to `owner`, or does not exist yet.
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

    /// A command that runs as this account, in a directory that it can read.
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

    /// True if the permission bits let this account enter an existing directory and its parents.
    /// Always true without a switch: then the operating system decides.
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
