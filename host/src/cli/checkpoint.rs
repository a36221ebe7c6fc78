//! `forebay checkpoint show|reset`

use super::exit::{Exit, UsageError};
use super::global::Global;
use super::output::{print_json, thousands};
use super::session;
use super::table::{Column, Table};
use super::words;
use crate::store::run;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Checkpoint {
    /// Show the checkpoints of a pipeline
    Show {
        /// Name of the pipeline
        pipeline: String,
    },
    /// Make the next run start from the beginning
    ///
    /// A host that is running the pipeline is fenced off. Rows in the tables stay, and count as
    /// unchanged when they are received again.
    Reset {
        /// Name of the pipeline
        pipeline: String,
    },
}

impl Checkpoint {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        session::with_database(global, config.as_ref(), async |database| {
            let (Self::Show { pipeline } | Self::Reset { pipeline }) = self;
            words::known_pipeline(pipeline, config.as_ref(), database).await?;
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
                println!("{}", table(&checkpoints));
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
                        "{pipeline}: the next run starts from the beginning ({partitions} partitions)"
                    );
                }
            }
        }
        Ok(Exit::Done)
    }
}

fn table(checkpoints: &[run::Checkpoint]) -> Table<6> {
    let mut table = Table::new([
        Column::name("partition"),
        Column::text("position"),
        Column::number("chunks"),
        Column::number("rows"),
        Column::name("complete"),
        Column::number("epoch"),
    ]);
    for checkpoint in checkpoints {
        let partition = match checkpoint.partition.as_str() {
            "" => "(only one)",
            name => name,
        };
        table.row([
            partition.to_owned(),
            checkpoint.position.clone(),
            thousands(checkpoint.sequence.unsigned_abs()),
            thousands(checkpoint.rows.unsigned_abs()),
            checkpoint.complete.to_string(),
            checkpoint.epoch.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn long_positions_are_cut() {
        let checkpoint = |partition: &str, position: &str| run::Checkpoint {
            partition: partition.into(),
            epoch: 12,
            position: position.into(),
            sequence: 33_334,
            rows: 10_000_000,
            complete: true,
            recent: Default::default(),
        };
        let token = "eyJzbmFwc2hvdCI6IjIwMjYtMTEtMjciLCJyb3ciOjEwMDAwMDAwfQ";
        let checkpoints = [checkpoint("", "row:10000000"), checkpoint("eu", token)];
        assert_snapshot!(table(&checkpoints).within(80), @"
        partition   position                         chunks        rows  complete  epoch
        (only one)  row:10000000                     33,334  10,000,000  true         12
        eu          eyJzbmFwc2hvdCI6IjIwMjYtMTEtMj…  33,334  10,000,000  true         12
        ");
    }
}
