//! Unique values that move from one row to another within a chunk.
//!
//! The server checks a unique index with each row that it writes, so a row can get a value only
//! after its holder has got another one. Rows that were refused for that are written again after
//! the others. The tables are asked which rows hold the values that other rows are to get, and these
//! are written first. Of rows that wait for each other in a circle one gives way: it is left without
//! its value for a moment, by a null or a value that nobody has. All of that is in savepoints.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::rollback::Rollback;
use super::rows::ChunkWriter;
use super::wave::{Attempted, Changed, Trial};
use crate::chunk::Prepared;
use crate::row::{Batch, Failure};
use crate::store::encode::ArrayParam;
use crate::store::statements::{INDEXES, UniqueIndex};
use crate::store::{Blame, blame};

/// Maximum number of times that rows are written again because one that had given way was refused.
const ATTEMPTS: usize = 8;

/// Name, keys, columns and condition of an index.
type IndexRow = (String, Vec<String>, Vec<String>, Option<String>);

/// A pair of rows: the first one is to get a value that the second one has.
type Wait = (u32, u32);

/// The order in which rows get their values.
#[derive(Debug, Default, PartialEq, Eq)]
struct Order {
    rows: Vec<u32>,
    /// Rows that give way before.
    giving: Vec<u32>,
}

/// What rows wait for.
#[derive(Debug, Default)]
struct Waits {
    pairs: Vec<Wait>,
    /// Rows whose value is held by a row that does not move.
    held: Vec<u32>,
}

impl Waits {
    /// Rows that cannot get their values: those whose value is held, and those that wait for such a
    /// row.
    fn in_vain(&self) -> HashSet<u32> {
        let mut waiters: HashMap<u32, Vec<u32>> = HashMap::new();
        for (waiter, holder) in &self.pairs {
            waiters.entry(*holder).or_default().push(*waiter);
        }
        let (mut rest, mut in_vain) = (self.held.clone(), HashSet::new());
        while let Some(row) = rest.pop() {
            if in_vain.insert(row) {
                rest.extend(waiters.remove(&row).unwrap_or_default());
            }
        }
        in_vain
    }
}

/// A unique value, or an exclusion.
fn is_taken(failure: &Failure) -> bool {
    matches!(&*failure.code, "SQL_23505" | "SQL_23P01")
}

impl ChunkWriter<'_> {
    /// Writes rows of a wave again that one table has refused because another row has their values,
    /// in the order in which they get these from each other. Returns those that stay refused.
    pub(super) async fn write_in_turn(
        &mut self,
        table: usize,
        prepared: &Prepared,
        wave: &Changed,
        refused: Vec<Failure>,
    ) -> Result<Vec<Failure>, Rollback> {
        let (mut taken, mut refused): (Vec<_>, Vec<_>) = refused.into_iter().partition(is_taken);
        if taken.is_empty() {
            return Ok(refused);
        }
        let indexes = self.unique_indexes(table).await?;
        let indexes = &*indexes;
        for attempt in 0..=ATTEMPTS {
            let rows: Vec<u32> = taken.iter().map(|failure| failure.row).collect();
            let waits = self.waits(table, indexes, &prepared.batch, &rows).await?;
            let held = waits.in_vain();
            let (held, moving): (Vec<_>, Vec<_>) = taken
                .into_iter()
                .partition(|failure| held.contains(&failure.row));
            refused.extend(held);
            if moving.is_empty() {
                break;
            }
            let rows: Vec<u32> = moving.iter().map(|failure| failure.row).collect();
            let mut order = order(&rows, &waits.pairs);
            if attempt == ATTEMPTS {
                order.giving.clear();
            }
            let (failures, undone) = self
                .try_order(table, prepared, wave, indexes, order)
                .await?;
            refused.extend(failures);
            if !undone {
                break;
            }
            let is_refused: HashSet<u32> = refused.iter().map(|failure| failure.row).collect();
            let rest = moving.into_iter();
            taken = rest
                .filter(|failure| !is_refused.contains(&failure.row))
                .collect();
        }
        Ok(refused)
    }

    /// Writes rows in an order, and returns those that are refused. True if all of it was undone,
    /// since a row that had given way was refused: it would be left without the value that it has
    /// to keep. Then only such rows are returned.
    async fn try_order(
        &mut self,
        table: usize,
        prepared: &Prepared,
        wave: &Changed,
        indexes: &[UniqueIndex],
        mut order: Order,
    ) -> Result<(Vec<Failure>, bool), Rollback> {
        sqlx::query("savepoint turns")
            .execute(&mut *self.transaction)
            .await?;
        if !self
            .give_way(table, indexes, &prepared.batch, &order.giving)
            .await?
        {
            order.giving.clear();
        }
        let ordered = Attempted {
            rows: &order.rows,
            trial: Trial::Together,
            kept: true,
        };
        let failures = self.search(table, prepared, wave, ordered).await?;
        let giving: HashSet<u32> = order.giving.into_iter().collect();
        let (without, others): (Vec<_>, Vec<_>) = failures
            .into_iter()
            .partition(|failure| giving.contains(&failure.row));
        let (failures, end, undone) = match without.is_empty() {
            true => (others, "release savepoint turns", false),
            false => (without, "rollback to savepoint turns", true),
        };
        sqlx::query(end).execute(&mut *self.transaction).await?;
        Ok((failures, undone))
    }

    /// The unique indexes of a table, besides those by which rows are found.
    pub(super) async fn unique_indexes(
        &mut self,
        table: usize,
    ) -> Result<Arc<[UniqueIndex]>, Rollback> {
        if let Some(indexes) = self.indexes.get(&table) {
            return Ok(Arc::clone(indexes));
        }
        let indexes: Arc<[UniqueIndex]> = self.read_indexes(table).await?.into();
        self.indexes.insert(table, Arc::clone(&indexes));
        Ok(indexes)
    }

    async fn read_indexes(&mut self, table: usize) -> Result<Vec<UniqueIndex>, Rollback> {
        let turns = self.statements.tables.get(table);
        let Some(turns) = turns.and_then(|table| table.turns.as_ref()) else {
            return Ok(Vec::new());
        };
        let found: Vec<IndexRow> = sqlx::query_as(INDEXES)
            .bind(&turns.table)
            .fetch_all(&mut *self.transaction)
            .await?;
        let indexes = found.into_iter();
        let indexes = indexes.map(|(name, keys, columns, predicate)| UniqueIndex {
            name,
            keys,
            columns,
            predicate,
        });
        Ok(indexes.filter(|index| !turns.is_key(index)).collect())
    }

    /// What rows wait for. An index whose expressions fail for some row tells nothing.
    async fn waits(
        &mut self,
        table: usize,
        indexes: &[UniqueIndex],
        batch: &Batch,
        rows: &[u32],
    ) -> Result<Waits, Rollback> {
        let mut waits = Waits::default();
        let statements = self.statements.tables.get(table);
        let Some((statements, turns)) = statements.and_then(|it| Some((it, it.turns.as_ref()?)))
        else {
            return Ok(waits);
        };
        for index in indexes {
            // Rows are joined with rows: connections are set up for look-ups of keys.
            sqlx::raw_sql("savepoint waits; set local enable_hashjoin = on")
                .execute(&mut *self.transaction)
                .await?;
            let mut query = sqlx::query_as(AssertSqlSafe(turns.waits(index)));
            for column in &statements.parameters {
                query = query.bind(ArrayParam {
                    batch,
                    rows,
                    column: *column,
                });
            }
            let found: Result<Vec<(i64, Option<i64>)>, _> =
                query.fetch_all(&mut *self.transaction).await;
            match found {
                Err(error) if blame(&error) == Blame::Server => return Err(error.into()),
                found => {
                    let row = |number: i64| {
                        let index = usize::try_from(number - 1).ok()?;
                        rows.get(index).copied()
                    };
                    for (waiter, holder) in found.unwrap_or_default() {
                        match (row(waiter), holder.and_then(row)) {
                            (Some(waiter), Some(holder)) => waits.pairs.push((waiter, holder)),
                            (Some(waiter), None) => waits.held.push(waiter),
                            (None, _) => {}
                        }
                    }
                }
            }
            sqlx::raw_sql("rollback to savepoint waits; release savepoint waits")
                .execute(&mut *self.transaction)
                .await?;
        }
        Ok(waits)
    }

    /// Takes the unique values away from rows; false if some index does not allow that.
    async fn give_way(
        &mut self,
        table: usize,
        indexes: &[UniqueIndex],
        batch: &Batch,
        rows: &[u32],
    ) -> Result<bool, Rollback> {
        let statements = self
            .statements
            .tables
            .get(table)
            .filter(|_| !rows.is_empty());
        let Some((statements, turns)) = statements.and_then(|it| Some((it, it.turns.as_ref()?)))
        else {
            return Ok(true);
        };
        sqlx::query("savepoint way")
            .execute(&mut *self.transaction)
            .await?;
        let mut given = true;
        for statement in indexes.iter().filter_map(|index| turns.give_way(index)) {
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for column in &statements.parameters {
                query = query.bind(ArrayParam {
                    batch,
                    rows,
                    column: *column,
                });
            }
            match query.execute(&mut *self.transaction).await {
                Ok(_) => {}
                Err(error) if blame(&error) == Blame::Server => return Err(error.into()),
                Err(_) => {
                    given = false;
                    break;
                }
            }
        }
        let end = match given {
            true => "release savepoint way",
            false => "rollback to savepoint way; release savepoint way",
        };
        sqlx::raw_sql(end).execute(&mut *self.transaction).await?;
        Ok(given)
    }
}

/// What a row waits for, and who waits for it.
#[derive(Default)]
struct Node {
    holders: Vec<u32>,
    waiters: Vec<u32>,
    /// Number of holders that still have their values.
    open: usize,
}

/// Puts holders before those that wait for them, and keeps the order of the rows otherwise. Of
/// each circle one row gives way.
fn order(rows: &[u32], waits: &[Wait]) -> Order {
    let mut nodes: HashMap<u32, Node> = rows.iter().map(|row| (*row, Node::default())).collect();
    for (waiter, holder) in waits {
        // Others are not written.
        if !nodes.contains_key(waiter) || !nodes.contains_key(holder) {
            continue;
        }
        if let Some(node) = nodes.get_mut(waiter) {
            node.holders.push(*holder);
            node.open += 1;
        }
        if let Some(node) = nodes.get_mut(holder) {
            node.waiters.push(*waiter);
        }
    }
    let is_free = |row: &u32| nodes.get(row).is_some_and(|node| node.open == 0);
    let mut ready: BTreeSet<u32> = rows.iter().copied().filter(is_free).collect();
    let (mut order, mut done, mut first) = (Order::default(), HashSet::new(), 0);
    let mut given = HashSet::new();
    loop {
        while let Some(row) = ready.pop_first() {
            done.insert(row);
            order.rows.push(row);
            release(&mut nodes, row, &mut ready);
        }
        while rows.get(first).is_some_and(|row| done.contains(row)) {
            first += 1;
        }
        let Some(start) = rows.get(first) else {
            return order;
        };
        let is_open = |row: &u32| !done.contains(row) && !given.contains(row);
        let row = in_circle(&nodes, *start, is_open);
        given.insert(row);
        order.giving.push(row);
        release(&mut nodes, row, &mut ready);
    }
}

/// A row of a circle: every open row waits for an open one, so following these leads into one.
fn in_circle(nodes: &HashMap<u32, Node>, start: u32, is_open: impl Fn(&u32) -> bool) -> u32 {
    let (mut seen, mut at) = (HashSet::new(), start);
    while seen.insert(at) {
        let holders = nodes.get(&at).map_or(&[][..], |node| &node.holders);
        match holders.iter().find(|row| is_open(row)) {
            Some(holder) => at = *holder,
            None => break,
        }
    }
    at
}

/// The values of a row are free.
fn release(nodes: &mut HashMap<u32, Node>, row: u32, ready: &mut BTreeSet<u32>) {
    let waiters = nodes
        .get_mut(&row)
        .map(|node| std::mem::take(&mut node.waiters));
    for waiter in waiters.unwrap_or_default() {
        if let Some(node) = nodes.get_mut(&waiter) {
            node.open = node.open.saturating_sub(1);
            if node.open == 0 {
                ready.insert(waiter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_come_first_and_circles_give_way() {
        let order = |rows: &[u32], waits: &[Wait]| {
            let Order { rows, giving } = order(rows, waits);
            (rows, giving)
        };
        assert_eq!(order(&[1, 2, 3], &[]), (vec![1, 2, 3], vec![]));
        // A chain, one of its links by two indexes.
        let chain = [(1, 2), (2, 3), (2, 3), (9, 7)];
        assert_eq!(
            order(&[1, 2, 3, 7, 9], &chain),
            (vec![3, 2, 1, 7, 9], vec![])
        );
        // A swap, with a row that waits for one of the two, and a circle of three.
        let swap = [(0, 1), (1, 2), (2, 1)];
        assert_eq!(order(&[0, 1, 2], &swap), (vec![0, 2, 1], vec![1]));
        let circle = [(1, 2), (2, 3), (3, 1)];
        assert_eq!(order(&[1, 2, 3], &circle), (vec![3, 2, 1], vec![1]));
        // What is not written cannot give way.
        assert_eq!(order(&[1, 2], &[(1, 9), (9, 1)]), (vec![1, 2], vec![]));
        let circles: Vec<Wait> = (0..20_000).map(|row| (row, row ^ 1)).collect();
        let rows: Vec<u32> = (0..20_000).collect();
        assert_eq!(order(&rows, &circles).1.len(), 10_000);
        let chain: Vec<Wait> = (0..20_000).map(|row| (row, row + 1)).collect();
        let rows: Vec<u32> = (0..=20_000).collect();
        assert_eq!(order(&rows, &chain).0.first(), Some(&20_000));
    }

    #[test]
    fn who_waits_for_a_row_that_stays_waits_in_vain() {
        let waits = Waits {
            pairs: vec![(1, 2), (2, 3), (4, 5), (6, 2), (3, 1)],
            held: vec![3, 3],
        };
        assert_eq!(waits.in_vain(), HashSet::from([1, 2, 3, 6]));
    }
}
