//! Creating a deferred index, in one transaction with the removal of its note.

use std::time::Instant;

use sqlx::{AssertSqlSafe, PgConnection};

use super::build::{Resources, Watch};
use super::restore::{Finished, remove_note};
use super::work::Work;
use crate::failpoints;
use crate::store::connect::Store;
use crate::store::run::Run;

impl Store {
    pub(super) async fn create(
        &self,
        run: &Run,
        work: &Work,
        gone: &[String],
        watch: &Watch<'_>,
        resources: Resources,
    ) -> Result<Finished, sqlx::Error> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let connection = &mut *transaction;
        if let Some(finished) = self.leave(connection, run, work, gone).await? {
            transaction.commit().await?;
            return Ok(finished);
        }
        let exists: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(&work.quoted)
            .fetch_one(&mut *connection)
            .await?;
        let started = Instant::now();
        if !exists {
            self.configure(connection, work, watch, resources).await?;
            sqlx::query("select set_config('default_tablespace', $1, true)")
                .bind(&work.tablespace)
                .execute(&mut *connection)
                .await?;
            self.watched(connection, &work.definition, watch).await?;
            set_particulars(connection, work).await?;
        }
        remove_note(connection, work).await?;
        failpoints::point!("index.built");
        transaction.commit().await?;
        failpoints::point!("index.back");
        Ok(if exists {
            Finished::NothingLeft
        } else {
            Finished::Built(started.elapsed())
        })
    }
}

/// Sets what is not part of the definition.
async fn set_particulars(connection: &mut PgConnection, work: &Work) -> Result<(), sqlx::Error> {
    for statement in &work.statistics {
        let statement = AssertSqlSafe(statement.clone());
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    let Some(comment) = &work.comment else {
        return Ok(());
    };
    let statement: String =
        sqlx::query_scalar("select pg_catalog.format('comment on index %s is %L', $1, $2)")
            .bind(&work.quoted)
            .bind(comment)
            .fetch_one(&mut *connection)
            .await?;
    sqlx::query(AssertSqlSafe(statement))
        .execute(connection)
        .await?;
    Ok(())
}
