//! Suspending an index: noted and done in one transaction.

use sqlx::postgres::types::Oid;
use sqlx::{AssertSqlSafe, PgConnection};

use super::manner::Manner;
use super::vector_index::{Part, VectorIndex};
use super::work::Work;
use crate::store::connect::Store;
use crate::store::error::StoreError;
use crate::store::run::Run;

/// Longer locks on the table are not waited for, since all searches would wait behind this one.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '5s'";

/// The least that pgvector accepts for `ef_construction`, with which a row costs a tenth. A graph
/// that is built needs twice `m`, so it is set back before.
const LEAST_EFFORT: &str = "ef_construction = 4";

impl Store {
    /// Suspends an index for a run, with its parts. Does nothing for what is already suspended.
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
            Manner::Beside | Manner::Frozen => "share update exclusive",
        };
        let lock = format!("lock table {} in {lock} mode", index.table);
        sqlx::query(AssertSqlSafe(lock))
            .execute(&mut *connection)
            .await?;
        for part in &index.parts {
            if part.is_partitioned && manner != Manner::Defer {
                continue;
            }
            if note(connection, index, part, manner).await? {
                match manner {
                    Manner::Defer => {}
                    Manner::Beside => {
                        keep_from_vacuum(connection, part).await?;
                        if index.shape.is_hnsw() {
                            lighten(connection, &part.quoted).await?;
                        }
                    }
                    Manner::Frozen => {
                        keep_from_vacuum(connection, part).await?;
                        mark_not_ready(connection, part).await?;
                    }
                }
            }
        }
        if manner == Manner::Defer {
            let drop = format!("drop index if exists {}", index.quoted);
            sqlx::query(AssertSqlSafe(drop))
                .execute(&mut *connection)
                .await?;
        }
        let names: Vec<&str> = index.parts.iter().map(|it| it.quoted.as_str()).collect();
        sqlx::query(
            "insert into forebay.index_wait (relation, name, run)
             select w.relation, w.name, $2 from forebay.index_work w
             where pg_catalog.format('%I.%I', w.schema, w.name) = any($1) on conflict do nothing",
        )
        .bind(names)
        .bind(run.id)
        .execute(&mut *connection)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Makes a run wait for a suspended index. Does nothing if it has been restored by now.
    ///
    /// # Errors
    /// Fails if the database cannot be queried; with [`StoreError::Away`] also if a lock is not
    /// available soon.
    pub async fn join_index(&self, run: &Run, work: &Work) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let connection = &mut *transaction;
        sqlx::query(LOCK_TIMEOUT).execute(&mut *connection).await?;
        let joined = sqlx::query(
            "insert into forebay.index_wait (relation, name, run)
             select w.relation, w.name, $3 from forebay.index_work w
             where w.relation = $1::oid and w.name = $2 on conflict do nothing",
        )
        .bind(work.oid())
        .bind(&work.name)
        .bind(run.id)
        .execute(&mut *connection)
        .await?;
        // An attempt to rebuild it has set it back.
        if work.shape.is_hnsw()
            && (joined.rows_affected() > 0 || work.mine)
            && work.is_there_as_before(connection).await?
        {
            lighten(connection, &work.quoted).await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// Notes what is needed to restore the index. False if another session has suspended it, or if it
/// is gone.
async fn note(
    connection: &mut PgConnection,
    index: &VectorIndex,
    part: &Part,
    manner: Manner,
) -> Result<bool, sqlx::Error> {
    // The second index of a table takes over the setting that the first one has noted. A partitioned
    // index is put back after its parts, which it then finds.
    let noted = sqlx::query(
        "insert into forebay.index_work
             (relation, schema, name, manner, definition, tablespace, comment,
              method, parameter, vector_bytes, index_cleanup, depth, index_oid, options, statistics)
         select c.oid, n.nspname, ic.relname, $2,
                case ic.relkind when 'I' then replace(pg_get_indexdef(ic.oid),
                         pg_catalog.format('CREATE INDEX %I ON ONLY ', ic.relname), pg_catalog.format('CREATE INDEX %I ON ', ic.relname))
                     else pg_get_indexdef(ic.oid) end,
                coalesce(s.spcname, ''),
                obj_description(ic.oid, 'pg_class'), $3, $4, $5,
                case when $2 <> 'defer' then
                    case when exists (select from forebay.index_work w
                                      where w.relation = c.oid and w.manner <> 'defer')
                    then (select w.index_cleanup from forebay.index_work w
                          where w.relation = c.oid and w.manner <> 'defer' limit 1)
                    else (select option_value from pg_options_to_table(c.reloptions)
                          where option_name = 'vacuum_index_cleanup') end
                end,
                $6, case $2 when 'beside' then ic.oid end,
                (select string_agg(pg_catalog.format('%I = %L', option_name, option_value), ', ' order by place)
                 from pg_options_to_table(ic.reloptions) with ordinality o(option_name, option_value, place)
                 having bool_or(option_name = 'ef_construction')),
                array(select pg_catalog.format('alter index %I.%I alter column %s set statistics %s',
                                    n.nspname, ic.relname, a.attnum, a.attstattarget)
                      from pg_attribute a where a.attrelid = ic.oid and a.attstattarget >= 0)
         from pg_index i join pg_class ic on ic.oid = i.indexrelid
         join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = ic.relnamespace
         left join pg_tablespace s on s.oid = ic.reltablespace
         where ic.oid = $1::oid and i.indisvalid and i.indisready
         on conflict do nothing",
    )
    .bind(oid(part))
    .bind(manner.as_str())
    .bind(&index.method)
    .bind(i64::try_from(index.shape.parameter()).unwrap_or(i64::MAX))
    .bind(i64::try_from(index.shape.vector_bytes).unwrap_or(i64::MAX))
    .bind(part.depth)
    .execute(connection)
    .await?;
    Ok(noted.rows_affected() > 0)
}

/// Makes an insert into an HNSW index cheap. What it holds already is found as before; new rows
/// get few neighbours.
async fn lighten(connection: &mut PgConnection, quoted: &str) -> Result<(), sqlx::Error> {
    let set = format!("alter index {quoted} set ({LEAST_EFFORT})");
    sqlx::query(AssertSqlSafe(set)).execute(connection).await?;
    Ok(())
}

/// Keeps VACUUM from the indexes of a table: it would repair a graph with the least effort, and skip
/// one that is frozen. The change takes a lock that keeps VACUUM away until the transaction ends.
async fn keep_from_vacuum(connection: &mut PgConnection, part: &Part) -> Result<(), sqlx::Error> {
    let cleanup = format!(
        "alter table {} set (vacuum_index_cleanup = off)",
        part.table
    );
    sqlx::query(AssertSqlSafe(cleanup))
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes the server no longer enter new row versions.
async fn mark_not_ready(connection: &mut PgConnection, part: &Part) -> Result<(), sqlx::Error> {
    sqlx::query("update pg_catalog.pg_index set indisready = false where indexrelid = $1::oid")
        .bind(oid(part))
        .execute(connection)
        .await?;
    Ok(())
}

fn oid(part: &Part) -> Oid {
    Oid(u32::try_from(part.oid).unwrap_or_default())
}
