//! Runs and checkpoints: the positions to continue from, and the claim that allows it.

use std::time::Duration;

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::claim::Claim;
use super::connect::Store;
use super::error::StoreError;
use super::refusals::Refusals;
use super::run::{Checkpoint, Counts, NewRun, Run, RunTotals, Status};
use super::sql::{ascii, without_nul};
use super::token;
use super::{Blame, blame};
use super::{again, reconcile};
use crate::policy::Window;

impl Store {
    /// Claims the partitions of a pipeline: continues its unfinished run, or begins a new one as
    /// `new_run` says. The unfinished run is the one that its checkpoints belong to, whatever the
    /// server's clock said when it began.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn begin(
        &self,
        pipeline: &str,
        partitions: &[String],
        new_run: NewRun,
    ) -> Result<Run, StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let connection = &mut *transaction;
        let number = pipeline_number(connection, pipeline).await?;
        let unfinished = sqlx::query(
            "update forebay.run set status = 'running', message = null, finished_at = null, starts = starts + 1
             where id = (select r.id from forebay.run r
                         where r.pipeline = $1 and r.status in ('running', 'failed', 'halted', 'interrupted')
                           and exists (select from forebay.checkpoint c where c.pipeline = $1 and c.run = r.id)
                         order by r.started_at desc, r.id desc limit 1)
             returning id, starts, greatest(0, extract(epoch from now() - started_at))::float8",
        )
        .bind(number)
        .fetch_optional(&mut *connection)
        .await?;
        let (id, starts, age): (Uuid, i32, f64) = match unfinished {
            Some(row) => (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?),
            None => {
                let id = Uuid::now_v7();
                reconcile::forget(connection, number).await?;
                sqlx::query(
                    "insert into forebay.run (id, pipeline, status, snapshot) values ($1, $2, 'running', not $3)",
                )
                .bind(id)
                .bind(number)
                .bind(new_run == NewRun::FromLastPosition)
                .execute(&mut *connection)
                .await?;
                (id, 1, 0.0)
            }
        };
        abandon(connection, number, Some(id)).await?;
        let gone = gone(connection, number, partitions).await?;
        let mut claimed = Vec::new();
        for partition in partitions {
            claimed.push(claim_partition(connection, number, partition, id, new_run).await?);
        }
        let waiting = again::waiting(connection, number).await?;
        let refused = Refusals::read(connection, number).await?;
        transaction.commit().await?;
        Ok(Run {
            id,
            pipeline: number,
            starts,
            age: Duration::try_from_secs_f64(age).unwrap_or_default(),
            partitions: claimed,
            gone,
            waiting,
            refused,
        })
    }

    /// The checkpoint of a claimed partition as it is now; `before` as it was when this host last
    /// moved it.
    ///
    /// # Errors
    /// If another host has claimed it since.
    pub async fn checkpoint(
        &self,
        run: &Run,
        before: &Checkpoint,
    ) -> Result<Checkpoint, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let row = sqlx::query(
            "select partition, epoch, position, sequence, rows, complete, recent from forebay.checkpoint
             where pipeline = $1 and partition = $2 and epoch = $3",
        )
        .bind(run.pipeline)
        .bind(&before.partition)
        .bind(before.epoch)
        .fetch_optional(&mut *connection)
        .await?;
        match row {
            Some(row) => Ok(checkpoint_from(&row)?),
            None => Err(claim(run, before).lost(&mut connection).await?),
        }
    }

    /// Marks a partition as read to its end, where it is as this host has left it.
    ///
    /// # Errors
    /// If another host has claimed the partition since, or the database has lost commits.
    pub async fn complete(&self, run: &Run, partition: &Checkpoint) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let done = sqlx::query(
            "update forebay.checkpoint set complete = true, updated_at = now()
             where pipeline = $1 and partition = $2 and epoch = $3 and sequence >= $4",
        )
        .bind(run.pipeline)
        .bind(&partition.partition)
        .bind(partition.epoch)
        .bind(partition.sequence)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Err(claim(run, partition).lost(&mut transaction).await?);
        }
        Ok(transaction.commit().await?)
    }

    /// Records how a run ended. Does nothing if another host has claimed it since.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn finish(
        &self,
        run: &Run,
        status: Status,
        message: Option<&str>,
    ) -> Result<(), StoreError> {
        match self.record_end(run, status, message.map(without_nul)).await {
            // A character that the database's encoding lacks.
            Err(error) if message.is_some() && blame(&error) == Blame::Refusal => {
                Ok(self.record_end(run, status, message.map(ascii)).await?)
            }
            ended => Ok(ended?),
        }
    }

    async fn record_end(
        &self,
        run: &Run,
        status: Status,
        message: Option<String>,
    ) -> Result<(), sqlx::Error> {
        let epochs: Vec<i64> = run
            .partitions
            .iter()
            .map(|partition| partition.epoch)
            .collect();
        let names: Vec<String> = run
            .partitions
            .iter()
            .map(|partition| partition.partition.clone())
            .collect();
        sqlx::query(
            "update forebay.run r set status = $2, message = $3, finished_at = now()
             where id = $1 and status = 'running' and not exists (
                 select from unnest($4::text[], $5::bigint[]) mine(partition, epoch)
                 join forebay.checkpoint c on c.pipeline = r.pipeline and c.partition = mine.partition
                 where c.epoch <> mine.epoch)",
        )
        .bind(run.id)
        .bind(status.as_str())
        .bind(message)
        .bind(names)
        .bind(epochs)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Totals of a run over all its starts.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn totals(&self, run: Uuid) -> Result<RunTotals, StoreError> {
        let row = sqlx::query(
            "select received, inserted, updated, unchanged, dropped, dead_lettered, chunks, bytes_received, deleted, resolved,
                 dropped_known
             from forebay.run where id = $1",
        )
        .bind(run)
        .fetch_one(&self.pool)
        .await?;
        let number = |index: usize| row.try_get::<i64, _>(index).map(i64::unsigned_abs);
        let rows = Counts {
            received: number(0)?,
            inserted: number(1)?,
            updated: number(2)?,
            unchanged: number(3)?,
            dropped: number(4)?,
            dead_lettered: number(5)?,
            deleted: number(8)?,
        };
        let (chunks, bytes_received, resolved) = (number(6)?, number(7)?, number(9)?);
        let codes = sqlx::query_as::<_, (String, String, String, i64)>(
            "select fate, stage, code, rows from forebay.run_code where run = $1 order by fate, stage, code",
        )
        .bind(run)
        .fetch_all(&self.pool)
        .await?
        .into_iter()
        .map(|(fate, stage, code, rows)| (fate, stage, code, rows.unsigned_abs()))
        .collect();
        Ok(RunTotals {
            rows,
            chunks,
            bytes_received,
            resolved,
            dropped_known: number(10)?,
            codes,
        })
    }

    /// The checkpoints of a pipeline, to be shown; empty if it never ran.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn checkpoints(&self, pipeline: &str) -> Result<Vec<Checkpoint>, StoreError> {
        let rows = sqlx::query(
            "select c.partition, c.epoch, c.position, c.sequence, c.rows, c.complete, c.recent
             from forebay.checkpoint c join forebay.pipeline p on p.id = c.pipeline
             where p.name = $1 order by c.partition",
        )
        .bind(pipeline)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(checkpoint_from).collect::<Result<_, _>>()?)
    }

    /// Time at which a run of a pipeline last succeeded, in seconds since 1970; `None` if none
    /// ever has.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn last_success(&self, pipeline: &str) -> Result<Option<i64>, StoreError> {
        let seconds = sqlx::query_scalar(
            "select extract(epoch from max(r.finished_at))::bigint
             from forebay.run r join forebay.pipeline p on p.id = r.pipeline
             where p.name = $1 and r.status = 'succeeded'",
        );
        Ok(seconds.bind(pipeline).fetch_one(&self.pool).await?)
    }

    /// Makes the next run of a pipeline begin at the start, and fences a host that runs it now.
    /// Returns the number of partitions.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn reset(&self, pipeline: &str) -> Result<u64, StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let number = pipeline_number(&mut transaction, pipeline).await?;
        abandon(&mut transaction, number, None).await?;
        let reset = sqlx::query(
            "update forebay.checkpoint
             set epoch = epoch + 1, run = null, position = '', sequence = 0, rows = 0, complete = false, recent = '{}',
                 updated_at = now()
             where pipeline = $1",
        )
        .bind(number)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(reset.rows_affected())
    }
}

impl Store {
    /// Removes everything about a pipeline from the schema `forebay`. Its tables stay.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn forget(&self, pipeline: &str) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let number = pipeline_number(&mut transaction, pipeline).await?;
        for statement in [
            "delete from forebay.outbox where pipeline = $1",
            "delete from forebay.dead_letter where pipeline = $1",
            "delete from forebay.checkpoint where pipeline = $1",
            "delete from forebay.digest where pipeline = $1",
            "delete from forebay.plugin_version where pipeline = $1",
            "delete from forebay.run where pipeline = $1",
            "delete from forebay.pipeline where id = $1",
        ] {
            sqlx::query(statement)
                .bind(number)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }
}

fn claim<'a>(run: &Run, partition: &'a Checkpoint) -> Claim<'a> {
    Claim {
        pipeline: run.pipeline,
        partition: &partition.partition,
        epoch: partition.epoch,
        sequence: partition.sequence,
    }
}

/// The number of a pipeline. Locks its row until the transaction ends, so claims and resets of a
/// pipeline happen one after the other. Locks its checkpoints as well, and before its run, in the
/// order of a commit: otherwise the two could wait for each other.
async fn pipeline_number(connection: &mut PgConnection, name: &str) -> Result<i32, sqlx::Error> {
    sqlx::query("insert into forebay.pipeline (name) values ($1) on conflict do nothing")
        .bind(name)
        .execute(&mut *connection)
        .await?;
    let number: i32 =
        sqlx::query_scalar("select id from forebay.pipeline where name = $1 for update")
            .bind(name)
            .fetch_one(&mut *connection)
            .await?;
    sqlx::query("select from forebay.checkpoint where pipeline = $1 order by partition for update")
        .bind(number)
        .execute(&mut *connection)
        .await?;
    Ok(number)
}

/// Ends the unfinished runs of a pipeline but for one. There are others only if the server's clock
/// was set back under an earlier version: a pipeline's checkpoints belong to one run.
async fn abandon(
    connection: &mut PgConnection,
    pipeline: i32,
    except: Option<Uuid>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update forebay.run set status = 'abandoned', finished_at = now()
         where pipeline = $1 and id is distinct from $2 and starts > 0
           and status in ('running', 'failed', 'halted', 'interrupted')",
    )
    .bind(pipeline)
    .bind(except)
    .execute(connection)
    .await?;
    Ok(())
}

/// The partitions of the last run, or of the unfinished one, that are not listed any more. They belong
/// to no run from now on.
async fn gone(
    connection: &mut PgConnection,
    pipeline: i32,
    listed: &[String],
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "update forebay.checkpoint set epoch = epoch + 1, run = null
         where pipeline = $1 and partition <> all($2) and run = (
             select run from forebay.checkpoint where pipeline = $1 and run is not null order by run desc limit 1)
         returning partition",
    )
    .bind(pipeline)
    .bind(listed)
    .fetch_all(connection)
    .await
}

/// Claims a partition: raises its epoch.
async fn claim_partition(
    connection: &mut PgConnection,
    pipeline: i32,
    partition: &str,
    run: Uuid,
    new_run: NewRun,
) -> Result<Checkpoint, sqlx::Error> {
    // A checkpoint of this very run is kept; one of an earlier run gives at most its position.
    let row = sqlx::query(
        "insert into forebay.checkpoint as c (pipeline, partition, run) values ($1, $2, $3)
         on conflict (pipeline, partition) do update set
             epoch = c.epoch + 1,
             run = $3,
             position = case when c.run = $3 or $4 then c.position else '' end,
             sequence = case when c.run = $3 then c.sequence else 0 end,
             rows = case when c.run = $3 then c.rows else 0 end,
             complete = c.run is not distinct from $3 and c.complete,
             updated_at = now()
         returning partition, epoch, position, sequence, rows, complete, recent",
    )
    .bind(pipeline)
    .bind(partition)
    .bind(run)
    .bind(new_run == NewRun::FromLastPosition)
    .fetch_one(connection)
    .await?;
    checkpoint_from(&row)
}

fn checkpoint_from(row: &sqlx::postgres::PgRow) -> Result<Checkpoint, sqlx::Error> {
    Ok(Checkpoint {
        partition: row.try_get(0)?,
        epoch: row.try_get(1)?,
        position: token::from_column(row.try_get(2)?),
        sequence: row.try_get(3)?,
        rows: row.try_get(4)?,
        complete: row.try_get(5)?,
        recent: Window::from_numbers(&row.try_get::<Vec<i64>, _>(6)?),
    })
}
