//! What the host is told by its build and by its environment.

use std::path::PathBuf;

use super::database::DatabaseUrl;

/// Version of this host.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The directories that are searched for programs, in order.
#[must_use]
pub fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

/// The value of `DATABASE_URL`, if it is set and not empty.
#[must_use]
pub fn database_url_from_environment() -> Option<DatabaseUrl> {
    variable("DATABASE_URL")
        .filter(|url| !url.is_empty())
        .map(DatabaseUrl::new)
}

/// The value of an environment variable, if it is set.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
