//! The keys `missing` and `missing_limit` of a pipeline.

use serde_json::Value;

use super::check::Format;
use super::file::{Missing as Raw, MissingFlag, MissingWord};
use super::problems::Problems;
use super::{Missing, MissingPolicy};

/// A source that has lost a tenth of its rows overnight is more likely broken than right.
const LIMIT_PERCENT: f64 = 10.0;

pub(super) const SHARE: Format = Format {
    name: "share",
    accepts: |text| percent(text).is_some(),
    what: "a share",
    hint: "such as \"10%\"; \"100%\" for no limit",
    secret: false,
};

fn percent(text: &str) -> Option<f64> {
    let number: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number)
}

/// `missing` is none of the forms that it may have.
pub(super) fn misspelled(path: &[&str], problems: &mut Problems<'_>) {
    problems.add(
        path,
        "is none of the ways to treat rows that the source no longer has",
        Some("write \"keep\", \"remove\" or { flag = \"COLUMN\" }".into()),
    );
}

/// A limit without anything that it limits is never what was meant.
pub(super) fn check_limits(document: &Value, problems: &mut Problems<'_>) {
    let pipelines = document.get("pipelines").and_then(Value::as_object);
    for (name, pipeline) in pipelines.into_iter().flatten() {
        let keeps = pipeline.get("missing").is_none_or(|it| it == "keep");
        if keeps && pipeline.get("missing_limit").is_some() {
            problems.add(
                &["pipelines", name, "missing_limit"],
                "limits nothing: missing rows are kept",
                Some("add missing = \"remove\" or { flag = \"COLUMN\" }, or remove it".into()),
            );
        }
    }
}

pub(super) fn missing(raw: Option<Raw>, limit: Option<&str>) -> Missing {
    Missing {
        policy: match raw {
            None | Some(Raw::Word(MissingWord::Keep)) => MissingPolicy::Keep,
            Some(Raw::Word(MissingWord::Remove)) => MissingPolicy::Remove,
            Some(Raw::Flag(MissingFlag { flag })) => MissingPolicy::Flag(flag),
        },
        limit_percent: limit.and_then(percent).unwrap_or(LIMIT_PERCENT),
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
            };
            assert_eq!(parse(lines).unwrap(), expected, "{lines}");
        }
    }

    #[test]
    fn what_is_none_of_them_is_said() {
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
        forebay.toml:4: pipelines.p.missing: is none of the ways to treat rows that the source no longer has
          hint: write "keep", "remove" or { flag = "COLUMN" }
        forebay.toml:4: pipelines.p.missing: is none of the ways to treat rows that the source no longer has
          hint: write "keep", "remove" or { flag = "COLUMN" }
        forebay.toml:4: pipelines.p.missing: is none of the ways to treat rows that the source no longer has
          hint: write "keep", "remove" or { flag = "COLUMN" }
        forebay.toml:4: pipelines.p.missing: is none of the ways to treat rows that the source no longer has
          hint: write "keep", "remove" or { flag = "COLUMN" }
        forebay.toml:5: pipelines.p.missing_limit: `10` is not a share
          hint: such as "10%"; "100%" for no limit
        forebay.toml:5: pipelines.p.missing_limit: `101%` is not a share
          hint: such as "10%"; "100%" for no limit
        forebay.toml:5: pipelines.p.missing_limit: is not a text
          hint: write the value in quotes
        forebay.toml:4: pipelines.p.missing_limit: limits nothing: missing rows are kept
          hint: add missing = "remove" or { flag = "COLUMN" }, or remove it
        "#);
    }
}
