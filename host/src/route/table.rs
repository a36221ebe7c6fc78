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
    /// Columns of other keys by which a row can be found: unique, never null, not deferred.
    pub unique_keys: Vec<Vec<String>>,
    /// To the other tables that were asked for.
    pub foreign_keys: Vec<ForeignKey>,
}

/// A reference to another table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// As the configuration names it.
    pub table: String,
    /// Of this table.
    pub columns: Vec<String>,
    /// Of the other one, in the order of `columns`.
    pub referenced: Vec<String>,
}

/// A column, as the catalog describes it.
#[derive(Debug, Clone)]
pub struct Column {
    /// Not quoted.
    pub name: String,
    /// Name of the type, or of what a domain is made from.
    pub type_name: String,
    /// As in SQL, without a length or the like.
    pub type_sql: String,
    /// `pg_type.typcategory`: `A` for arrays, `E` for enums, `N` for numbers …
    pub category: String,
    /// Of the type.
    pub type_oid: u32,
    /// Of the array of the type.
    pub array_oid: u32,
    /// Of a vector, where declared.
    pub dimensions: Option<usize>,
    /// NOT NULL.
    pub required: bool,
    /// Has a default or is an identity column.
    pub has_default: bool,
    /// That default as an expression of SQL, if the column itself has one.
    pub default_sql: Option<String>,
    /// Computed by the server: GENERATED ALWAYS.
    pub generated: bool,
}
