//! The keys `missing` and `missing_limit` of a pipeline.

use serde_json::Value;

use super::{
    Missing, MissingPolicy,
    check::Format,
    file::{Missing as Raw, MissingFlag, MissingWord},
    problems::Problems,
};

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
        "is not what may become of rows that the source no longer has",
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
