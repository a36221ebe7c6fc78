//! The server's errors as texts for people: what it says, where that happened, and the SQLSTATE.
//! sqlx shows a line of the server's own C source instead.

use sqlx::postgres::PgDatabaseError;

use crate::printable::printable;

/// Describes an error: what the server says, with its SQLSTATE, the table, column and constraint
/// if it names them, and its hint.
pub(super) fn described(error: &sqlx::Error) -> String {
    let Some(server) = of_server(error) else {
        return printable(&error.to_string()).into_owned();
    };
    let mut places = vec![format!("SQLSTATE {}", server.code())];
    places.extend(match (server.schema(), server.table()) {
        (Some(schema), Some(table)) => Some(format!("table {schema}.{table}")),
        (_, table) => table.map(|table| format!("table {table}")),
    });
    let column = server.column().or_else(|| copied_column(server));
    places.extend(column.map(|column| format!("column {column}")));
    places.extend(server.constraint().map(|name| format!("constraint {name}")));
    let places = places.join(", ");
    let mut text = format!("{} ({})", said(server), printable(&places));
    if let Some(hint) = server.hint() {
        text.push_str("\n  hint: ");
        text.push_str(&printable(hint));
    }
    text
}

/// The server's message with its detail, and the function that raised it, on one line.
pub(super) fn said(error: &PgDatabaseError) -> String {
    let mut text = error.message().to_owned();
    if let Some(detail) = error.detail() {
        text.push_str(": ");
        text.push_str(detail);
    }
    let mut context = error.r#where().unwrap_or_default().lines();
    // What a user's function raises by itself is left as it is: a policy may look for it.
    let is_raised = error.code() == "P0001";
    if let Some(function) = context.find(|line| !is_raised && line.contains(" function ")) {
        text.push_str(" (in ");
        text.push_str(function);
        text.push(')');
    }
    printable(&text).into_owned()
}

/// The server's own error, if it is one.
pub(super) fn of_server(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// The column that `COPY` was reading; `None` if the server's messages are not in English.
fn copied_column(error: &PgDatabaseError) -> Option<&str> {
    let (_, column) = error.r#where()?.split_once(", column ")?;
    let end = column.find([':', '\n']).unwrap_or(column.len());
    column.get(..end)
}
