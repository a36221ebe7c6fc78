//! Reads a case file member by member and collects problems with their lines.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use crate::config::{Problem, closest};

/// A value of the file with its position.
pub(super) type Node<'a> = Spanned<DeValue<'a>>;

/// Maximum number of problems reported for one file; further ones usually repeat the first.
const MAX_PROBLEMS: usize = 50;

/// Problems found so far.
pub(super) struct Reader<'t> {
    text: &'t str,
    /// Byte offset of each line.
    lines: Vec<usize>,
    pub(super) problems: Vec<Problem>,
}

/// Members of a table in file order.
pub(super) struct Entries<'a>(Vec<(&'a str, &'a Node<'a>)>);

impl<'a> Entries<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a Node<'a>> {
        let mut entries = self.0.iter();
        entries
            .find(|(known, _)| *known == name)
            .map(|(_, node)| *node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a Node<'a>)> {
        self.0.iter().copied()
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            lines: std::iter::once(0).chain(ends).collect(),
            problems: Vec::new(),
        }
    }

    /// Line number of a position, from 1.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        // The span of an array of tables begins at its header, which may follow a blank line.
        let blank = |c: char| c.is_whitespace();
        let rest = self.text.get(span.start..).unwrap_or_default();
        let start = span.start + (rest.len() - rest.trim_start_matches(blank).len());
        self.lines.partition_point(|line| *line <= start)
    }

    /// Records a problem. Returns `None` in place of the value that could not be read.
    pub(super) fn wrong<T>(
        &mut self,
        node: &Node<'_>,
        key: &str,
        message: impl Into<String>,
    ) -> Option<T> {
        self.note(self.line(&node.span()), key, message.into());
        None
    }

    /// Records that the text is invalid TOML.
    pub(super) fn wrong_syntax(&mut self, error: &toml::de::Error) {
        let start = error.span().unwrap_or_default().start;
        // An unexpected end is reported at the end of its line.
        let line = self.lines.partition_point(|line| *line <= start);
        self.note(line, "", error.message().to_owned());
    }

    fn note(&mut self, line: usize, key: &str, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem {
                line: Some(line),
                key: key.to_owned(),
                message,
                hint: None,
            });
        }
    }

    /// Reads a table whose members may have any name.
    pub(super) fn table<'a>(&mut self, node: &'a Node<'a>, key: &str) -> Option<Entries<'a>> {
        let Some(table) = node.get_ref().as_table() else {
            return self.wrong(node, key, "must be a table");
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let entries = entries
            .into_iter()
            .map(|(name, node)| (name.get_ref().as_ref(), node));
        Some(Entries(entries.collect()))
    }

    /// Reads a table whose members may have only these names.
    pub(super) fn entries<'a>(
        &mut self,
        node: &'a Node<'a>,
        key: &str,
        known: &[&str],
    ) -> Option<Entries<'a>> {
        let entries = self.table(node, key)?;
        for (name, member) in entries.iter().filter(|(name, _)| !known.contains(name)) {
            let near = closest(name, known.iter().copied());
            let meant = near.map_or_else(
                || format!("valid keys are {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.wrong::<()>(member, key, format!("unknown key `{name}`; {meant}"));
        }
        Some(entries)
    }

    /// Reads the tables of `[[name]]`, or of a list.
    pub(super) fn list<'a>(&mut self, node: &'a Node<'a>, key: &str) -> Option<Vec<&'a Node<'a>>> {
        match node.get_ref().as_array() {
            Some(items) => Some(items.iter().collect()),
            None => self.wrong(node, key, "must be a list of tables"),
        }
    }

    pub(super) fn text(&mut self, node: &Node<'_>, key: &str) -> Option<String> {
        match node.get_ref().as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong(node, key, format!("must be a text, not {}", kind(node))),
        }
    }

    pub(super) fn integer(&mut self, node: &Node<'_>, key: &str) -> Option<i64> {
        let digits = |x: &DeInteger<'_>| i64::from_str_radix(x.as_str(), x.radix()).ok();
        match node.get_ref().as_integer() {
            Some(integer) => match digits(integer) {
                Some(integer) => Some(integer),
                None => self.wrong(node, key, "does not fit in 64 bits"),
            },
            None => self.wrong(node, key, format!("must be an integer, not {}", kind(node))),
        }
    }

    /// Reads a number, which may be an integer.
    pub(super) fn real(&mut self, node: &Node<'_>, key: &str) -> Option<f64> {
        let digits = match node.get_ref() {
            DeValue::Float(x) => x.as_str().parse().ok(),
            DeValue::Integer(x) if x.radix() == 10 => x.as_str().parse().ok(),
            _ => None,
        };
        match digits {
            Some(real) => Some(real),
            None => self.wrong(node, key, format!("must be a number, not {}", kind(node))),
        }
    }
}

fn kind(node: &Node<'_>) -> &'static str {
    match node.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a real",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a timestamp",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
