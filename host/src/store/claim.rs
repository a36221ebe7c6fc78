//! Why a checkpoint is not as its host has left it.

use sqlx::PgConnection;

use super::error::{Behind, StoreError};

/// A claimed partition as its host knows it.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub pipeline: i32,
    pub partition: &'a str,
    pub epoch: i64,
    /// Chunks of the run that the server has confirmed.
    pub sequence: i64,
}

impl Claim<'_> {
    /// What has become of the claim, if the checkpoint was not found as it should be.
    ///
    /// # Errors
    /// If the query fails.
    pub(super) async fn lost(
        &self,
        connection: &mut PgConnection,
    ) -> Result<StoreError, sqlx::Error> {
        let found: Option<(i64, i64)> = sqlx::query_as(
            "select epoch, sequence from forebay.checkpoint where pipeline = $1 and partition = $2",
        )
        .bind(self.pipeline)
        .bind(self.partition)
        .fetch_optional(connection)
        .await?;
        let partition = self.partition.to_owned();
        Ok(match found {
            Some((epoch, found)) if epoch == self.epoch && found < self.sequence => {
                StoreError::Behind(Behind {
                    partition,
                    committed: self.sequence,
                    found,
                })
            }
            Some((epoch, _)) if epoch >= self.epoch => StoreError::Fenced(partition),
            _ => older(&partition),
        })
    }
}

/// The database is an older copy, from before the run was begun or continued.
fn older(partition: &str) -> StoreError {
    let message = format!(
        "the database is an older copy: it does not know that this host has claimed the partition \
         `{partition}`; it was restored, or a failover has lost the latest commits\n  hint: the next \
         start goes on from the positions in the database, and receives again what came after them"
    );
    StoreError::Failed(message.into())
}

/// A partition was read to its end, and is not any more.
pub(super) fn unread(partition: &str) -> StoreError {
    let message = format!(
        "the database is behind what this host has committed: the partition `{partition}` is not read \
         to its end any more; a failover has lost the latest commits, or the database is a restored \
         copy\n  hint: the next start goes on from the position in the database"
    );
    StoreError::Failed(message.into())
}
