//! Names and texts as SQL takes them.

/// Implements `FromRow` by the names of fields. The derive of sqlx would build the driver a second
/// time, for the compiler.
macro_rules! from_row {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> for $type {
            fn from_row(row: &'r sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
                Ok(Self {
                    $($field: sqlx::Row::try_get(row, stringify!($field))?),+
                })
            }
        }
    };
}
pub(crate) use from_row;

/// A name, quoted for use in a statement.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal.
pub(super) fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''");
    format!("E'{escaped}'")
}

/// A text without NUL, which the server's texts cannot hold.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A text in ASCII, which every encoding has: other characters, and NUL, as `\u{…}`.
pub(super) fn ascii(text: &str) -> String {
    let escape = |letter: char| match letter {
        '\x01'..='\x7f' => letter.to_string(),
        _ => letter.escape_unicode().to_string(),
    };
    text.chars().map(escape).collect()
}
