//! Taking an index out of the way: noted and done in one transaction.

use sqlx::{AssertSqlSafe, PgConnection};

use super::{Manner, VectorIndex, Work};
use crate::store::run::Run;
use crate::store::{Store, StoreError};

/// Whoever holds the table for longer is not waited for, since all searches would wait too.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '5s'";

impl Store {
    /// Takes an index away for a run. Does nothing if it is away by now.
    ///
    /// # Errors
    /// If nothing was done. [`StoreError::Away`] also where a lock is not to be had soon.
    pub async fn take_index(
        &self,
        run: &Run,
        index: &VectorIndex,
        manner: Manner,
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        let connection = &mut *transaction;
        sqlx::query(LOCK_TIMEOUT).execute(&mut *connection).await?;
        // So that the definition holds wherever it is read again.
        sqlx::query("set local search_path = ''")
            .execute(&mut *connection)
            .await?;
        // VACUUM is waited for, and waits: one that is at work has not read the new setting.
        let lock = match manner {
            Manner::Defer => "access exclusive",
            Manner::Rebuild => "share update exclusive",
        };
        let lock = format!("lock table {} in {lock} mode", index.table);
        sqlx::query(AssertSqlSafe(lock))
            .execute(&mut *connection)
            .await?;
        if note(connection, index, manner).await? {
            match manner {
                Manner::Defer => {
                    let drop = format!("drop index {}", index.quoted);
                    sqlx::query(AssertSqlSafe(drop))
                        .execute(&mut *connection)
                        .await?;
                }
                Manner::Rebuild => leave_as_it_is(connection, index).await?,
            }
        }
        sqlx::query(
            "insert into forebay.index_wait (relation, name, run)
             select w.relation, w.name, $3 from forebay.index_work w
             where w.relation = $1::regclass and format('%I.%I', w.schema, w.name) = $2
             on conflict do nothing",
        )
        .bind(&index.table)
        .bind(&index.quoted)
        .bind(run.id)
        .execute(&mut *connection)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Makes a run wait for an index that is away already. It is no error if it is back by now.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn join_index(&self, run: &Run, work: &Work) -> Result<(), StoreError> {
        sqlx::query(
            "insert into forebay.index_wait (relation, name, run)
             select w.relation, w.name, $3 from forebay.index_work w
             where w.relation = $1::oid and w.name = $2 on conflict do nothing",
        )
        .bind(work.oid())
        .bind(&work.name)
        .bind(run.id)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Writes down what it takes to put the index back. False if somebody else has taken it, or it
/// is gone.
async fn note(
    connection: &mut PgConnection,
    index: &VectorIndex,
    manner: Manner,
) -> Result<bool, sqlx::Error> {
    // Of two indexes of a table, the second finds the first one's setting.
    let noted = sqlx::query(
        "insert into forebay.index_work
             (relation, schema, name, manner, definition, tablespace, comment,
              method, parameter, vector_bytes, index_cleanup)
         select c.oid, n.nspname, ic.relname, $2, pg_get_indexdef(ic.oid), coalesce(s.spcname, ''),
                obj_description(ic.oid, 'pg_class'), $3, $4, $5,
                case when $2 = 'rebuild' then
                    case when exists (select from forebay.index_work w
                                      where w.relation = c.oid and w.manner = 'rebuild')
                    then (select w.index_cleanup from forebay.index_work w
                          where w.relation = c.oid and w.manner = 'rebuild' limit 1)
                    else (select option_value from pg_options_to_table(c.reloptions)
                          where option_name = 'vacuum_index_cleanup') end
                end
         from pg_index i join pg_class ic on ic.oid = i.indexrelid
         join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = ic.relnamespace
         left join pg_tablespace s on s.oid = ic.reltablespace
         where ic.oid = $1::oid and i.indisvalid and i.indisready
         on conflict do nothing",
    )
    .bind(oid(index))
    .bind(manner.as_str())
    .bind(index.shape.name())
    .bind(i64::try_from(index.shape.parameter()).unwrap_or(i64::MAX))
    .bind(i64::try_from(index.shape.vector_bytes).unwrap_or(i64::MAX))
    .execute(connection)
    .await?;
    Ok(noted.rows_affected() > 0)
}

/// Has the server no longer enter new row versions. The lock of a change of the table's setting
/// keeps VACUUM away until the transaction ends.
async fn leave_as_it_is(
    connection: &mut PgConnection,
    index: &VectorIndex,
) -> Result<(), sqlx::Error> {
    let cleanup = format!(
        "alter table {} set (vacuum_index_cleanup = off)",
        index.table
    );
    sqlx::query(AssertSqlSafe(cleanup))
        .execute(&mut *connection)
        .await?;
    sqlx::query("update pg_catalog.pg_index set indisready = false where indexrelid = $1::oid")
        .bind(oid(index))
        .execute(connection)
        .await?;
    Ok(())
}

fn oid(index: &VectorIndex) -> sqlx::postgres::types::Oid {
    sqlx::postgres::types::Oid(u32::try_from(index.oid).unwrap_or_default())
}
