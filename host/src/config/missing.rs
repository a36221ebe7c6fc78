//! The keys `missing` and `missing_limit` of a pipeline.

use serde_json::Value;

use super::defaults;
use super::file::{Missing as Raw, MissingFlag, MissingWord};
use super::format::parse_percent;
use super::problems::Problems;

/// Treatment of rows that the source no longer has.
#[derive(Debug, Clone, PartialEq)]
pub struct Missing {
    /// Applies to all of them, or to none.
    pub policy: MissingPolicy,
    /// Maximum share of the rows written by the pipeline that one run may remove or flag;
    /// 0 to 100.
    pub limit_percent: f64,
    /// True if rows that did not come are missing even if the source says that it has more rows:
    /// `--allow-missing`.
    pub is_allowed: bool,
}

/// Treatment of a row that the source no longer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingPolicy {
    /// It stays as it is.
    Keep,
    /// It is removed from all tables.
    Remove,
    /// It is marked in the column of this name.
    Flag(String),
}

/// Reports a value of `missing` that has none of its forms.
pub(super) fn report_invalid(path: &[&str], problems: &mut Problems<'_>) {
    problems.add(
        path,
        "is not a valid `missing` policy",
        Some("write \"keep\", \"remove\" or { flag = \"COLUMN\" }".into()),
    );
}

/// Checks that there is something to limit: anything else is never what was meant.
pub(super) fn check_limit(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    let keeps = pipeline.get("missing").is_none_or(|it| it == "keep");
    if keeps && pipeline.get("missing_limit").is_some() {
        problems.add(
            &["pipelines", name, "missing_limit"],
            "has no effect: missing rows are kept",
            Some("add missing = \"remove\" or { flag = \"COLUMN\" }, or remove it".into()),
        );
    }
}

/// The policy with its defaults.
pub(super) fn missing(raw: Option<Raw>, limit: Option<&str>) -> Missing {
    Missing {
        policy: match raw {
            None | Some(Raw::Word(MissingWord::Keep)) => MissingPolicy::Keep,
            Some(Raw::Word(MissingWord::Remove)) => MissingPolicy::Remove,
            Some(Raw::Flag(MissingFlag { flag })) => MissingPolicy::Flag(flag),
        },
        limit_percent: limit
            .and_then(parse_percent)
            .unwrap_or(defaults::MISSING_LIMIT_PERCENT),
        is_allowed: false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use insta::assert_snapshot;

    use crate::config::{Config, ConfigError, Missing, MissingPolicy};

    fn parse(lines: &str) -> Result<Missing, ConfigError> {
        let text = format!(
            "[pipelines.p]\nsource = {{ grpc = \"http://localhost:1\", dataset = \"d\" }}\ntables = [\"t\"]\n{lines}"
        );
        let config = Config::parse(Path::new("forebay.toml"), &text, &|_| None)?;
        Ok(config.pipelines.into_iter().next().unwrap().missing)
    }

    #[test]
    fn every_form_is_understood() {
        let gone = || MissingPolicy::Flag("gone".into());
        for (lines, policy, limit_percent) in [
            ("", MissingPolicy::Keep, 10.0),
            ("missing = \"keep\"", MissingPolicy::Keep, 10.0),
            ("missing = \"remove\"", MissingPolicy::Remove, 10.0),
            (
                "missing = { flag = \"gone\" }\nmissing_limit = \"2.5%\"",
                gone(),
                2.5,
            ),
            (
                "missing.flag = \"gone\"\nmissing_limit = \"0 %\"",
                gone(),
                0.0,
            ),
            (
                "missing = \"remove\"\nmissing_limit = \"100%\"",
                MissingPolicy::Remove,
                100.0,
            ),
        ] {
            let expected = Missing {
                policy,
                limit_percent,
                is_allowed: false,
            };
            assert_eq!(parse(lines).unwrap(), expected, "{lines}");
        }
    }

    #[test]
    fn an_invalid_form_is_reported() {
        let mut said = String::new();
        for lines in [
            "missing = \"delete\"",
            "missing = { flagg = \"gone\" }",
            "missing = true",
            "missing = { flag = \"\" }",
            "missing = \"remove\"\nmissing_limit = \"10\"",
            "missing = \"remove\"\nmissing_limit = \"101%\"",
            "missing = \"remove\"\nmissing_limit = 10",
            "missing_limit = \"10%\"",
        ] {
            said += &format!("{}\n", parse(lines).unwrap_err());
        }
        assert_snapshot!(said, @r#"
        forebay.toml:4: pipelines.p.missing: is not a valid `missing` policy
          hint: write "keep", "remove" or { flag = "COLUMN" }
        forebay.toml:4: pipelines.p.missing: is not a valid `missing` policy
          hint: write "keep", "remove" or { flag = "COLUMN" }
        forebay.toml:4: pipelines.p.missing: is not a valid `missing` policy
          hint: write "keep", "remove" or { flag = "COLUMN" }
        forebay.toml:4: pipelines.p.missing: is not a valid `missing` policy
          hint: write "keep", "remove" or { flag = "COLUMN" }
        forebay.toml:5: pipelines.p.missing_limit: `10` is not a percentage
          hint: such as "10%"; "100%" for no limit
        forebay.toml:5: pipelines.p.missing_limit: `101%` is not a percentage
          hint: such as "10%"; "100%" for no limit
        forebay.toml:5: pipelines.p.missing_limit: is not a string
          hint: write the value in quotes
        forebay.toml:4: pipelines.p.missing_limit: has no effect: missing rows are kept
          hint: add missing = "remove" or { flag = "COLUMN" }, or remove it
        "#);
    }
}
