//! Removes or flags the rows that were found missing, in small transactions.

use sqlx::PgConnection;
use uuid::Uuid;

use super::fence_complete;
use crate::failpoints;
use crate::plugin::head;
use crate::route::Targets;
use crate::route::absent::{FLAGGED, Treatment};
use crate::store::by_key::ByKey;
use crate::store::message::described;
use crate::store::run::Run;
use crate::store::{Blame, Store, StoreError, blame, digest};

/// Maximum number of rows in one transaction.
const BATCH_ROWS: i64 = 1_000;

impl Store {
    /// Removes or flags some of the rows that were found missing; false if there are none left.
    ///
    /// # Errors
    /// If another host has claimed the run since, or a query fails.
    pub async fn treat_missing(
        &self,
        run: &Run,
        targets: &Targets,
        notify: Option<&str>,
    ) -> Result<bool, StoreError> {
        match self
            .treat_some(run, targets, notify, Constraints::Deferred)
            .await
        {
            // A deferred constraint is checked by the commit, which names no row.
            Err(Untreated::Row) => match self
                .treat_some(run, targets, notify, Constraints::Immediate)
                .await
            {
                Err(Untreated::Row) => Err(StoreError::Failed(
                    "a row was refused at commit, but by no statement before it".into(),
                )),
                Err(Untreated::Error(error)) => Err(error),
                Ok(more) => Ok(more),
            },
            Err(Untreated::Error(error)) => Err(error),
            Ok(more) => Ok(more),
        }
    }

    async fn treat_some(
        &self,
        run: &Run,
        targets: &Targets,
        notify: Option<&str>,
        constraints: Constraints,
    ) -> Result<bool, Untreated> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let connection = &mut *transaction;
        let keys: Vec<String> = sqlx::query_scalar(
            "select key from forebay.missing_key where run = $1 order by key limit $2",
        )
        .bind(run.id)
        .bind(BATCH_ROWS)
        .fetch_all(&mut *connection)
        .await?;
        if keys.is_empty() {
            return Ok(false);
        }
        if constraints == Constraints::Immediate {
            sqlx::query("set constraints all immediate")
                .execute(&mut *connection)
                .await?;
        }
        let treated = treat(connection, run, targets, &keys).await?;
        failpoints::point!("missing.treated");
        fence_complete(connection, run).await?;
        note(connection, run, &treated, notify).await?;
        transaction
            .commit()
            .await
            .map_err(|error| match blame(&error) {
                Blame::Refusal => Untreated::Row,
                Blame::Server => error.into(),
            })?;
        failpoints::point!("missing.committed");
        Ok(true)
    }
}

/// When constraints that can be deferred are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Constraints {
    /// By the commit, if they are declared so.
    Deferred,
    /// By each statement.
    Immediate,
}

/// Why a transaction was rolled back.
enum Untreated {
    /// The commit failed because of a row.
    Row,
    /// Anything else.
    Error(StoreError),
}

impl<E: Into<StoreError>> From<E> for Untreated {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Outcome for the rows of one transaction.
struct Treated<'k> {
    keys: &'k [String],
    removed: i64,
    flagged: i64,
    /// A message about the first row that the database refused, and the number of these rows.
    refused: Option<(String, i64)>,
}

/// Removes or flags rows, except for those that the database refuses.
async fn treat<'k>(
    connection: &mut PgConnection,
    run: &Run,
    targets: &Targets,
    keys: &'k [String],
) -> Result<Treated<'k>, sqlx::Error> {
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let statements = match &targets.missing.treatment {
        Treatment::Keep => ByKey::default(),
        Treatment::Remove => ByKey::delete(targets),
        Treatment::Flag(flags) => ByKey::flag(targets, flags),
    };
    let applied = statements.apply_to_most(connection, &names).await?;
    let is_refused = |index: usize| {
        let position = applied.refused.binary_search_by_key(&index, |(it, _)| *it);
        position.is_ok()
    };
    let done = names.iter().enumerate();
    let done = done.filter(|(index, _)| !is_refused(*index));
    let done: Vec<&str> = done.map(|(_, name)| *name).collect();
    match targets.missing.treatment {
        Treatment::Keep => {}
        Treatment::Remove => digest::forget(connection, run.pipeline, &done).await?,
        // The changed digest makes a row that comes back be written and unflagged.
        Treatment::Flag(_) => digest::set_all(connection, run.pipeline, &done, FLAGGED).await?,
    }
    let found = applied.found.len() as i64;
    let first = applied.refused.first();
    let (removed, flagged, verb) = match targets.missing.treatment {
        Treatment::Keep => (0, 0, "keep"),
        Treatment::Remove => (found, 0, "remove"),
        Treatment::Flag(_) => (0, found, "flag"),
    };
    Ok(Treated {
        keys,
        removed,
        flagged,
        refused: first.map(|(index, error)| {
            let key = names.get(*index).copied().unwrap_or_default();
            let message = described(error);
            let message = head(&message, 500);
            let first = format!("the database refused to {verb} `{key}`: {message}");
            (first, applied.refused.len() as i64)
        }),
    })
}

/// Takes the rows off the list, counts them by outcome, and records that a notification is owed.
async fn note(
    connection: &mut PgConnection,
    run: &Run,
    treated: &Treated<'_>,
    notify: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with done as (
             delete from forebay.missing_key m using pg_catalog.unnest($2::text[]) k(key)
             where m.run = $1 and m.key = k.key collate \"C\"),
         owed as (
             insert into forebay.outbox as o (id, pipeline, run, target, changed_rows)
             select $3, pipeline, $1, $4, $5 + $6 from forebay.run
             where id = $1 and $4::text is not null and $5 + $6 > 0
             on conflict (run, target) where released_at is null do update
             set changed_rows = o.changed_rows + excluded.changed_rows)
         update forebay.run set removed = removed + $5, flagged = flagged + $6, kept = kept + $7,
             missing_note = coalesce(missing_note, $8)
         where id = $1",
    )
    .bind(run.id)
    .bind(treated.keys)
    .bind(Uuid::now_v7())
    .bind(notify)
    .bind(treated.removed)
    .bind(treated.flagged)
    .bind(treated.refused.as_ref().map_or(0, |(_, count)| *count))
    .bind(treated.refused.as_ref().map(|(first, _)| first))
    .execute(connection)
    .await?;
    Ok(())
}
