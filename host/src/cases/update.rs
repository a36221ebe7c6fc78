//! Accepts answers: rewrites the expectations in a file, and leaves everything else as it is,
//! including comments, order and line ends.
//!
//! A failure of the plugin itself is never accepted; such an expectation is written by hand.

use toml_edit::{Decor, DocumentMut, Item, Key, RawString, Table, TableLike, TomlError, Value};

use super::expect::{Answer, Expect, Wanted};
use super::finding::{Failure, Place};
use super::{literal, vectors};
use crate::plugin::{Decision, Rejection};
use crate::row::Vector;

/// Maximum number of elements of a changed embedding that are written; a longer one is written as
/// its norm.
const MAX_LISTED: usize = 16;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Accepts the answers of these failures. Returns the new text of the file and the number of
/// accepted answers; a failure of the plugin itself is not accepted.
///
/// # Errors
/// If the text is not TOML.
pub fn accept<'a>(
    text: &str,
    failures: impl IntoIterator<Item = &'a Failure>,
) -> Result<(String, usize), TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let mut accepted = 0;
    for fix in failures
        .into_iter()
        .filter_map(|failure| failure.fix.as_ref())
    {
        let value: Value = fix.toml.parse()?;
        let Some(case) = nth(document.get_mut("case"), fix.case) else {
            continue;
        };
        let written = match fix.place {
            Place::Refused => write(Some(case), "refused", value),
            Place::Row(at) => write(nth(case.get_mut("row"), at), "expect", value),
            Place::Failure(at) => write(nth(case.get_mut("failure"), at), "expect", value),
        };
        accepted += usize::from(written.is_some());
    }
    Ok((like(text, &document.to_string()), accepted))
}

/// Gives a changed text the byte order mark and the line ends of the original.
pub(super) fn like(original: &str, changed: &str) -> String {
    let mark = |text: &str| text.starts_with(BYTE_ORDER_MARK);
    let ends_in_crlf = original
        .split_once('\n')
        .is_some_and(|(first, _)| first.ends_with('\r'));
    let mut text = changed.to_owned();
    if ends_in_crlf {
        text = text.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    if mark(original) && !mark(&text) {
        text.insert(0, BYTE_ORDER_MARK);
    }
    text
}

/// Finds a table of `[[name]]`, or of a list.
fn nth(item: Option<&mut Item>, index: usize) -> Option<&mut dyn TableLike> {
    match item? {
        Item::ArrayOfTables(tables) => tables
            .get_mut(index)
            .map(|table| table as &mut dyn TableLike),
        Item::Value(Value::Array(items)) => match items.get_mut(index)? {
            Value::InlineTable(table) => Some(table as &mut dyn TableLike),
            _ => None,
        },
        Item::None | Item::Value(_) | Item::Table(_) => None,
    }
}

/// Sets a member of a table, and keeps the comments of the old value.
fn write(table: Option<&mut dyn TableLike>, name: &str, mut value: Value) -> Option<()> {
    let table = table?;
    let indent = first_indent(table);
    match table.get_mut(name) {
        Some(Item::Value(old)) => {
            let decor = old.decor().clone();
            *old = value;
            *old.decor_mut() = decor;
        }
        // A separate table becomes an inline value, with its comments above it.
        Some(old) => {
            let indent = indent.unwrap_or_default();
            let mut above = String::new();
            for comment in comments(old) {
                above.push_str(&format!("{indent}{comment}\n"));
            }
            *old = Item::Value(value);
            if let Some(mut key) = table.key_mut(name) {
                *key.leaf_decor_mut() = Decor::new(above + &indent, " ");
            }
        }
        None => {
            value.decor_mut().clear();
            table.insert(name, Item::Value(value));
            if let (Some(indent), Some(mut key)) = (indent, table.key_mut(name)) {
                key.leaf_decor_mut().set_prefix(indent);
            }
        }
    }
    Some(())
}

/// Collects the comments of a table and its members, except those inside values.
fn comments(item: &Item) -> Vec<String> {
    match item {
        Item::None => Vec::new(),
        Item::Value(value) => in_decor(value.decor()),
        Item::Table(table) => in_table(table),
        Item::ArrayOfTables(tables) => tables.iter().flat_map(in_table).collect(),
    }
}

fn in_table(table: &Table) -> Vec<String> {
    let mut found = in_decor(table.decor());
    for (name, item) in table {
        let key = table.key(name).map(Key::leaf_decor);
        found.extend(key.into_iter().flat_map(in_decor));
        found.extend(comments(item));
    }
    found
}

fn in_decor(decor: &Decor) -> Vec<String> {
    let parts = [decor.prefix(), decor.suffix()].into_iter().flatten();
    let lines = parts.filter_map(RawString::as_str).flat_map(str::lines);
    let comments = lines.map(str::trim).filter(|line| line.starts_with('#'));
    comments.map(str::to_owned).collect()
}

/// Indentation of the first member of a table.
fn first_indent(table: &dyn TableLike) -> Option<String> {
    let (name, _) = table.iter().next()?;
    let prefix = table.key(name)?.leaf_decor().prefix()?.as_str()?.to_owned();
    let indent = prefix.rsplit('\n').next().unwrap_or_default();
    indent
        .chars()
        .all(|c| c == ' ' || c == '\t')
        .then(|| indent.to_owned())
}

/// Writes an answer as an expectation; `None` for a plugin failure. An embedding that the old
/// expectation gives by its norm is written by its norm again.
pub(super) fn of_answer(answer: &Answer, old: Option<&Expect>) -> Option<String> {
    match answer {
        Answer::Failed(_) => None,
        Answer::Dropped(reason) => Some(format!("{{ drop = {} }}", literal::of_text(reason))),
        Answer::Rejected(rejections) => {
            let rejections: Vec<_> = rejections.iter().map(of_rejection).collect();
            Some(format!("{{ reject = [{}] }}", rejections.join(", ")))
        }
        Answer::Decided(decision) => Some(of_decision(decision)),
        Answer::Accepted { fields, embeddings } if fields.is_empty() && embeddings.is_empty() => {
            Some("\"accept\"".to_owned())
        }
        Answer::Accepted { fields, embeddings } => {
            let member = |(name, value): (&String, String)| format!("{} = {value}", of_key(name));
            let fields = fields
                .iter()
                .map(|(name, value)| member((name, literal::of_value(value))));
            let fields: Vec<_> = fields.collect();
            let embeddings = embeddings.iter().map(|(name, vector)| {
                let by_norm = is_by_norm(old, name) || vector.dimensions() > MAX_LISTED;
                member((name, of_changed(vector, by_norm)))
            });
            let embeddings: Vec<_> = embeddings.collect();
            let parts = [("set", fields), ("embeddings", embeddings)];
            let parts: Vec<_> = parts
                .iter()
                .filter(|(_, members)| !members.is_empty())
                .map(|(name, members)| format!("{name} = {{ {} }}", members.join(", ")))
                .collect();
            Some(format!("{{ {} }}", parts.join(", ")))
        }
    }
}

fn is_by_norm(old: Option<&Expect>, name: &str) -> bool {
    match old {
        Some(Expect::Accept { embeddings, .. }) => embeddings
            .iter()
            .any(|(known, wanted)| known == name && matches!(wanted, Wanted::Norm(_))),
        _ => false,
    }
}

fn of_changed(vector: &Vector, by_norm: bool) -> String {
    if by_norm {
        // Norms are compared no more exactly than this.
        let norm = (vectors::norm(vector) * 1e5).round() / 1e5;
        format!("{{ norm = {norm:?} }}")
    } else {
        literal::of_vector(vector)
    }
}

fn of_rejection(rejection: &Rejection) -> String {
    let mut members = vec![format!("code = {}", literal::of_text(&rejection.code))];
    if let Some(field) = &rejection.field {
        members.push(format!("field = {}", literal::of_text(field)));
    }
    members.push(format!(
        "message = {}",
        literal::of_text(&rejection.message)
    ));
    format!("{{ {} }}", members.join(", "))
}

fn of_decision(decision: &Decision) -> String {
    match decision {
        Decision::Drop => "\"drop\"".to_owned(),
        Decision::DeadLetter(queue) => format!("{{ dead_letter = {} }}", literal::of_text(queue)),
        Decision::Retry(after) => format!("{{ retry = {} }}", after.as_millis()),
        Decision::Halt(message) => format!("{{ halt = {} }}", literal::of_text(message)),
    }
}

/// Writes a name as a key, bare if possible.
pub(super) fn of_key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        literal::of_text(name)
    }
}

#[cfg(test)]
#[path = "update/tests.rs"]
mod tests;
