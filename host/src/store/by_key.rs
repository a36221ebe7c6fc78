//! Statements that delete, flag or unflag rows of the target tables by their keys.
//!
//! Keys are given as texts, and are cast to the type of the
//! tables' key, so that each costs one index look-up. A key that the database refuses is found by
//! halving in savepoints and does not affect the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, PgConnection};

use super::halving::{Halving, REFERENCE_ROUNDS};
use super::sql::quote;
use super::{Blame, blame};
use crate::route::absent::{Flag, FlagKind};
use crate::route::{ColumnKind, Target, Targets};

/// One statement for each table, carried out in this order: `$1` keys → positions, from 1 on, of
/// the keys for which it changed something.
#[derive(Debug, Clone, Default)]
pub(super) struct ByKey(Vec<Arc<str>>);

/// Outcome for each key, by its index.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Keys for which some table was changed.
    pub found: BTreeSet<usize>,
    /// Keys that the database refuses, in their order.
    pub refused: Vec<(usize, sqlx::Error)>,
}

impl ByKey {
    /// Deletes rows from all tables, those that refer to others first.
    pub(super) fn delete(targets: &Targets) -> Self {
        let delete = |target: &Target| {
            Some(format!(
                "delete from {} t using {KEYS}\nwhere {}\nreturning k.position",
                target.table.quoted,
                is_key(target)?
            ))
        };
        Self(
            targets
                .tables
                .iter()
                .rev()
                .filter_map(delete)
                .map(Arc::from)
                .collect(),
        )
    }

    /// Finds rows, and changes nothing.
    pub(super) fn find(targets: &Targets) -> Self {
        let find = |target: &Target| {
            Some(format!(
                "select k.position from {} t, {KEYS} where {}",
                target.table.quoted,
                is_key(target)?
            ))
        };
        let tables = targets.tables.iter();
        Self(tables.filter_map(find).map(Arc::from).collect())
    }

    /// Flags rows that are not flagged yet.
    pub(super) fn flag(targets: &Targets, flags: &[Flag]) -> Self {
        Self::update(targets, flags, |flag, column| match flag.kind {
            FlagKind::Boolean => (
                format!("{column} = true"),
                format!("t.{column} is not true"),
            ),
            FlagKind::Time => (format!("{column} = now()"), format!("t.{column} is null")),
        })
    }

    /// Unflags rows that are flagged.
    pub(super) fn unflag(targets: &Targets, flags: &[Flag]) -> Self {
        Self::update(targets, flags, |flag, column| match flag.kind {
            FlagKind::Boolean => (format!("{column} = false"), format!("t.{column}")),
            FlagKind::Time => (
                format!("{column} = null"),
                format!("t.{column} is not null"),
            ),
        })
    }

    /// `change` returns the assignment and the condition for a flag and its quoted column.
    fn update(
        targets: &Targets,
        flags: &[Flag],
        change: impl Fn(&Flag, &str) -> (String, String),
    ) -> Self {
        let update = |target: &Target| {
            let flag = flags
                .iter()
                .find(|flag| flag.table == target.table.quoted)?;
            let (set, condition) = change(flag, &quote(&flag.column));
            let touched = target
                .touched
                .iter()
                .map(|name| format!("{} = now()", quote(name)));
            let sets: Vec<String> = [set].into_iter().chain(touched).collect();
            Some(format!(
                "update {} t set {} from {KEYS}\nwhere {} and {condition}\nreturning k.position",
                target.table.quoted,
                sets.join(", "),
                is_key(target)?
            ))
        };
        Self(
            targets
                .tables
                .iter()
                .filter_map(update)
                .map(Arc::from)
                .collect(),
        )
    }

    /// Carries the statements out for all keys; fails if one is refused.
    pub(super) async fn apply(
        &self,
        connection: &mut PgConnection,
        keys: &[&str],
    ) -> Result<BTreeSet<usize>, sqlx::Error> {
        let mut found = BTreeSet::new();
        for statement in &self.0 {
            let positions: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(Arc::clone(statement)))
                .bind(keys)
                .fetch_all(&mut *connection)
                .await?;
            let indices = positions.into_iter();
            found.extend(indices.filter_map(|position| usize::try_from(position - 1).ok()));
        }
        Ok(found)
    }

    /// Carries the statements out for all keys except those that the database refuses. Must run
    /// within a transaction.
    pub(super) async fn apply_to_most(
        &self,
        connection: &mut PgConnection,
        keys: &[&str],
    ) -> Result<Applied, sqlx::Error> {
        let all: Vec<usize> = (0..keys.len()).collect();
        let mut applied = self.halve(connection, keys, &all).await?;
        for _ in 0..REFERENCE_ROUNDS {
            let (referred, refused): (Vec<_>, Vec<_>) = applied
                .refused
                .into_iter()
                .partition(|(_, error)| is_referred_to(error));
            applied.refused = refused;
            let again: Vec<usize> = referred.iter().map(|(index, _)| *index).collect();
            if again.is_empty() || again.len() == keys.len() {
                applied.refused.extend(referred);
                break;
            }
            let more = self.halve(connection, keys, &again).await?;
            let is_all = more.refused.len() == again.len();
            applied.found.extend(more.found);
            applied.refused.extend(more.refused);
            if is_all {
                break;
            }
        }
        applied.refused.sort_unstable_by_key(|(index, _)| *index);
        Ok(applied)
    }

    /// Carries the statements out for the keys of `indices`, except for those that are refused.
    async fn halve(
        &self,
        connection: &mut PgConnection,
        keys: &[&str],
        indices: &[usize],
    ) -> Result<Applied, sqlx::Error> {
        let mut applied = Applied::default();
        let mut halving = Halving::of_all(connection, indices).await?;
        while let Some(part) = halving.next() {
            let some: Vec<&str> = part
                .iter()
                .filter_map(|index| keys.get(*index).copied())
                .collect();
            match self.apply(connection, &some).await {
                Ok(found) => {
                    let found = found.into_iter();
                    let found = found.filter_map(|index| part.get(index).copied());
                    applied.found.extend(found);
                    halving.keep(connection).await?;
                }
                Err(error) if blame(&error) == Blame::Refusal => {
                    let alone = halving.undo(connection, part).await?;
                    if part.len() == keys.len() {
                        // What is refused without a key as well is refused for any.
                        self.apply(connection, &[]).await?;
                    }
                    applied.refused.extend(alone.map(|index| (*index, error)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(applied)
    }
}

const KEYS: &str = "pg_catalog.unnest($1::text[]) with ordinality k(key, position)";

/// The condition that a row has the key. `None` for a table whose rows are not found by the key
/// alone, for which no statement is made.
fn is_key(target: &Target) -> Option<String> {
    let key = target.whole_key()?;
    // A text is not cast: `character` without a length would cut it off.
    let cast = match key.kind {
        ColumnKind::Text => String::new(),
        _ => format!("::{}", key.column.type_sql),
    };
    Some(format!(
        "t.{} {} k.key{cast}",
        quote(&key.column.name),
        key.column.equals
    ))
}

/// Foreign key violation, and restrict violation.
fn is_referred_to(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("23503" | "23001"))
}
