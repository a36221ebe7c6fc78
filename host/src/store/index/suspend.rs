//! Suspending an index: noted and done in one transaction.

use sqlx::{AssertSqlSafe, PgConnection};

use super::manner::Manner;
use super::vector_index::VectorIndex;
use super::work::Work;
use crate::store::connect::Store;
use crate::store::error::StoreError;
use crate::store::run::Run;

/// Longer locks on the table are not waited for, since all searches would wait behind this one.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '5s'";

impl Store {
    /// Suspends an index for a run. Does nothing if it is already suspended.
    ///
    /// # Errors
    /// Fails if nothing was done; with [`StoreError::Away`] also if the lock is not available
    /// soon.
    pub async fn suspend_index(
        &self,
        run: &Run,
        index: &VectorIndex,
        manner: Manner,
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let connection = &mut *transaction;
        sqlx::query(LOCK_TIMEOUT).execute(&mut *connection).await?;
        // The definition must hold under any search path.
        sqlx::query("set local search_path = ''")
            .execute(&mut *connection)
            .await?;
        // This waits for a running VACUUM, which has not read the new setting, and blocks the next.
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
                Manner::Rebuild => mark_not_ready(connection, index).await?,
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

    /// Makes a run wait for a suspended index. Does nothing if it has been restored by now.
    ///
    /// # Errors
    /// Fails if the database cannot be queried.
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

/// Notes what is needed to restore the index. False if another session has suspended it, or if it
/// is gone.
async fn note(
    connection: &mut PgConnection,
    index: &VectorIndex,
    manner: Manner,
) -> Result<bool, sqlx::Error> {
    // The second index of a table takes over the setting that the first one has noted.
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

/// Makes the server no longer enter new row versions. Changing the table's setting takes a lock
/// that keeps VACUUM away until the transaction ends.
async fn mark_not_ready(
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
