//! Runs of feeds, which may not come to an end: they roll over, and release notifications on the way.
//!
//! A run that rolls over ends as one that is complete does, but its partitions stay claimed, and the
//! next run begins in the transaction that closes it.

use std::convert::Infallible;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::prepare::Pipeline;
use crate::error::PipelineError;
use crate::partition::RollOver;
use crate::store::StoreError;
use crate::store::run::{Run, Status};
use crate::{config, failpoints, notify};

/// Time between two releases of notifications, unless it is configured.
const NOTIFY_EVERY: Duration = Duration::from_secs(30);

impl Pipeline {
    /// When a run rolls over: never, if it has to read the whole dataset.
    pub(super) fn roll_over(&self, run: &Run, stop: &CancellationToken) -> RollOver {
        let limits = self.config.roll_over.unwrap_or_default();
        let rows = run.partitions.iter().map(|it| it.rows.unsigned_abs()).sum();
        let limits = self.dataset.continues.then_some(limits);
        RollOver::new(limits, (run.age, rows), stop)
    }

    /// True if a run is to be followed by another although it has not come to its end.
    pub(super) async fn rolls_over(
        &self,
        run: &Run,
        roll_over: &RollOver,
        ended: &Result<(), PipelineError>,
        stop: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let has_read = match ended {
            Ok(()) => true,
            Err(error) => error.status(false) == Status::HeldBack,
        };
        let due = has_read && roll_over.is_due() && !stop.is_cancelled();
        Ok(due && !self.all_complete(run).await?)
    }

    /// Closes a run, and begins the next one.
    pub(super) async fn begin_next(
        &self,
        run: &Run,
        status: Status,
        message: Option<&str>,
    ) -> Result<Run, PipelineError> {
        let (store, id) = (&self.host.store, Uuid::now_v7());
        failpoints::point!("roll_over.before");
        let next = self
            .host
            .retrying(|| store.roll_over(run, id, status, message))
            .await?;
        failpoints::point!("roll_over.after");
        let pipeline = &self.config.name;
        tracing::info!(pipeline, run = %run.id, next = %next.id, "run rolled over");
        Ok(next)
    }

    /// Releases notifications as long as a feed runs. Never returns. While an index is away nobody is
    /// told: searches would be slow.
    pub(super) async fn notify_on_the_way(
        &self,
        run: &Run,
        stop: &CancellationToken,
    ) -> Infallible {
        let notify = self.config.notify.as_ref();
        let is_kept = self.config.index == config::IndexMode::Keep;
        let Some(notify) = notify.filter(|_| self.dataset.continues && is_kept) else {
            return std::future::pending().await;
        };
        let (store, name) = (&self.host.store, &self.config.name);
        loop {
            tokio::time::sleep(notify.every.unwrap_or(NOTIFY_EVERY)).await;
            if let Err(error) = notify::deliver(store, name, run, Some(notify), stop).await {
                tracing::warn!(pipeline = name, %error, "cannot see what notifications are owed");
            }
        }
    }
}
