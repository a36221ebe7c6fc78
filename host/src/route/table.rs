//! A table as the database's catalog describes it.

/// The equality of types that are the server's own.
pub const EQUALS: &str = "operator(pg_catalog.=)";

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
    /// Unique keys that could find a row but for one property.
    pub near_keys: Vec<NearKey>,
    /// References to other tables of the pipeline.
    pub foreign_keys: Vec<ForeignKey>,
    /// True if the server may leave a row out without an error: a trigger runs before rows are
    /// written, or a policy of row-level security applies to the role.
    pub guarded: bool,
    /// True if it or a partition of it has triggers.
    pub has_triggers: bool,
    /// Check constraints that refuse a row for nothing but its own values.
    pub own_checks: Vec<OwnCheck>,
    /// True if the server takes `COPY` into it from the role.
    pub copies: bool,
}

impl Table {
    /// The column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A check constraint by which the values of a row alone decide, in a table without triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCheck {
    /// Its name.
    pub name: String,
    /// A hash of everything that it depends on.
    pub definition: i64,
}

/// A unique key that cannot find a row: a column may be null, or else it is deferrable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearKey {
    /// Its columns.
    pub columns: Vec<String>,
    /// Those that may be null.
    pub nullable: Vec<String>,
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
    /// The operator by which the server finds values equal, for use in SQL; [`EQUALS`] where that
    /// finds it.
    pub equals: String,
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
    /// What the server stores if the column is left out, as an SQL expression: the default of the
    /// column or its domain, or the next number of an identity.
    pub omitted_sql: Option<String>,
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

/// A name, quoted for use in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
