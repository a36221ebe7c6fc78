//! The columns of files, and the schema of a dataset that is made of them.

use std::collections::BTreeMap;

use forebay_plugin_host::row::{Column, EmbeddingColumn, FieldType, MAX_DIMENSIONS, Schema};

use crate::key_kind::KeyKind;
use crate::records::Meaning;

/// The columns of a file, or of several.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    columns: Vec<Found>,
    /// True if each value of the files says its own type.
    is_loose: bool,
}

/// A column that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub name: String,
    pub meaning: Meaning,
    /// How many vectors have the dimensions of `meaning`.
    pub votes: u64,
    /// What its values are as keys; `None` if they can be none.
    pub key: Option<KeyKind>,
}

/// What the configuration says about columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Name of the column that is the key; `id` if it is not said.
    pub key: Option<String>,
    /// Types of fields.
    pub fields: BTreeMap<String, FieldType>,
    /// Dimensions of embeddings.
    pub embeddings: BTreeMap<String, usize>,
}

/// The name of the key where none is said.
const KEY: &str = "id";

impl Outline {
    pub(crate) fn new(columns: Vec<Found>, is_loose: bool) -> Self {
        Self { columns, is_loose }
    }

    /// Adds the columns of another file.
    ///
    /// # Errors
    /// If a column has another type there.
    pub fn merge(&mut self, other: Self) -> Result<(), String> {
        self.is_loose |= other.is_loose;
        for found in other.columns {
            let known = self.columns.iter_mut().find(|it| it.name == found.name);
            let Some(known) = known else {
                self.columns.push(found);
                continue;
            };
            known.key = match (known.key, found.key) {
                (Some(one), Some(other)) if one == other => Some(one),
                (Some(_), Some(_)) => Some(KeyKind::Text),
                _ => None,
            };
            let (meaning, votes) = match (known.meaning, found.meaning) {
                (Meaning::Nothing, other) => (other, found.votes),
                (one, Meaning::Nothing) => (one, known.votes),
                (Meaning::Embedding(_), Meaning::Embedding(_)) if found.votes > known.votes => {
                    (found.meaning, found.votes)
                }
                (Meaning::Embedding(_), Meaning::Embedding(_)) => (known.meaning, known.votes),
                (one, other) if one == other => (one, 0),
                (
                    Meaning::Field(FieldType::Integer | FieldType::Real),
                    Meaning::Field(FieldType::Integer | FieldType::Real),
                ) => (Meaning::Field(FieldType::Real), 0),
                _ if self.is_loose => (Meaning::Field(FieldType::Json), 0),
                (one, other) => {
                    let (one, other) = (words(one), words(other));
                    return Err(format!(
                        "`{}` is {other}, and {one} in the files before",
                        found.name
                    ));
                }
            };
            (known.meaning, known.votes) = (meaning, votes);
        }
        Ok(())
    }

    /// Name and kind of the key, and schema of the rows.
    ///
    /// # Errors
    /// What is missing, with a hint.
    pub fn schema(
        &self,
        overrides: &Overrides,
    ) -> Result<(String, KeyKind, Schema), (String, String)> {
        let (key, kind) = self.key(overrides)?;
        let mut schema = Schema::default();
        for found in &self.columns {
            let name = &found.name;
            if *name == key {
                continue;
            }
            if let Some(dimensions) = overrides.embeddings.get(name) {
                embedding(&mut schema, name, *dimensions)?;
            } else if let Some(field_type) = overrides.fields.get(name) {
                field(&mut schema, name, *field_type);
            } else {
                match found.meaning {
                    Meaning::Field(field_type) => field(&mut schema, name, field_type),
                    Meaning::Nothing => field(&mut schema, name, FieldType::Text),
                    Meaning::Embedding(Some(dimensions)) => {
                        embedding(&mut schema, name, dimensions)?;
                    }
                    Meaning::Embedding(None) => return Err(unknown_dimensions(name)),
                }
            }
        }
        // What only later rows have.
        for (name, field_type) in &overrides.fields {
            if *name != key && schema.column(name).is_none() {
                field(&mut schema, name, *field_type);
            }
        }
        for (name, dimensions) in &overrides.embeddings {
            if schema.embedding(name).is_none() {
                embedding(&mut schema, name, *dimensions)?;
            }
        }
        Ok((key, kind, schema))
    }

    fn key(&self, overrides: &Overrides) -> Result<(String, KeyKind), (String, String)> {
        let key = overrides.key.as_deref().unwrap_or(KEY);
        let columns = || {
            let may = self.columns.iter().filter(|it| it.key.is_some());
            let names: Vec<&str> = may.map(|it| it.name.as_str()).collect();
            names.join(", ")
        };
        let found = self.columns.iter().find(|it| it.name == key);
        match found.map(|found| found.key) {
            Some(Some(kind)) => Ok((key.to_owned(), kind)),
            Some(None) => Err((
                format!("the values of `{key}` can be no keys"),
                format!(
                    "a key is a text, an integer or a uuid; there are: {}",
                    columns()
                ),
            )),
            None => Err((
                format!("there is no column `{key}` to be the key"),
                format!(
                    "name the column that identifies a row as the key; there are: {}",
                    columns()
                ),
            )),
        }
    }
}

fn unknown_dimensions(name: &str) -> (String, String) {
    (
        format!("the first rows have no vector in `{name}`, so its dimensions are not known"),
        format!("write them: source.embeddings = {{ {name} = 768 }}"),
    )
}

fn field(schema: &mut Schema, name: &str, field_type: FieldType) {
    schema.columns.push(Column {
        name: name.to_owned(),
        field_type: Some(field_type),
    });
}

fn embedding(schema: &mut Schema, name: &str, dimensions: usize) -> Result<(), (String, String)> {
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err((
            format!("`{name}` has {dimensions} elements; a vector has 1 to {MAX_DIMENSIONS}"),
            format!("take it as JSON: source.fields = {{ {name} = \"json\" }}"),
        ));
    }
    schema.embeddings.push(EmbeddingColumn {
        name: name.to_owned(),
        dimensions,
    });
    Ok(())
}

fn words(meaning: Meaning) -> String {
    match meaning {
        Meaning::Nothing => "empty".into(),
        Meaning::Embedding(_) => "an embedding".into(),
        Meaning::Field(field_type) => format!("{field_type:?}").to_lowercase(),
    }
}
