//! What feeds nothing and is fed by nothing, with what was probably meant.

use super::mapping::{ColumnMapping, FedBy, Mapping, TableMapping};
use super::misfit::Misfit;

/// Least similarity of two names (Jaro-Winkler, 0 to 1) that are taken for one another. Higher than
/// for misspelled keys, since names of data resemble each other.
const LIKE: f64 = 0.9;

/// Maximum number of names in a message.
const MAX_NAMES: usize = 8;

/// A source's name, and the column that it was probably meant for.
struct Pair<'m> {
    source: &'m str,
    column: &'m str,
}

impl Mapping {
    /// Remarks about everything that is left out, at most two for each table and one for the
    /// dataset. Plugins read the fields for which `is_read` is true.
    #[must_use]
    pub fn unmapped(&self, dataset: &str, is_read: &dyn Fn(&str) -> bool) -> Vec<Misfit> {
        let mut remarks = Vec::new();
        let mut paired: Vec<&str> = Vec::new();
        for table in &self.tables {
            let pairs = self.pairs(table);
            if !pairs.is_empty() {
                remarks.push(misspelled(table, &pairs));
            }
            let is_left = |it: &&ColumnMapping| {
                it.fed_by == FedBy::Nothing && !pairs.iter().any(|pair| pair.column == it.column)
            };
            let left = table.columns.iter().filter(is_left);
            let left: Vec<&str> = left.map(|it| it.column.as_str()).collect();
            if !left.is_empty() {
                remarks.push(Misfit {
                    place: table.name.clone(),
                    message: format!(
                        "nothing feeds {}: null in new rows",
                        listed("column", &left)
                    ),
                    hint: "map a field or an embedding to it with `rename`, unless others fill it"
                        .into(),
                });
            }
            paired.extend(pairs.iter().map(|pair| pair.source));
        }
        // A field may repeat the row's key.
        let keys = self.tables.iter().flat_map(|table| &table.columns);
        let keys = keys.filter(|it| it.fed_by == FedBy::Key);
        paired.extend(keys.map(|it| it.column.as_str()));
        let is_left = |name: &&str| !paired.contains(name);
        let fields = self.unused_fields.iter().map(String::as_str);
        let fields: Vec<&str> = fields.filter(is_left).filter(|it| !is_read(it)).collect();
        let embeddings = self.unused_embeddings.iter().map(|it| it.name.as_str());
        let embeddings: Vec<&str> = embeddings.filter(is_left).collect();
        let parts = [("field", &fields), ("embedding", &embeddings)];
        let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
        let parts: Vec<String> = parts.map(|(what, names)| listed(what, names)).collect();
        if !parts.is_empty() {
            remarks.push(Misfit {
                place: format!("dataset {dataset}"),
                message: format!("no column takes {}", parts.join(" and ")),
                hint: "add a column of that name, or map it to another with `rename`".into(),
            });
        }
        remarks
    }

    /// Unused fields and embeddings with columns of a table that were probably meant.
    fn pairs<'m>(&'m self, table: &'m TableMapping) -> Vec<Pair<'m>> {
        let open = table.columns.iter().filter(|it| !it.fed_by.is_dataset());
        let open: Vec<&ColumnMapping> = open.filter(|it| it.fed_by != FedBy::Missing).collect();
        let mut pairs: Vec<Pair<'m>> = Vec::new();
        let is_vector = |it: &ColumnMapping| {
            it.type_sql.contains("vector(") || it.type_sql.contains("halfvec(")
        };
        for field in &self.unused_fields {
            let columns = open.iter().filter(|it| !is_vector(it));
            let columns = columns.map(|it| it.column.as_str());
            if let Some(column) = most_alike(field, columns) {
                pairs.push(Pair {
                    source: field,
                    column,
                });
            }
        }
        for embedding in &self.unused_embeddings {
            let width = format!("({})", embedding.dimensions);
            let vectors = open.iter().filter(|it| is_vector(it));
            let vectors = vectors.filter(|it| it.type_sql.ends_with(&width));
            let vectors: Vec<&str> = vectors.map(|it| it.column.as_str()).collect();
            let same = self.unused_embeddings.iter();
            let same = same.filter(|it| it.dimensions == embedding.dimensions);
            let meant = match vectors.as_slice() {
                [column] if same.count() == 1 => Some(*column),
                _ => most_alike(&embedding.name, vectors.iter().copied()),
            };
            pairs.extend(meant.map(|column| Pair {
                source: &embedding.name,
                column,
            }));
        }
        pairs
    }
}

fn misspelled(table: &TableMapping, pairs: &[Pair<'_>]) -> Misfit {
    let columns: Vec<&str> = pairs.iter().map(|pair| pair.column).collect();
    let sources: Vec<&str> = pairs.iter().map(|pair| pair.source).collect();
    let rename = pairs.iter().take(MAX_NAMES);
    let rename = rename.map(|pair| format!("{} = {:?}", toml_key(pair.source), pair.column));
    Misfit {
        place: table.name.clone(),
        message: format!(
            "the source does not feed {}, and no column takes its {}",
            listed("column", &columns),
            names(&sources)
        ),
        hint: format!(
            "did you mean rename = {{ {} }}?",
            rename.collect::<Vec<_>>().join(", ")
        ),
    }
}

/// `the field a`, `the fields a, b and 3 more`.
fn listed(what: &str, all: &[&str]) -> String {
    let plural = if all.len() > 1 { "s" } else { "" };
    format!("the {what}{plural} {}", names(all))
}

fn names(names: &[&str]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(MAX_NAMES)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = match names.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &more
}

/// The name that differs from `name` in nothing but case and separators, or else is most like it.
pub(super) fn most_alike<'n>(
    name: &str,
    known: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let name = folded(name);
    let known = known
        .into_iter()
        .map(|other| (strsim::jaro_winkler(&folded(other), &name), other));
    known
        .filter(|(likeness, _)| *likeness > LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other)
}

/// Letters and digits only, in lower case.
fn folded(name: &str) -> String {
    name.chars()
        .filter(|character| character.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// A name as a key in TOML.
pub(super) fn toml_key(name: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    if !name.is_empty() && name.chars().all(bare) {
        name.into()
    } else {
        format!("{name:?}")
    }
}
