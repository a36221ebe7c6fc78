//! `forebay plugin diff`

use serde::Serialize;

use super::which::Which;
use super::{Exit, Global, session};
use crate::cli::output::thousands;
use crate::cli::print_json;
use crate::row::short_digest;
use crate::store::ledger::{Differs, State};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Diff {
    #[command(flatten)]
    which: Which,
}

/// What a shadow would have done otherwise.
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
                print!("{}", difference.text());
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
    fn text(&self) -> String {
        let mut text = format!(
            "{}: {} {} (sha256 {}…) would change {} of {} rows\n",
            self.pipeline,
            self.name,
            self.version,
            short_digest(&self.digest),
            thousands(self.rows_different),
            thousands(self.rows_compared),
        );
        for Differs {
            is,
            would_be,
            rows,
            sample,
        } in &self.differences
        {
            text.push_str(&format!(
                "  {:>8}  {is} → {would_be}  (such as {sample})\n",
                thousands(*rows)
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_read_as_sentences() {
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
        insta::assert_snapshot!(difference.text(), @"
        recruit: recruit-rules 0.2.0 (sha256 0123456789ab…) would change 12 of 90,000 rows
                 9  accept → dead-letter FIELD_RANGE  (such as a1)
                 3  dead-letter FIELD_VALUE → accept  (such as b2)
        ");
    }
}
