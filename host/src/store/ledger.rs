//! The ledger: the versions of its plugins that a pipeline has met, with their states.

use std::sync::Arc;

use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::sql::without_nul;
use super::{Store, StoreError};
use crate::plugin::{Chain, Comparison};
use crate::row::PluginId;

/// State of a version in a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In use for its first chunks.
    Canary,
    /// In use, and proven.
    Active,
    /// Runs beside the version in use, without effect.
    Shadow,
    /// Replaced by another version.
    Retired,
    /// Misbehaved and must not be used.
    Barred,
    /// Rejected before it was used.
    Refused,
}

impl State {
    const ALL: [Self; 6] = [
        Self::Canary,
        Self::Active,
        Self::Shadow,
        Self::Retired,
        Self::Barred,
        Self::Refused,
    ];

    /// The name in `forebay.plugin_version`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Active => "active",
            Self::Shadow => "shadow",
            Self::Retired => "retired",
            Self::Barred => "barred",
            Self::Refused => "refused",
        }
    }

    /// True if it processes chunks with effect.
    #[must_use]
    pub fn is_in_use(self) -> bool {
        matches!(self, Self::Canary | Self::Active)
    }
}

/// A change of a version's state.
#[derive(Clone, Debug)]
pub struct Note {
    /// The version.
    pub id: PluginId,
    /// The new state. A version in use retires the one before.
    pub state: State,
    /// Reason; may be empty.
    pub message: String,
}

impl Note {
    pub(crate) fn new(id: &PluginId, state: State, message: String) -> Self {
        Self {
            id: id.clone(),
            state,
            message,
        }
    }
}

/// A version in the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Known {
    /// Name of the plugin.
    pub name: String,
    /// Version that the plugin gives itself; empty if it could not be read.
    pub version: String,
    /// SHA-256 of its file.
    pub digest: String,
    /// Its state.
    pub state: State,
    /// Reason for the state; may be empty.
    pub message: String,
    /// Time of the last change of state, as RFC 3339.
    pub since: String,
    /// True if its promotion was requested.
    pub promoted: bool,
    /// True if it is the version to fall back to.
    pub last_good: bool,
    /// Number of rows that it has processed as a shadow.
    pub rows_compared: u64,
    /// Number of those rows with a different outcome.
    pub rows_different: u64,
}

impl Known {
    /// Name, version and digest.
    #[must_use]
    pub fn id(&self) -> PluginId {
        PluginId {
            name: self.name.clone(),
            version: self.version.clone(),
            digest: self.digest.clone(),
        }
    }
}

/// Rows for which a shadow has a different outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// Actual outcome.
    pub is: String,
    /// Outcome with the shadow.
    pub would_be: String,
    /// Number of rows.
    pub rows: u64,
    /// The key of one of them.
    pub sample: String,
}

impl Store {
    /// The versions that a pipeline has met, by name, newest first.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn plugin_versions(&self, pipeline: &str) -> Result<Vec<Known>, StoreError> {
        Ok(versions(&mut *self.pool.acquire().await?, pipeline).await?)
    }

    /// Records changes of versions, in this order. A version that is barred or in use does not become
    /// refused.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn note_plugins(&self, pipeline: &str, notes: &[Note]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        for Note { id, state, message } in notes {
            // One version is in use and one beside it; an earlier refusal no longer matters.
            let replaces: &[&str] = match state {
                State::Canary | State::Active => &["canary", "active", "refused"],
                State::Shadow => &["shadow"],
                State::Retired | State::Barred | State::Refused => &[],
            };
            sqlx::query(
                "update forebay.plugin_version v set state = 'retired', message = '', since = now()
                 from forebay.pipeline p
                 where p.id = v.pipeline and p.name = $1 and v.name = $2 and v.digest <> $3 and v.state = any ($4)",
            )
            .bind(pipeline)
            .bind(&id.name)
            .bind(&id.digest)
            .bind(replaces)
            .execute(&mut *transaction)
            .await?;
            sqlx::query(
                "insert into forebay.plugin_version as v (pipeline, name, digest, version, state, message, good_at)
                 select id, $2, $3, $4, $5, $6, case when $5 = 'active' then clock_timestamp() end
                 from forebay.pipeline where name = $1
                 on conflict (pipeline, name, digest) do update set
                     since = case when v.state = $5 then v.since else now() end,
                     promote = v.promote and not $7,
                     good_at = case $5 when 'active' then clock_timestamp() when 'barred' then null else v.good_at end,
                     version = coalesce(nullif($4, ''), v.version),
                     state = $5, message = $6, last_active = now()
                 where $5 <> 'refused' or v.state in ('refused', 'retired')",
            )
            .bind(pipeline)
            .bind(&id.name)
            .bind(&id.digest)
            .bind(&id.version)
            .bind(state.as_str())
            // The text may come from a file or a guest.
            .bind(without_nul(message))
            .bind(state.is_in_use())
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// The shadow of a plugin and its differences, the most rows first, from one snapshot; `None` if
    /// there is no shadow.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn plugin_differences(
        &self,
        pipeline: &str,
        name: &str,
    ) -> Result<Option<(Known, Vec<Differs>)>, StoreError> {
        let mut snapshot = self
            .pool
            .begin_with("begin isolation level repeatable read read only")
            .await?;
        let shadow = versions(&mut snapshot, pipeline).await?.into_iter();
        let Some(shadow) = shadow
            .filter(|known| known.name == name)
            .find(|known| known.state == State::Shadow)
        else {
            return Ok(None);
        };
        let rows = sqlx::query(
            "select d.is_now, d.would_be, d.rows, d.sample
             from forebay.plugin_difference d join forebay.pipeline p on p.id = d.pipeline
             where p.name = $1 and d.name = $2 and d.digest = $3 order by d.rows desc, 1, 2",
        )
        .bind(pipeline)
        .bind(name)
        .bind(&shadow.digest)
        .fetch_all(&mut *snapshot)
        .await?;
        let differs = |row: &PgRow| {
            Ok(Differs {
                is: row.try_get(0)?,
                would_be: row.try_get(1)?,
                rows: row.try_get::<i64, _>(2)?.unsigned_abs(),
                sample: row.try_get(3)?,
            })
        };
        let differences: Result<_, sqlx::Error> = rows.iter().map(differs).collect();
        Ok(Some((shadow, differences?)))
    }

    /// Requests that a shadow or a barred version be used. False if there is no such version.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn ask_promotion(
        &self,
        pipeline: &str,
        name: &str,
        digest: &str,
    ) -> Result<bool, StoreError> {
        let asked = sqlx::query(
            "update forebay.plugin_version v set promote = true from forebay.pipeline p
             where p.id = v.pipeline and p.name = $1 and v.name = $2 and v.digest = $3
               and v.state in ('shadow', 'barred')",
        )
        .bind(pipeline)
        .bind(name)
        .bind(digest)
        .execute(&self.pool)
        .await?;
        Ok(asked.rows_affected() > 0)
    }

    /// Names and digests of the versions whose promotion was requested.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn promotions(&self, pipeline: &str) -> Result<Vec<(String, String)>, StoreError> {
        Ok(sqlx::query_as(
            "select v.name, v.digest from forebay.plugin_version v
             join forebay.pipeline p on p.id = v.pipeline
             where p.name = $1 and v.promote",
        )
        .bind(pipeline)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Withdraws the request to promote a version, since it was handled.
    ///
    /// # Errors
    /// If a query fails.
    pub async fn promoted(
        &self,
        pipeline: &str,
        name: &str,
        digest: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "update forebay.plugin_version v set promote = false from forebay.pipeline p
             where p.id = v.pipeline and p.name = $1 and v.name = $2 and v.digest = $3",
        )
        .bind(pipeline)
        .bind(name)
        .bind(digest)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

async fn versions(
    connection: &mut PgConnection,
    pipeline: &str,
) -> Result<Vec<Known>, sqlx::Error> {
    let rows = sqlx::query(
        "select v.name, v.version, v.digest, v.state, v.message,
             to_char(v.since at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), v.promote,
             coalesce(v.good_at = max(v.good_at) over (partition by v.name), false), v.rows_compared,
             coalesce((select sum(d.rows)::bigint from forebay.plugin_difference d
                 where (d.pipeline, d.name, d.digest) = (v.pipeline, v.name, v.digest)), 0)
         from forebay.plugin_version v join forebay.pipeline p on p.id = v.pipeline
         where p.name = $1 order by v.name, v.since desc, v.digest",
    )
    .bind(pipeline)
    .fetch_all(connection)
    .await?;
    rows.iter().map(known).collect()
}

fn known(row: &PgRow) -> Result<Known, sqlx::Error> {
    let state: String = row.try_get(3)?;
    let state = State::ALL
        .into_iter()
        .find(|known| known.as_str() == state)
        .ok_or_else(|| {
            sqlx::Error::Decode(
                format!("`{state}` is not a valid state of a plugin version").into(),
            )
        })?;
    Ok(Known {
        name: row.try_get(0)?,
        version: row.try_get(1)?,
        digest: row.try_get(2)?,
        state,
        message: row.try_get(4)?,
        since: row.try_get(5)?,
        promoted: row.try_get(6)?,
        last_good: row.try_get(7)?,
        rows_compared: row.try_get::<i64, _>(8)?.unsigned_abs(),
        rows_different: row.try_get::<i64, _>(9)?.unsigned_abs(),
    })
}

/// Adds the versions that a chunk has met, in its transaction, if they are not in the ledger yet.
pub(super) async fn note_met(
    connection: &mut PgConnection,
    pipeline: i32,
    chain: &Arc<Chain>,
) -> Result<(), sqlx::Error> {
    for id in chain.ids() {
        sqlx::query(
            "insert into forebay.plugin_version (pipeline, name, digest, version, state)
             values ($1, $2, $3, $4, 'canary') on conflict do nothing",
        )
        .bind(pipeline)
        .bind(&id.name)
        .bind(&id.digest)
        .bind(&id.version)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Adds the differences that shadows had in a chunk to those of earlier chunks.
pub(super) async fn add_differences(
    connection: &mut PgConnection,
    pipeline: i32,
    comparisons: &[Comparison],
) -> Result<(), sqlx::Error> {
    for comparison in comparisons
        .iter()
        .filter(|comparison| comparison.broken.is_none())
    {
        let id = &comparison.plugin;
        sqlx::query(
            "insert into forebay.plugin_version as v (pipeline, name, digest, version, state, rows_compared)
             values ($1, $2, $3, $4, 'shadow', $5)
             on conflict (pipeline, name, digest) do update set rows_compared = v.rows_compared + $5",
        )
        .bind(pipeline)
        .bind(&id.name)
        .bind(&id.digest)
        .bind(&id.version)
        .bind(i64::try_from(comparison.rows).unwrap_or(i64::MAX))
        .execute(&mut *connection)
        .await?;
        for differs in &comparison.differences {
            sqlx::query(
                "insert into forebay.plugin_difference as d (pipeline, name, digest, is_now, would_be, rows, sample)
                 values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict (pipeline, name, digest, is_now, would_be)
                 do update set rows = d.rows + $6, sample = $7",
            )
            .bind(pipeline)
            .bind(&id.name)
            .bind(&id.digest)
            .bind(&differs.is)
            .bind(&differs.would_be)
            .bind(i64::try_from(differs.rows).unwrap_or(i64::MAX))
            .bind(&differs.sample)
            .execute(&mut *connection)
            .await?;
        }
    }
    Ok(())
}
