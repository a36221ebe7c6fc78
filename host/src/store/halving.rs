//! Halving in savepoints: finds the rows that the database refuses and keeps the others.
//!
//! One savepoint stands behind the work that is kept, and moves on with it. The left half of a
//! refused part is tried first, so rows are written in their order. A part is refused by an error
//! that [`blame`](super::blame) puts on a row; any other error ends the search.

use sqlx::PgConnection;

/// Maximum number of times that rows are tried again after they were refused only because of
/// rows that refer to them or that they refer to: in the next round those may be gone, or there.
pub(super) const REFERENCE_ROUNDS: usize = 8;

/// The parts that are still to be tried, the next one last.
pub(super) struct Halving<'r, T>(Vec<Part<'r, T>>);

struct Part<'r, T> {
    rows: &'r [T],
    /// The right half of a part that was refused, and its left half was not refused so far.
    is_right: bool,
}

impl<'r, T> Halving<'r, T> {
    /// Sets the savepoint; the first part is all of `rows`.
    pub(super) async fn of_all(
        connection: &mut PgConnection,
        rows: &'r [T],
    ) -> Result<Self, sqlx::Error> {
        Self::of_parts(connection, rows, rows.len()).await
    }

    /// Sets the savepoint; each row is a part: most of them will be refused.
    pub(super) async fn of_each(
        connection: &mut PgConnection,
        rows: &'r [T],
    ) -> Result<Self, sqlx::Error> {
        Self::of_parts(connection, rows, 1).await
    }

    async fn of_parts(
        connection: &mut PgConnection,
        rows: &'r [T],
        size: usize,
    ) -> Result<Self, sqlx::Error> {
        sqlx::query("savepoint halving").execute(connection).await?;
        let parts = rows.chunks(size.max(1)).rev();
        let part = |rows| Part {
            rows,
            is_right: false,
        };
        Ok(Self(parts.map(part).collect()))
    }

    /// The next part to try.
    pub(super) fn next(&mut self) -> Option<&'r [T]> {
        self.0.pop().map(|part| part.rows)
    }

    /// Keeps what was done for a part: moves the savepoint behind it, or releases it after the
    /// last part.
    pub(super) async fn keep(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.split_right();
        let statements = if self.0.is_empty() {
            "release savepoint halving"
        } else {
            "release savepoint halving; savepoint halving"
        };
        sqlx::raw_sql(statements).execute(connection).await?;
        Ok(())
    }

    /// Undoes a part that was refused. Returns its row if it has only one; otherwise its halves
    /// are the next parts.
    pub(super) async fn undo(
        &mut self,
        connection: &mut PgConnection,
        part: &'r [T],
    ) -> Result<Option<&'r T>, sqlx::Error> {
        sqlx::raw_sql("rollback to savepoint halving")
            .execute(connection)
            .await?;
        Ok(self.split(part))
    }

    fn split(&mut self, part: &'r [T]) -> Option<&'r T> {
        if let Some(right) = self.0.last_mut() {
            right.is_right = false;
        }
        if let [row] = part {
            return Some(row);
        }
        self.halve(part);
        None
    }

    /// What is right of a part that was kept would be refused as a whole, so it is split at once.
    fn split_right(&mut self) {
        if self.0.last().is_some_and(|part| part.is_right)
            && let Some(Part { rows, .. }) = self.0.pop()
        {
            self.halve(rows);
        }
    }

    /// The left half is the next part.
    fn halve(&mut self, rows: &'r [T]) {
        let (left, right) = rows.split_at(rows.len() / 2);
        let halves = [(right, !left.is_empty()), (left, false)];
        let halves = halves.into_iter().filter(|(rows, _)| !rows.is_empty());
        self.0
            .extend(halves.map(|(rows, is_right)| Part { rows, is_right }));
    }

    /// Releases the savepoint after a search that has only read, and so kept nothing.
    pub(super) async fn end(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query("release savepoint halving")
            .execute(connection)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows found alone and the parts that are kept, in their order.
    fn search(rows: &[u32], refused: &[u32]) -> (Vec<u32>, Vec<Vec<u32>>) {
        let (mut alone, mut kept) = (Vec::new(), Vec::new());
        let mut halving = Halving(vec![Part {
            rows,
            is_right: false,
        }]);
        while let Some(part) = halving.next() {
            assert!(!part.is_empty());
            if part.iter().any(|row| refused.contains(row)) {
                alone.extend(halving.split(part));
            } else {
                kept.push(part.to_vec());
                halving.split_right();
            }
        }
        (alone, kept)
    }

    #[test]
    fn refused_rows_are_found_alone_and_the_others_kept_in_order() {
        let rows: Vec<u32> = (0..8).collect();
        for refused in [&[][..], &[0], &[7], &[2, 3], &[0, 3, 4, 7]] {
            let (alone, kept) = search(&rows, refused);
            assert_eq!(alone, refused);
            let rest = rows.iter().copied().filter(|row| !refused.contains(row));
            assert_eq!(kept.concat(), rest.collect::<Vec<_>>());
        }
        assert_eq!(search(&rows, &[]).1, std::slice::from_ref(&rows));
        assert_eq!(search(&rows, &rows), (rows, Vec::new()));
    }
}
