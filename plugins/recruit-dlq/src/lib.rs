//! Sorts failed `recruit` rows into queues, by who can fix them.
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

use forebay_plugin::{Decision, Failure, NoColumns, Plugin, Policy, Settings};

const RETRIES: u32 = 3;
const RETRY_AFTER_MS: u32 = 200;
/// SQLSTATEs caused by other transactions, not by the row.
const RETRYABLE: [&str; 3] = ["SQL_40001", "SQL_40P01", "SQL_55P03"];

#[derive(Debug)]
struct Queues {
    drop_codes: Vec<String>,
    halt_codes: Vec<String>,
}

forebay_plugin::export!(Queues: policy);

impl Plugin for Queues {
    // The codes are enough to decide.
    type Row<'a> = NoColumns<'a>;

    fn configure(settings: &mut Settings) -> Result<Self, String> {
        let queues = Self {
            drop_codes: codes(settings, "drop_codes")?,
            halt_codes: codes(settings, "halt_codes")?,
        };
        let mut dropped = queues.drop_codes.iter();
        match dropped.find(|code| queues.halt_codes.contains(code)) {
            Some(code) => Err(format!(
                "halt_codes and drop_codes both have {code}; it must be in one"
            )),
            None => Ok(queues),
        }
    }
}

impl Policy for Queues {
    fn decide(&self, failure: &Failure) -> Decision {
        let Failure {
            key, code, message, ..
        } = failure;
        if self.halt_codes.contains(code) {
            return Decision::Halt(format!("{code} at row `{key}`: {message}"));
        }
        if self.drop_codes.contains(code) {
            return Decision::Drop;
        }
        let retryable = RETRYABLE.contains(&code.as_str()) && failure.attempt <= RETRIES;
        match failure.stage.as_str() {
            _ if code.starts_with("PLUGIN_") => Decision::queue("plugin"),
            "decode" => Decision::queue("source"),
            "transform" | "validate" => Decision::queue("review"),
            "write" if retryable => Decision::Retry(RETRY_AFTER_MS),
            "write" => Decision::queue("database"),
            _ => Decision::queue("default"),
        }
    }
}

fn codes(settings: &mut Settings, name: &'static str) -> Result<Vec<String>, String> {
    let valid = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let codes = settings.list(name, "");
    match codes.iter().find(|code| !code.chars().all(valid)) {
        Some(code) => Err(format!(
            "{name} has `{code}`; it must be a list of codes such as `FIELD_RANGE, SQL_23514`"
        )),
        None => Ok(codes),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use forebay_plugin::testing;

    use super::*;

    fn parse(config: &[(&str, &str)]) -> Result<Queues, String> {
        testing::configured(config)
    }

    fn decide(policy: &Queues, stage: &str, code: &str, attempt: u32) -> String {
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
