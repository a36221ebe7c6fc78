//! Names the column and the value of a row that the database refuses, where its message does not.
//!
//! `value too long for type character(2)` names no column. So the server is asked which values of
//! the row it would not read as their column's type (`pg_input_error_info`, PostgreSQL 16); on an
//! older server such a refusal stays without a column.

use super::rows::ChunkWriter;
use crate::plugin::head;
use crate::row::{Batch, Failure, Value};
use crate::store::encode::text_of;
use crate::store::statements::Fed;

/// Maximum size of the values that the server is asked about for one chunk, in bytes.
const ASKED: usize = 4 << 20;

/// The first object identifier of what was not made by `initdb`. Types of extensions may fail on
/// their input where the server's own types say what is wrong with it.
const FIRST_OF_USERS: u32 = 16_384;

/// The first column by refused row whose value its type refuses with the same SQLSTATE.
const ASK: &str = "select distinct on (v.failure) v.failure, v.fed, v.value
    from unnest($1::int[], $2::int[], $3::text[], $4::text[], $5::text[]) v(failure, fed, value, type, code)
    cross join lateral pg_input_error_info(v.value, v.type) e
    where e.sql_error_code = v.code order by v.failure, v.fed";

/// Values of refused rows, as parallel columns.
#[derive(Default)]
struct Asked {
    failures: Vec<i32>,
    fed: Vec<i32>,
    values: Vec<String>,
    types: Vec<String>,
    codes: Vec<String>,
}

impl ChunkWriter<'_> {
    /// Completes the failures that are about a value (SQLSTATE classes 22 and 23) and name no
    /// column.
    pub(super) async fn name_columns(
        &mut self,
        batch: &Batch,
        failures: &mut [Failure],
    ) -> Result<(), sqlx::Error> {
        let asked = self.asked(batch, failures);
        if asked.failures.is_empty() {
            return Ok(());
        }
        let connection = &mut *self.transaction;
        sqlx::query("savepoint naming")
            .execute(&mut *connection)
            .await?;
        let found: Result<Vec<(i32, i32, String)>, _> = sqlx::query_as(ASK)
            .bind(asked.failures)
            .bind(asked.fed)
            .bind(asked.values)
            .bind(asked.types)
            .bind(asked.codes)
            .fetch_all(&mut *connection)
            .await;
        sqlx::raw_sql("rollback to savepoint naming; release savepoint naming")
            .execute(&mut *connection)
            .await?;
        for (failure, fed, value) in found.unwrap_or_default() {
            let failure = usize::try_from(failure)
                .ok()
                .and_then(|at| failures.get_mut(at));
            let fed = usize::try_from(fed)
                .ok()
                .and_then(|at| self.statements.fed.get(at));
            if let (Some(failure), Some(fed)) = (failure, fed) {
                complete(failure, fed, &value);
            }
        }
        Ok(())
    }

    fn asked(&self, batch: &Batch, failures: &[Failure]) -> Asked {
        let mut asked = Asked::default();
        let mut size = 0;
        for (failure, at) in failures.iter().zip(0..) {
            let code = failure.code.strip_prefix("SQL_");
            let is_of_value = |code: &&str| code.starts_with("22") || code.starts_with("23");
            let Some(code) = code.filter(is_of_value).filter(|_| failure.field.is_none()) else {
                continue;
            };
            for (fed, index) in self.statements.fed.iter().zip(0..) {
                for value in values(fed, batch, failure.row) {
                    size += value.len();
                    if size > ASKED {
                        return asked;
                    }
                    asked.failures.push(at);
                    asked.fed.push(index);
                    asked.values.push(value);
                    asked.types.push(fed.column.declared_sql.clone());
                    asked.codes.push(code.to_owned());
                }
            }
        }
        asked
    }
}

/// The texts of what a row feeds a column.
fn values(fed: &Fed, batch: &Batch, row: u32) -> Vec<String> {
    let is_of_extension = fed.column.type_oid >= FIRST_OF_USERS
        && fed.column.category != "E"
        && fed.column.type_name != "citext";
    if is_of_extension {
        return Vec::new();
    }
    match batch.row(row).get(fed.field) {
        Some(Value::Texts(items)) if fed.by_item => {
            items.iter().map(|item| item.to_string()).collect()
        }
        Some(value) => text_of(fed.kind, value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn complete(failure: &mut Failure, fed: &Fed, value: &str) {
    let Fed { table, column, .. } = fed;
    let mut message = format!("{table}.{}: {}", column.name, failure.message);
    if !failure.message.contains(value) {
        message.push_str(&format!("; received {:?}", head(value, 60)));
    }
    failure.message = head(&message, 2_000).to_owned();
    failure.field = Some(column.name.clone());
}
