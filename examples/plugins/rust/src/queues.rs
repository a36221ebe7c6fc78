//! Sorts failures into queues for the people who can fix them.

use forebay_plugin::{Decision, Failure, Settings};

const RETRIES: u32 = 3;
const RETRY_AFTER_MS: u32 = 200;
/// Conditions caused by other transactions, not by the row.
const RETRYABLE: [&str; 3] = ["SQL_40001", "SQL_40P01", "SQL_55P03"];

pub(crate) struct Queues {
    drop_codes: Vec<String>,
    halt_codes: Vec<String>,
}

impl Queues {
    pub(crate) fn configure(settings: &mut Settings) -> Result<Self, String> {
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

    pub(crate) fn decide(&self, failure: &Failure) -> Decision {
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
