//! Makes a table for a dataset, with the indexes of its embeddings.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use super::connect::Store;
use super::error::StoreError;
use super::sql::quote;
use crate::files::KeyKind;
use crate::row::{EmbeddingColumn, FieldType, Schema};

/// Maximum dimensions of an index over `vector`, and over `halfvec` (pgvector).
const INDEXED: usize = 2_000;
const INDEXED_HALF: usize = 4_000;

/// Bytes of vectors that fit into a page beside a few other columns: then they are not stored out of
/// line, which costs the server a quarter of the time.
const IN_PAGE: usize = 7_600;

/// A table to make.
#[derive(Debug, Clone, Copy)]
pub struct NewTable<'a> {
    /// With its schema or without, not quoted.
    pub name: &'a str,
    /// Name and kind of the key.
    pub key: (&'a str, KeyKind),
    /// Its columns.
    pub schema: &'a Schema,
    /// From the name of a field or embedding to that of its column, where they differ.
    pub rename: &'a BTreeMap<String, String>,
    /// Whether embeddings get an index.
    pub indexed: bool,
}

impl NewTable<'_> {
    /// The statements that make it, in their order.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        let table = quoted(self.name);
        let (key, kind) = self.key;
        let kind = match kind {
            KeyKind::Text => "text",
            KeyKind::Integer => "bigint",
            KeyKind::Uuid => "uuid",
        };
        let mut columns = vec![format!("{} {kind} primary key", self.column(key))];
        let fields = self.schema.columns.iter();
        columns.extend(fields.filter_map(|field| {
            let type_sql = type_sql(field.field_type?);
            Some(format!("{} {type_sql}", self.column(&field.name)))
        }));
        let bytes: usize = self.schema.embeddings.iter().map(|it| self.bytes(it)).sum();
        let storage = match bytes {
            ..=IN_PAGE => "plain",
            _ => "external",
        };
        let embeddings = self.schema.embeddings.iter();
        columns.extend(embeddings.map(|it| {
            let type_sql = self.vector(it);
            format!("{} {type_sql} storage {storage}", self.column(&it.name))
        }));
        let columns = columns.join(",\n    ");
        let mut statements = vec![
            "create extension if not exists vector".to_owned(),
            format!("create table {table} (\n    {columns}\n)"),
        ];
        let indexed = self.schema.embeddings.iter();
        let indexed = indexed.filter(|it| self.indexed && it.dimensions <= INDEXED_HALF);
        statements.extend(indexed.map(|it| {
            let column = self.column(&it.name);
            let operators = match self.is_half(it) {
                true => "halfvec_cosine_ops",
                false => "vector_cosine_ops",
            };
            format!("create index on {table} using hnsw ({column} {operators})")
        }));
        statements
    }

    fn column(&self, name: &str) -> String {
        quote(self.rename.get(name).map_or(name, String::as_str))
    }

    /// Halves where only these can be indexed.
    fn is_half(&self, embedding: &EmbeddingColumn) -> bool {
        self.indexed && (INDEXED + 1..=INDEXED_HALF).contains(&embedding.dimensions)
    }

    fn vector(&self, embedding: &EmbeddingColumn) -> String {
        let kind = match self.is_half(embedding) {
            true => "halfvec",
            false => "vector",
        };
        format!("{kind}({})", embedding.dimensions)
    }

    fn bytes(&self, embedding: &EmbeddingColumn) -> usize {
        let width = match self.is_half(embedding) {
            true => 2,
            false => 4,
        };
        embedding.dimensions * width + 8
    }
}

fn type_sql(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Boolean => "boolean",
        FieldType::Integer => "bigint",
        FieldType::Real => "double precision",
        FieldType::Text => "text",
        FieldType::Binary => "bytea",
        FieldType::Timestamp => "timestamptz",
        FieldType::Texts => "text[]",
        FieldType::Json => "jsonb",
    }
}

/// A name with its schema or without, quoted.
pub(super) fn quoted(name: &str) -> String {
    let parts: Vec<String> = name.split('.').map(quote).collect();
    parts.join(".")
}

impl Store {
    /// Makes a table.
    ///
    /// # Errors
    /// If the server refuses it; then nothing is made.
    pub async fn make(&self, table: &NewTable<'_>) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        for statement in table.statements() {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::row::Column;

    #[test]
    fn a_table_has_the_columns_of_its_dataset() {
        let types = [
            FieldType::Boolean,
            FieldType::Integer,
            FieldType::Real,
            FieldType::Text,
            FieldType::Binary,
            FieldType::Timestamp,
            FieldType::Texts,
            FieldType::Json,
        ];
        let columns = types.map(|it| Column {
            name: format!("{it:?}"),
            field_type: Some(it),
        });
        let embedding = |name: &str, dimensions| EmbeddingColumn {
            name: name.into(),
            dimensions,
        };
        let schema = Schema {
            columns: columns.into(),
            embeddings: vec![
                embedding("small", 2_000),
                embedding("large", 3_072),
                embedding("huge", 8_000),
            ],
        };
        let rename = BTreeMap::from([("small".to_owned(), "a\"b".to_owned())]);
        let table = NewTable {
            name: "corp.docs",
            key: ("id", KeyKind::Uuid),
            schema: &schema,
            rename: &rename,
            indexed: true,
        };
        assert_snapshot!(table.statements().join(";\n"), @r#"
        create extension if not exists vector;
        create table "corp"."docs" (
            "id" uuid primary key,
            "Boolean" boolean,
            "Integer" bigint,
            "Real" double precision,
            "Text" text,
            "Binary" bytea,
            "Timestamp" timestamptz,
            "Texts" text[],
            "Json" jsonb,
            "a""b" vector(2000) storage external,
            "large" halfvec(3072) storage external,
            "huge" vector(8000) storage external
        );
        create index on "corp"."docs" using hnsw ("a""b" vector_cosine_ops);
        create index on "corp"."docs" using hnsw ("large" halfvec_cosine_ops)
        "#);
    }
}
