//! `[database]`: the URL, and how the host uses the server.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use super::defaults;
use super::file;
use super::format::{duration, parse_duration};
use super::problems::Problems;

/// Timeouts that the server accepts: whole milliseconds in 32 bits, of which 0 means no limit.
const TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 86_400);

/// A connection URL. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(pub String);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("…");
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if query.contains('@') {
            // More likely a password that should have been percent-encoded.
            return write!(f, "{scheme}://…");
        }
        match rest.rsplit_once('@') {
            Some((user, host)) => {
                let user = user.split_once(':').map_or(user, |(name, _)| name);
                write!(f, "{scheme}://{user}@{host}")
            }
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

/// Settings of the host's database sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// Maximum number of connections; 2 or more.
    pub connections: u32,
    /// Maximum time of one statement; whole milliseconds.
    pub statement_timeout: Duration,
    /// Maximum time of waiting for one lock; whole milliseconds, less than `statement_timeout`.
    pub lock_timeout: Duration,
    /// Maximum time without a statement within a transaction; whole milliseconds.
    pub idle_in_transaction_timeout: Duration,
    /// `None` for the name in the URL, or else `forebay`.
    pub application_name: Option<String>,
}

impl Sessions {
    /// Name of the sessions where neither the configuration nor the URL has one.
    pub(crate) const APPLICATION_NAME: &'static str = defaults::APPLICATION_NAME;
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            connections: defaults::CONNECTIONS,
            statement_timeout: defaults::STATEMENT_TIMEOUT,
            lock_timeout: defaults::LOCK_TIMEOUT,
            idle_in_transaction_timeout: defaults::IDLE_IN_TRANSACTION_TIMEOUT,
            application_name: None,
        }
    }
}

/// Checks that the server accepts the timeouts, and that `lock_timeout` is the shorter one:
/// otherwise it would never be reached.
pub(super) fn check_timeouts(document: &Value, problems: &mut Problems<'_>) {
    let default = Sessions::default();
    let mut times = Vec::new();
    for (key, default) in [
        ("lock_timeout", default.lock_timeout),
        ("statement_timeout", default.statement_timeout),
        (
            "idle_in_transaction_timeout",
            default.idle_in_transaction_timeout,
        ),
    ] {
        let time = match document.pointer(&format!("/database/{key}")) {
            Some(value) => value.as_str().and_then(parse_duration),
            None => Some(default),
        };
        match time {
            Some(time) if !TIMEOUTS.contains(&time) => {
                let hint = "from \"1ms\" to \"24days\"";
                problems.add(&["database", key], "is out of range", Some(hint.into()));
                times.push(None);
            }
            time => times.push(time),
        }
    }
    if let [Some(lock), Some(statement), ..] = times.as_slice()
        && lock >= statement
    {
        problems.add(
            &["database", "lock_timeout"],
            "is not shorter than database.statement_timeout",
            Some("otherwise statement_timeout always ends the wait first".into()),
        );
    }
}

/// The settings with their defaults.
pub(super) fn sessions(raw: file::Database) -> Sessions {
    let default = Sessions::default();
    Sessions {
        connections: raw.connections.unwrap_or(default.connections),
        statement_timeout: duration(raw.statement_timeout, default.statement_timeout),
        lock_timeout: duration(raw.lock_timeout, default.lock_timeout),
        idle_in_transaction_timeout: duration(
            raw.idle_in_transaction_timeout,
            default.idle_in_transaction_timeout,
        ),
        application_name: raw.application_name,
    }
}
