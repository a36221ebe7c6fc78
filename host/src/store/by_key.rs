//! Statements that find rows of the target tables by their keys: to delete them, to flag them, to
//! take the flag back.
//!
//! Keys are given as texts, as `forebay.row_digest` has them, and are cast to the type of the
//! tables' key, so that each costs a look into an index. One that the database refuses is found by
//! halving in savepoints; the others are done nevertheless.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, PgConnection};

use super::statements::quote;
use super::{Blame, blame};
use crate::route::absent::{Flag, FlagKind};
use crate::route::{ColumnKind, Target, Targets};

/// How often rows are tried again that only others refer to: those may go as well.
const REFERENCE_ROUNDS: usize = 8;

/// One statement for each table, carried out in this order: `$1` keys → positions, from 1 on, of
/// the keys for which it has done something.
#[derive(Debug, Clone, Default)]
pub(super) struct ByKey(Vec<Arc<str>>);

/// What became of keys, by their index.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Those for which something was done in some table.
    pub found: BTreeSet<usize>,
    /// Those that the database refuses, in their order.
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

    /// Takes flags back from rows that have them.
    pub(super) fn unflag(targets: &Targets, flags: &[Flag]) -> Self {
        Self::update(targets, flags, |flag, column| match flag.kind {
            FlagKind::Boolean => (format!("{column} = false"), format!("t.{column}")),
            FlagKind::Time => (
                format!("{column} = null"),
                format!("t.{column} is not null"),
            ),
        })
    }

    /// `change` says what to set and where.
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

    /// Carries the statements out for all keys, or fails.
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

    /// Carries the statements out for all keys but those that the database refuses. Within a
    /// transaction.
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

    /// Halves keys until those that are refused are alone. One savepoint stands behind what is
    /// done, and moves on with it.
    async fn halve(
        &self,
        connection: &mut PgConnection,
        keys: &[&str],
        indices: &[usize],
    ) -> Result<Applied, sqlx::Error> {
        let mut applied = Applied::default();
        let mut waiting = vec![indices];
        sqlx::query("savepoint keyed")
            .execute(&mut *connection)
            .await?;
        while let Some(part) = waiting.pop() {
            let some: Vec<&str> = part
                .iter()
                .filter_map(|index| keys.get(*index).copied())
                .collect();
            let moved = match self.apply(connection, &some).await {
                Ok(found) => {
                    let found = found.into_iter();
                    let found = found.filter_map(|index| part.get(index).copied());
                    applied.found.extend(found);
                    if waiting.is_empty() {
                        "release savepoint keyed"
                    } else {
                        "release savepoint keyed; savepoint keyed"
                    }
                }
                Err(error) if blame(&error) == Blame::Row => {
                    match part {
                        [index] => applied.refused.push((*index, error)),
                        part => {
                            let (left, right) = part.split_at(part.len() / 2);
                            waiting.extend([right, left]);
                        }
                    }
                    "rollback to savepoint keyed"
                }
                Err(error) => return Err(error),
            };
            sqlx::raw_sql(moved).execute(&mut *connection).await?;
        }
        Ok(applied)
    }
}

const KEYS: &str = "unnest($1::text[]) with ordinality k(key, position)";

/// The condition that a row has the key. None where its key alone does not find it: nothing is
/// ever asked then.
fn is_key(target: &Target) -> Option<String> {
    let key = target.whole_key()?;
    // A text is not cast: to `character` without a length it would be cut off.
    let cast = match key.kind {
        ColumnKind::Text => String::new(),
        _ => format!("::{}", key.column.type_sql),
    };
    Some(format!("t.{} = k.key{cast}", quote(&key.column.name)))
}

/// Foreign key violation, and restrict violation.
fn is_referred_to(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("23503" | "23001"))
}
