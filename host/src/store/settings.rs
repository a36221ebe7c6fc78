//! Settings under which the server reads texts as values, and shows values as texts.
//!
//! They may be set for a database or a role, and would make another value of the same text. A
//! writer whose tables have a column that the server casts from text pins them in each
//! transaction, in the statement that begins it; other tables depend on none of them.
//! `money` depends on `lc_monetary` and is cast from numbers instead (`statements`), since any
//! value of that setting could be missing on the server.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::Store;
use crate::route::{Target, Targets};

const PINNED: &str = "set local datestyle = 'ISO, MDY'; set local timezone = 'UTC'; \
set local intervalstyle = postgres; set local extra_float_digits = 1; set local array_nulls = on; \
set local xmloption = content";

/// The statement that begins a transaction of a writer.
pub(super) fn begin(store: &Store, targets: &Targets) -> SqlStr {
    let begin = store.begin_statement();
    if !targets.tables.iter().any(casts) {
        return begin;
    }
    AssertSqlSafe(format!("{}; {PINNED}", begin.as_str())).into_sql_str()
}

/// True if the server casts texts for a column of the table.
fn casts(target: &Target) -> bool {
    let of_items = target.items.iter().flat_map(|items| {
        let columns = items.columns.iter();
        columns.map(|column| items.json || column.kind.is_cast())
    });
    let mut of_rows = target.fed().map(|fed| fed.kind.is_cast());
    of_rows.any(|casts| casts) || of_items.into_iter().any(|casts| casts)
}
