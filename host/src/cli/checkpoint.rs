//! `forebay checkpoint show|reset`

use super::output::table;
use super::{Exit, Global, UsageError, print_json, session};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Checkpoint {
    /// Show how far a pipeline has come
    Show {
        /// Name of the pipeline
        pipeline: String,
    },
    /// Make the next run begin from the start
    ///
    /// A host that runs the pipeline now is fenced off. Rows that are in the tables stay, and
    /// count as unchanged when they come again.
    Reset {
        /// Name of the pipeline
        pipeline: String,
    },
}

impl Checkpoint {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        session::with_database(global, config.as_ref(), async |database| {
            self.with(global, database).await
        })
        .await
    }

    async fn with(&self, global: &Global, database: &session::Database) -> anyhow::Result<Exit> {
        match self {
            Self::Show { pipeline } => {
                let checkpoints = database.store.checkpoints(pipeline).await?;
                if global.json {
                    print_json(&checkpoints)?;
                    return Ok(Exit::Done);
                }
                if checkpoints.is_empty() {
                    println!("{pipeline} has not run yet");
                    return Ok(Exit::Done);
                }
                let mut table = table([
                    "partition",
                    "position",
                    "chunks",
                    "rows",
                    "complete",
                    "epoch",
                ]);
                for checkpoint in checkpoints {
                    table.add_row([
                        if checkpoint.partition.is_empty() {
                            "(only one)".into()
                        } else {
                            checkpoint.partition
                        },
                        checkpoint.position,
                        checkpoint.sequence.to_string(),
                        checkpoint.rows.to_string(),
                        checkpoint.complete.to_string(),
                        checkpoint.epoch.to_string(),
                    ]);
                }
                println!("{table}");
            }
            Self::Reset { pipeline } => {
                if database.store.checkpoints(pipeline).await?.is_empty() {
                    return Err(UsageError(format!("pipeline `{pipeline}` has not run yet")).into());
                }
                let partitions = database.store.reset(pipeline).await?;
                if global.json {
                    print_json(
                        &serde_json::json!({ "pipeline": pipeline, "partitions": partitions }),
                    )?;
                } else {
                    println!(
                        "{pipeline}: the next run begins from the start ({partitions} partitions)"
                    );
                }
            }
        }
        Ok(Exit::Done)
    }
}
