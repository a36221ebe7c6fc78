//! Parses the expectations of a file, for rows and for the policy.

use std::time::Duration;

use toml::de::DeValue;

use super::fields::{fields, named};
use crate::cases::expect::{Expect, Verdict, Wanted, WantedFault, WantedRejection};
use crate::cases::reader::{Entries, Node, Reader};
use crate::plugin::Decision;

/// Reads the expected outcome of a row.
pub(super) fn expect(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Expect> {
    let key = "case.row.expect";
    if let Some(text) = node.get_ref().as_str() {
        return match text {
            "accept" => Some(Expect::Accept {
                fields: Vec::new(),
                embeddings: Vec::new(),
            }),
            other => reader.wrong(
                node,
                key,
                format!("unknown expectation `{other}`; did you mean `accept`?"),
            ),
        };
    }
    let known = ["set", "embeddings", "drop", "reject", "fails", "message"];
    let entries = reader.entries(node, key, &known)?;
    one_of(
        reader,
        node,
        &entries,
        key,
        &[
            &["set", "embeddings"],
            &["drop"],
            &["reject"],
            &["fails", "message"],
        ],
    )?;
    if let Some(reason) = entries.get("drop") {
        return reader.text(reason, key).map(Expect::Drop);
    }
    if let Some(rejections) = entries.get("reject") {
        return rejected(reader, node, rejections, key);
    }
    if entries.get("fails").is_some() {
        return fault(reader, &entries, key).map(Expect::Fails);
    }
    Some(Expect::Accept {
        fields: fields(reader, entries.get("set"), "case.row.expect.set"),
        embeddings: named(
            reader,
            entries.get("embeddings"),
            "case.row.expect.embeddings",
            wanted,
        ),
    })
}

fn rejected(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    rejections: &Node<'_>,
    key: &str,
) -> Option<Expect> {
    let rejections = match rejections.get_ref() {
        DeValue::Table(_) => vec![rejections],
        _ => reader.list(rejections, key)?,
    };
    let rejections: Option<Vec<_>> = rejections
        .into_iter()
        .map(|node| rejection(reader, node))
        .collect();
    match rejections? {
        none if none.is_empty() => reader.wrong(
            node,
            key,
            "`reject` is empty; use `accept` for a row without rejections",
        ),
        rejections => Some(Expect::Reject(rejections)),
    }
}

/// Checks that the members of a table belong to one of these alternatives.
fn one_of(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    entries: &Entries<'_>,
    key: &str,
    alternatives: &[&[&str]],
) -> Option<()> {
    let fits = |names: &&&[&str]| entries.iter().all(|(name, _)| names.contains(&name));
    let needs_first = |names: &[&str]| match names {
        [first, "message"] => entries.get(first).is_some(),
        _ => entries.iter().next().is_some(),
    };
    match alternatives.iter().find(fits) {
        Some(names) if needs_first(names) => Some(()),
        _ => {
            let known: Vec<_> = alternatives
                .iter()
                .map(|names| names.join(" with "))
                .collect();
            reader.wrong(node, key, format!("must have one of: {}", known.join("; ")))
        }
    }
}

fn wanted(reader: &mut Reader<'_>, node: &Node<'_>, key: &str) -> Option<Wanted> {
    let norm = match node.get_ref().as_table() {
        Some(table) if table.len() == 1 => reader.table(node, key)?.get("norm"),
        _ => None,
    };
    match norm {
        Some(norm) => reader.real(norm, key).map(Wanted::Norm),
        None => reader.vector(node, key).map(Wanted::Elements),
    }
}

fn rejection(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<WantedRejection> {
    let key = "case.row.expect.reject";
    let entries = reader.entries(node, key, &["code", "field", "message"])?;
    let mut text = |name: &str| match entries.get(name) {
        Some(node) => reader.text(node, key).map(Some),
        None => Some(None),
    };
    let (code, field, message) = (text("code")?, text("field")?, text("message")?);
    match code {
        Some(code) => Some(WantedRejection {
            code,
            field,
            message,
        }),
        None => reader.wrong(node, key, "`code` is missing"),
    }
}

fn fault(reader: &mut Reader<'_>, entries: &Entries<'_>, key: &str) -> Option<WantedFault> {
    Some(WantedFault {
        code: reader.text(entries.get("fails")?, key)?,
        message: match entries.get("message") {
            Some(node) => Some(reader.text(node, key)?),
            None => None,
        },
    })
}

/// Reads the expected answer of the policy.
pub(super) fn verdict(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Verdict> {
    let key = "case.failure.expect";
    if let Some(text) = node.get_ref().as_str() {
        return match text {
            "drop" => Some(Verdict::Decides(Decision::Drop)),
            other => reader.wrong(
                node,
                key,
                format!("unknown expectation `{other}`; did you mean `drop`?"),
            ),
        };
    }
    let known = ["dead_letter", "retry", "halt", "fails", "message"];
    let entries = reader.entries(node, key, &known)?;
    one_of(
        reader,
        node,
        &entries,
        key,
        &[
            &["dead_letter"],
            &["retry"],
            &["halt"],
            &["fails", "message"],
        ],
    )?;
    if let Some(queue) = entries.get("dead_letter") {
        return reader
            .text(queue, key)
            .map(|queue| Verdict::Decides(Decision::DeadLetter(queue)));
    }
    if let Some(message) = entries.get("halt") {
        return reader
            .text(message, key)
            .map(|message| Verdict::Decides(Decision::Halt(message)));
    }
    if let Some(millis) = entries.get("retry") {
        return match u32::try_from(reader.integer(millis, key)?) {
            Ok(millis) => Some(Verdict::Decides(Decision::Retry(Duration::from_millis(
                millis.into(),
            )))),
            Err(_) => reader.wrong(millis, key, "`retry` must be a number of milliseconds"),
        };
    }
    fault(reader, &entries, key).map(Verdict::Fails)
}
