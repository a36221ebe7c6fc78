//! A table as the database's catalog describes it.

/// A table, as the catalog describes it.
#[derive(Debug, Clone)]
pub struct Table {
    /// As the configuration names it.
    pub name: String,
    /// Without its schema, and not quoted.
    pub bare: String,
    /// Schema and name, quoted for use in SQL.
    pub quoted: String,
    /// In the order of the table.
    pub columns: Vec<Column>,
    /// Columns of the primary key.
    pub primary_key: Vec<String>,
    /// Columns of other keys that can find a row: unique, never null, not deferred.
    pub unique_keys: Vec<Vec<String>>,
    /// References to other tables of the pipeline.
    pub foreign_keys: Vec<ForeignKey>,
}

/// A reference to another table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// As the configuration names it.
    pub table: String,
    /// Columns of this table.
    pub columns: Vec<String>,
    /// Columns of the other table, in the order of `columns`.
    pub referenced: Vec<String>,
}

/// A column, as the catalog describes it.
#[derive(Debug, Clone)]
pub struct Column {
    /// Not quoted.
    pub name: String,
    /// Name of the type, or of the base type of a domain.
    pub type_name: String,
    /// The type as in SQL, without modifiers such as a length.
    pub type_sql: String,
    /// The type as in SQL, as declared: with modifiers, or the name of a domain.
    pub declared_sql: String,
    /// `pg_type.typcategory`: `A` for arrays, `E` for enums, `N` for numbers …
    pub category: String,
    /// Object identifier of the type.
    pub type_oid: u32,
    /// Object identifier of the type's array.
    pub array_oid: u32,
    /// Dimensions of a vector, if declared.
    pub dimensions: Option<usize>,
    /// True for NOT NULL.
    pub required: bool,
    /// True if it has a default or is an identity column.
    pub has_default: bool,
    /// The default as an SQL expression, if the column itself has one.
    pub default_sql: Option<String>,
    /// True if the server computes it: GENERATED ALWAYS.
    pub generated: bool,
}

impl Column {
    /// Type with modifiers, and constraint, such as `vector(3) not null`.
    #[must_use]
    pub fn declared(&self) -> String {
        let required = if self.required { " not null" } else { "" };
        format!("{}{required}", self.declared_sql)
    }
}
