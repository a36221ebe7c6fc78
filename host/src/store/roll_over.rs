//! One run of an endless pipeline is closed, and the next one begun.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::refusals::Refusals;
use super::run::{Checkpoint, Run, Status};
use super::sql::ascii;
use super::{Store, StoreError, again, reconcile};

impl Store {
    /// Closes a run and begins the run `next` where it is, in one transaction. Partitions stay claimed,
    /// under the same epochs. If that was done before, it only returns the run.
    ///
    /// # Errors
    /// If another host has claimed a partition since, or a query fails.
    pub async fn roll_over(
        &self,
        run: &Run,
        next: Uuid,
        status: Status,
        message: Option<&str>,
    ) -> Result<Run, StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let connection = &mut *transaction;
        lock(connection, run.pipeline).await?;
        let begun = sqlx::query(
            "insert into forebay.run (id, pipeline, status, snapshot) values ($1, $2, 'running', false)
             on conflict (id) do nothing",
        );
        let begun = begun.bind(next).bind(run.pipeline);
        if begun.execute(&mut *connection).await?.rows_affected() > 0 {
            reconcile::fence(connection, run).await?;
            close(connection, run, next, (status, message)).await?;
        }
        let begin = |last: &Checkpoint| Checkpoint {
            sequence: 0,
            rows: 0,
            complete: false,
            ..last.clone()
        };
        let next = Run {
            id: next,
            pipeline: run.pipeline,
            starts: 1,
            age: Duration::ZERO,
            partitions: run.partitions.iter().map(begin).collect(),
            gone: Vec::new(),
            waiting: again::waiting(connection, run.pipeline).await?,
            refused: Refusals::read(connection, run.pipeline).await?,
        };
        reconcile::fence(connection, &next).await?;
        transaction.commit().await?;
        Ok(next)
    }
}

/// Locks a pipeline and its checkpoints, in the order of a claim.
async fn lock(connection: &mut PgConnection, pipeline: i32) -> Result<(), sqlx::Error> {
    for statement in [
        "select from forebay.pipeline where id = $1 for update",
        "select from forebay.checkpoint where pipeline = $1 order by partition for update",
    ] {
        let statement = sqlx::query(statement).bind(pipeline);
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn close(
    connection: &mut PgConnection,
    run: &Run,
    next: Uuid,
    (status, message): (Status, Option<&str>),
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update forebay.checkpoint set run = $2, sequence = 0, rows = 0, complete = false, updated_at = now()
         where run = $1",
    )
    .bind(run.id)
    .bind(next)
    .execute(&mut *connection)
    .await?;
    // There may be thousands a day, and nobody asks for them any more.
    sqlx::query("delete from forebay.outbox where run = $1 and delivered_at is not null")
        .bind(run.id)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "update forebay.run set status = $2, message = $3, finished_at = now() where id = $1",
    )
    .bind(run.id)
    .bind(status.as_str())
    .bind(message.map(ascii))
    .execute(connection)
    .await?;
    Ok(())
}
