//! `forebay plugin list`

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::print_json;
use crate::cli::table::{Column, Table};
use crate::cli::{screen, session};
use crate::row::short_digest;
use crate::store::ledger::{Known, State};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Include versions that were replaced
    #[arg(long)]
    all: bool,
}

/// A version, and the pipeline that has used it.
#[derive(Debug, Serialize)]
struct Version {
    pipeline: String,
    #[serde(flatten)]
    known: Known,
}

impl List {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config(global)?;
        let versions = session::with_database(global, Some(&config), async |database| {
            self.versions(&config, database).await
        })
        .await?;
        if global.json {
            print_json(&versions)?;
        } else if versions.is_empty() {
            println!(
                "no pipeline of {} has used a plugin yet",
                global.config.display()
            );
        } else {
            println!("{}", shown(&versions, screen::columns()));
        }
        Ok(Exit::Done)
    }

    async fn versions(
        &self,
        config: &crate::config::Config,
        database: &session::Database,
    ) -> anyhow::Result<Vec<Version>> {
        let mut versions = Vec::new();
        for pipeline in &config.pipelines {
            let known = database.store.plugin_versions(&pipeline.name).await?;
            let shown = known
                .into_iter()
                .filter(|known| self.all || known.state != State::Retired);
            versions.extend(shown.map(|known| Version {
                pipeline: pipeline.name.clone(),
                known,
            }));
        }
        Ok(versions)
    }
}

/// The versions as a table, then the reasons of their states.
fn shown(versions: &[Version], columns: usize) -> String {
    let mut table = Table::new([
        Column::name("pipeline"),
        Column::name("plugin"),
        Column::name("state"),
        Column::name("version"),
        Column::name("sha256"),
        Column::name("since").optional(),
    ]);
    let mut reasons = Vec::new();
    for Version { pipeline, known } in versions {
        let state = known.state.as_str();
        let promoted = if known.promoted { ", promoted" } else { "" };
        let digest = short_digest(&known.digest);
        table.row([
            pipeline.clone(),
            known.name.clone(),
            format!("{state}{promoted}"),
            known.version.clone(),
            digest.to_owned(),
            known.since.clone(),
        ]);
        if !known.message.is_empty() {
            let name = &known.name;
            let reason = format!("{pipeline}: {name} {digest} {state}: {}", known.message);
            reasons.push(screen::wrap(reason.split_whitespace(), 2, columns));
        }
    }
    let mut text = table.within(columns);
    if !reasons.is_empty() {
        text += "\n\n";
        text += &reasons.join("\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn versions_fit_the_screen() {
        let version = |name: &str, state, version: &str, digest: &str, message: &str| Version {
            pipeline: "recruit".into(),
            known: Known {
                name: name.into(),
                version: version.into(),
                digest: digest.repeat(4),
                state,
                message: message.into(),
                since: "2026-11-27T17:29:59Z".into(),
                promoted: state == State::Shadow,
                last_good: false,
                rows_compared: 0,
                rows_different: 0,
            },
        };
        let versions = [
            version(
                "recruit-normalize",
                State::Active,
                "0.1.0",
                "0123456789abcdef",
                "",
            ),
            version(
                "recruit-rules",
                State::Shadow,
                "0.2.0",
                "89abcdef01234567",
                "",
            ),
            version(
                "recruit-rules",
                State::Barred,
                "0.2.0-rc.1",
                "fedcba9876543210",
                "fails on 31 of the first 300 rows, which is more than 5%; the first: \
                 PLUGIN_TRAP: panicked at src/lib.rs:31:9: met row 17",
            ),
        ];
        assert_snapshot!(shown(&versions, 80), @"
        pipeline  plugin             state             version     sha256
        recruit   recruit-normalize  active            0.1.0       0123456789ab
        recruit   recruit-rules      shadow, promoted  0.2.0       89abcdef0123
        recruit   recruit-rules      barred            0.2.0-rc.1  fedcba987654

        recruit: recruit-rules fedcba987654 barred: fails on 31 of the first 300 rows,
          which is more than 5%; the first: PLUGIN_TRAP: panicked at src/lib.rs:31:9:
          met row 17
        ");
        assert_snapshot!(shown(&versions, 120), @"
        pipeline  plugin             state             version     sha256        since
        recruit   recruit-normalize  active            0.1.0       0123456789ab  2026-11-27T17:29:59Z
        recruit   recruit-rules      shadow, promoted  0.2.0       89abcdef0123  2026-11-27T17:29:59Z
        recruit   recruit-rules      barred            0.2.0-rc.1  fedcba987654  2026-11-27T17:29:59Z

        recruit: recruit-rules fedcba987654 barred: fails on 31 of the first 300 rows, which is more than 5%; the first:
          PLUGIN_TRAP: panicked at src/lib.rs:31:9: met row 17
        ");
    }
}
