//! `forebay plugin diff`

use serde::Serialize;

use super::which::Which;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::{print_json, thousands};
use crate::cli::table::{Column, Table};
use crate::cli::{screen, session};
use crate::row::short_digest;
use crate::store::ledger::{Differs, State};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Diff {
    #[command(flatten)]
    which: Which,
}

/// Differences between the results of a shadow and those of the active version.
#[derive(Debug, Serialize)]
struct Difference {
    pipeline: String,
    name: String,
    version: String,
    digest: String,
    rows_compared: u64,
    rows_different: u64,
    differences: Vec<Differs>,
}

impl Diff {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config(global)?;
        let found = session::with_database(global, Some(&config), async |database| {
            self.found(&config, database).await
        })
        .await?;
        if global.json {
            print_json(&found)?;
        } else {
            for difference in &found {
                print!("{}", difference.text(screen::columns()));
            }
        }
        Ok(Exit::Done)
    }

    async fn found(
        &self,
        config: &crate::config::Config,
        database: &session::Database,
    ) -> anyhow::Result<Vec<Difference>> {
        let store = &database.store;
        let mut found = Vec::new();
        for (pipeline, _) in self
            .which
            .versions(config, database, &[State::Shadow])
            .await?
        {
            let shadow = store
                .plugin_differences(&pipeline, &self.which.name)
                .await?;
            let Some((known, differences)) = shadow else {
                continue;
            };
            found.push(Difference {
                pipeline,
                name: known.name,
                version: known.version,
                digest: known.digest,
                rows_compared: known.rows_compared,
                rows_different: differences.iter().map(|it| it.rows).sum(),
                differences,
            });
        }
        Ok(found)
    }
}

impl Difference {
    fn text(&self, columns: usize) -> String {
        let headline = format!(
            "{}: {} {} (sha256 {}…) would change {} of {} rows\n",
            self.pipeline,
            self.name,
            self.version,
            short_digest(&self.digest),
            thousands(self.rows_different),
            thousands(self.rows_compared),
        );
        if self.differences.is_empty() {
            return headline;
        }
        let mut table = Table::new([
            Column::number("rows"),
            Column::text("active"),
            Column::text("shadow"),
            Column::name("example").optional(),
        ])
        .indented(2);
        for differs in &self.differences {
            table.row([
                thousands(differs.rows),
                differs.is.clone(),
                differs.would_be.clone(),
                differs.sample.clone(),
            ]);
        }
        format!("{headline}{}\n", table.within(columns))
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn differences_fit_the_screen() {
        let differs = |rows, is: &str, would_be: &str, sample: &str| Differs {
            is: is.into(),
            would_be: would_be.into(),
            rows,
            sample: sample.into(),
        };
        let difference = Difference {
            pipeline: "recruit".into(),
            name: "recruit-rules".into(),
            version: "0.2.0".into(),
            digest: "0123456789abcdef".into(),
            rows_compared: 90_000,
            rows_different: 12,
            differences: vec![
                differs(9, "accept", "dead-letter FIELD_RANGE", "a1"),
                differs(3, "dead-letter FIELD_VALUE", "accept", "b2"),
            ],
        };
        assert_snapshot!(difference.text(80), @"
        recruit: recruit-rules 0.2.0 (sha256 0123456789ab…) would change 12 of 90,000 rows
          rows  active                   shadow                   example
             9  accept                   dead-letter FIELD_RANGE  a1
             3  dead-letter FIELD_VALUE  accept                   b2
        ");
        let key = "0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77";
        let difference = Difference {
            rows_different: 45_009,
            differences: vec![
                differs(
                    45_000,
                    "accept",
                    "accept with other company_name, location",
                    key,
                ),
                differs(
                    9,
                    "dead-letter FIELD_RANGE to queue review",
                    "drop: TEST",
                    key,
                ),
            ],
            ..difference
        };
        assert_snapshot!(difference.text(80), @"
        recruit: recruit-rules 0.2.0 (sha256 0123456789ab…) would change 45,009 of 90,000 rows
            rows  active                              shadow
          45,000  accept                              accept with other company_name…
               9  dead-letter FIELD_RANGE to queue…   drop: TEST
        ");
        assert_snapshot!(difference.text(140), @"
        recruit: recruit-rules 0.2.0 (sha256 0123456789ab…) would change 45,009 of 90,000 rows
            rows  active                                   shadow                                    example
          45,000  accept                                   accept with other company_name, location  0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77
               9  dead-letter FIELD_RANGE to queue review  drop: TEST                                0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77
        ");
    }
}
