//! `[database]`, but for its URL.

use std::time::Duration;

use serde_json::Value;

use super::Sessions;
use super::check::{duration, parse_duration};
use super::file::Database;
use super::problems::Problems;

/// What the server can be told: whole milliseconds in 32 bits, of which 0 means no limit.
const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 86_400);

/// Whether the server can keep to both times, and whether waiting for a lock ends first: the
/// other would never be reached.
pub(super) fn check_timeouts(document: &Value, problems: &mut Problems<'_>) {
    let default = Sessions::default();
    let mut times = Vec::new();
    for (key, default) in [
        ("lock_timeout", default.lock_timeout),
        ("statement_timeout", default.statement_timeout),
    ] {
        let time = match document.pointer(&format!("/database/{key}")) {
            Some(value) => value.as_str().and_then(parse_duration),
            None => Some(default),
        };
        match time {
            Some(time) if !TIMEOUTS.contains(&time) => {
                let hint = "from \"1ms\" to \"24days\"";
                problems.add(&["database", key], "cannot be had", Some(hint.into()));
            }
            time => times.extend(time),
        }
    }
    if let [lock, statement] = times.as_slice()
        && lock >= statement
    {
        problems.add(
            &["database", "lock_timeout"],
            "not shorter than database.statement_timeout",
            Some("a statement that waits for a lock would end by the other".into()),
        );
    }
}

pub(super) fn sessions(raw: Database) -> Sessions {
    let default = Sessions::default();
    Sessions {
        connections: raw.connections.unwrap_or(default.connections),
        statement_timeout: duration(raw.statement_timeout, default.statement_timeout),
        lock_timeout: duration(raw.lock_timeout, default.lock_timeout),
        application_name: raw.application_name,
    }
}
