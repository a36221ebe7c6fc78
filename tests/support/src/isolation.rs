//! The program without anything of the user's: neither settings nor the cache.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use crate::target;

/// How variables begin that change what the program does or prints.
const OF_THE_USER: [&str; 4] = ["CLICOLOR", "DATABASE_URL", "FOREBAY_", "PG"];

/// Has a command, and those that it starts, find nothing of the user's.
pub fn isolate(command: &mut Command) -> &mut Command {
    let is_of_the_user = |name: &OsString| {
        let name = name.to_string_lossy();
        OF_THE_USER.iter().any(|begin| name.starts_with(begin))
    };
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(is_of_the_user) {
        command.env_remove(name);
    }
    command.env("XDG_CACHE_HOME", cache())
}

/// A cache for all tests, in which PostgreSQL is the user's: it is not fetched again.
fn cache() -> PathBuf {
    let cache = target().join("test-cache");
    let ours = cache.join("forebay/postgres");
    if let Some(users) = dirs::cache_dir() {
        let users = users.join("forebay/postgres");
        // Most often it is there. Where it cannot be made, PostgreSQL is fetched after all.
        let made = fs::create_dir_all(&users)
            .and_then(|()| fs::create_dir_all(cache.join("forebay")))
            .and_then(|()| symlink(users, ours));
        drop(made);
    }
    cache
}
