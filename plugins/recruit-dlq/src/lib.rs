//! Sorts failed `recruit` rows into queues for the people who can mend them.
//!
//! | failure | decision |
//! | --- | --- |
//! | code in `halt_codes` | halt |
//! | code in `drop_codes` | drop |
//! | `decode` | queue `source` |
//! | `PLUGIN_*` | queue `plugin` |
//! | `transform`, `validate` | queue `review` |
//! | `write`: serialization failure, deadlock, lock not available | retry, three times |
//! | `write` | queue `database` |

wit_bindgen::generate!({ path: "../../wit", world: "router" });

use std::sync::OnceLock;

use exports::forebay::plugin::dead_letter_policy::{self, Decision, Failure};
use exports::forebay::plugin::describe;
use forebay::plugin::log::{self, Level};

const RETRIES: u32 = 3;
const RETRY_AFTER_MS: u32 = 200;
/// The conditions of other transactions, not of the row.
const RETRYABLE: [&str; 3] = ["SQL_40001", "SQL_40P01", "SQL_55P03"];

/// Set by `configure`, which the host calls on every instance before its first batch.
static POLICY: OnceLock<Policy> = OnceLock::new();

#[derive(Debug, Default)]
struct Policy {
    drop_codes: Vec<String>,
    halt_codes: Vec<String>,
}

struct Plugin;
export!(Plugin);

impl describe::Guest for Plugin {
    fn describe() -> describe::Descriptor {
        describe::Descriptor {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // The codes are enough to decide.
            reads: Some(Vec::new()),
        }
    }

    fn configure(config: Vec<(String, String)>) -> Result<(), String> {
        // A panic traps, and its message would be lost.
        std::panic::set_hook(Box::new(|panic| {
            log::log(Level::Error, &panic.to_string().replace('\n', " "));
        }));
        POLICY
            .set(Policy::parse(&config)?)
            .map_err(|_| "configured twice".to_owned())
    }
}

impl dead_letter_policy::Guest for Plugin {
    fn decide(failures: Vec<Failure>) -> Result<Vec<Decision>, String> {
        let policy = POLICY.get().ok_or("not configured")?;
        Ok(failures
            .iter()
            .map(|failure| policy.decide(failure))
            .collect())
    }
}

impl Policy {
    fn parse(config: &[(String, String)]) -> Result<Self, String> {
        let mut policy = Self::default();
        for (key, value) in config {
            match key.as_str() {
                "drop_codes" => policy.drop_codes = codes(key, value)?,
                "halt_codes" => policy.halt_codes = codes(key, value)?,
                _ => {
                    return Err(format!(
                        "unknown setting `{key}`; there are drop_codes, halt_codes"
                    ));
                }
            }
        }
        match policy
            .drop_codes
            .iter()
            .find(|code| policy.halt_codes.contains(code))
        {
            Some(code) => Err(format!(
                "halt_codes and drop_codes both have {code}; it must be in one"
            )),
            None => Ok(policy),
        }
    }

    fn decide(&self, failure: &Failure) -> Decision {
        let Failure {
            key,
            stage,
            code,
            message,
            attempt,
            ..
        } = failure;
        let retryable = RETRYABLE.contains(&code.as_str());
        match stage.as_str() {
            _ if self.halt_codes.contains(code) => {
                Decision::Halt(format!("{code} at row `{key}`: {message}"))
            }
            _ if self.drop_codes.contains(code) => Decision::Drop,
            _ if code.starts_with("PLUGIN_") => queue("plugin"),
            "decode" => queue("source"),
            "transform" | "validate" => queue("review"),
            "write" if retryable && *attempt <= RETRIES => Decision::Retry(RETRY_AFTER_MS),
            "write" => queue("database"),
            _ => queue("default"),
        }
    }
}

fn queue(name: &str) -> Decision {
    Decision::DeadLetter(name.to_owned())
}

fn codes(key: &str, list: &str) -> Result<Vec<String>, String> {
    let valid = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let mut codes = Vec::new();
    for code in list
        .split(',')
        .map(str::trim)
        .filter(|code| !code.is_empty())
    {
        if !code.chars().all(valid) {
            return Err(format!(
                "{key} has `{code}`; it must be a list of codes such as `FIELD_RANGE, SQL_23514`"
            ));
        }
        codes.push(code.to_owned());
    }
    Ok(codes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(config: &[(&str, &str)]) -> Result<Policy, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Policy::parse(&config.iter().map(owned).collect::<Vec<_>>())
    }

    fn decide(policy: &Policy, stage: &str, code: &str, attempt: u32) -> String {
        let failure = Failure {
            key: "k".to_owned(),
            stage: stage.to_owned(),
            code: code.to_owned(),
            message: "m".to_owned(),
            attempt,
            fields: Vec::new(),
        };
        match policy.decide(&failure) {
            Decision::Retry(after) => format!("retry after {after}"),
            Decision::DeadLetter(queue) => queue,
            Decision::Drop => "drop".to_owned(),
            Decision::Halt(message) => format!("halt: {message}"),
        }
    }

    #[test]
    fn each_failure_finds_its_queue() {
        let policy = parse(&[
            ("drop_codes", "FIELD_VALUE,"),
            ("halt_codes", "KEY_MISSING, SQL_42P01"),
        ])
        .unwrap();
        for (stage, code, attempt, expected) in [
            ("decode", "EMBEDDING_DIMENSIONS", 1, "source"),
            ("validate", "FIELD_RANGE", 1, "review"),
            ("transform", "ANY_CODE", 1, "review"),
            ("transform", "PLUGIN_TRAP", 1, "plugin"),
            ("write", "SQL_23514", 1, "database"),
            ("write", "EMBEDDING_DIMENSIONS", 1, "database"),
            ("write", "SQL_40001", 3, "retry after 200"),
            ("write", "SQL_40001", 4, "database"),
            ("elsewhere", "X", 1, "default"),
            ("validate", "FIELD_VALUE", 1, "drop"),
            ("write", "SQL_42P01", 1, "halt: SQL_42P01 at row `k`: m"),
        ] {
            assert_eq!(
                decide(&policy, stage, code, attempt),
                expected,
                "{stage} {code} {attempt}"
            );
        }
    }

    #[test]
    fn wrong_settings_are_refused() {
        for (config, message) in [
            (
                vec![("drop", "X")],
                "unknown setting `drop`; there are drop_codes, halt_codes",
            ),
            (
                vec![("drop_codes", "field range")],
                "drop_codes has `field range`; it must be a list of codes such as `FIELD_RANGE, SQL_23514`",
            ),
            (
                vec![("drop_codes", "A, B"), ("halt_codes", "B")],
                "halt_codes and drop_codes both have B; it must be in one",
            ),
        ] {
            assert_eq!(parse(&config).unwrap_err(), message);
        }
    }
}
