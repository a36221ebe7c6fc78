//! Parses the fields of a row or failure.

use crate::cases::reader::{Node, Reader};
use crate::row::Value;

pub(super) fn fields(
    reader: &mut Reader<'_>,
    node: Option<&Node<'_>>,
    key: &str,
) -> Vec<(String, Value)> {
    named(reader, node, key, Reader::value)
}

/// Reads a table whose members may have any name, each with `read`.
pub(super) fn named<'t, T>(
    reader: &mut Reader<'t>,
    node: Option<&Node<'_>>,
    key: &str,
    read: impl Fn(&mut Reader<'t>, &Node<'_>, &str) -> Option<T>,
) -> Vec<(String, T)> {
    let Some(entries) = node.and_then(|node| reader.table(node, key)) else {
        return Vec::new();
    };
    let member = |(name, node): (&str, &Node<'_>)| {
        let member = read(reader, node, &format!("{key}.{name}"))?;
        Some((name.to_owned(), member))
    };
    entries.iter().filter_map(member).collect()
}
