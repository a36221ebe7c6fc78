//! Programs that refuse root.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::geteuid;

const NOBODY: u32 = 65_534;

/// Has the command run as a user without rights where the test is root, with what is in the
/// directory as its own: PostgreSQL and PgBouncer refuse root.
pub fn as_nobody(command: &mut Command, directory: &Path) {
    if !geteuid().is_root() {
        return;
    }
    chown(directory, Some(NOBODY), Some(NOBODY)).unwrap();
    for entry in directory.read_dir().unwrap() {
        chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
}
