//! `forebay verify`

use std::fmt::Write;
use std::sync::Arc;

use anyhow::Context;

use super::exit::Exit;
use super::global::Global;
use super::output::{print_json, thousands};
use super::table::{Column, Table};
use super::{progress, run, screen, session, stop};
use crate::pipeline::{Host, Pipeline, Repair, Verification};
use crate::plugin::line;
use crate::progress::Progress;

/// Maximum number of characters of a key that is shown.
const MAX_KEY: usize = 60;

/// Reads the source from the beginning through today's plugins and compares each row with what the
/// tables have, column by column.
///
/// Nothing is written and no position moves. Exit code 5 if something differs.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Name of the pipeline
    pipeline: String,
    /// Write the rows that are missing or differ, as a run would
    #[arg(long)]
    repair: bool,
}

impl Verify {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config(global)?;
        let chosen = run::choose(&config, std::slice::from_ref(&self.pipeline))?;
        let stop = stop::on_signal()?;
        let database = session::Database::wait_for(global, &config, &stop).await?;
        let result = async {
            let host = session::host(&config, &database).await?;
            let mut verified = None;
            for pipeline in &chosen {
                verified = self.verify(&host, pipeline, &stop).await?;
            }
            anyhow::Ok(verified)
        }
        .await;
        database.close_after(&stop).await?;
        let Some(verification) = result? else {
            return Ok(Exit::Interrupted);
        };
        if global.json {
            print_json(&verification)?;
        } else {
            print!("{}", text(&verification, screen::columns()));
        }
        Ok(match verification.is_equal() {
            true => Exit::Done,
            false => Exit::Differs,
        })
    }

    async fn verify(
        &self,
        host: &Host,
        config: &crate::config::Pipeline,
        stop: &tokio_util::sync::CancellationToken,
    ) -> anyhow::Result<Option<Verification>> {
        let of = || format!("pipeline {}", config.name);
        let pipeline = tokio::select! {
            prepared = Pipeline::prepare(host, config) => prepared.with_context(of)?,
            () = stop.cancelled() => return Ok(None),
        };
        let repair = if self.repair { Repair::Yes } else { Repair::No };
        let progress = Arc::new(Progress::default());
        let _shown = progress::show(&config.name, &progress);
        pipeline
            .verify(repair, &progress, stop)
            .await
            .with_context(of)
    }
}

/// The result as text, its table in at most `columns` columns.
fn text(verification: &Verification, columns: usize) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    write_text(&mut out, verification, columns).unwrap_or_default();
    out
}

fn write_text(out: &mut String, it: &Verification, columns: usize) -> std::fmt::Result {
    writeln!(out, "{}: {}", it.pipeline, headline(it))?;
    writeln!(
        out,
        "  compared {} = equal {} + missing {} + differing {}",
        thousands(it.compared),
        thousands(it.equal),
        thousands(it.missing),
        thousands(it.differing),
    )?;
    match &it.extra {
        Some(extra) if extra.rows > 0 => {
            let dropped = match extra.dropped {
                0 => String::new(),
                dropped => format!(" ({} of them dropped by plugins now)", thousands(dropped)),
            };
            let (rows, samples) = (thousands(extra.rows), keys(&extra.samples));
            writeln!(out, "  extra {rows}{dropped}: {samples}")?;
            writeln!(
                out,
                "  hint: extra rows have no place in the source any more; `missing` can remove or flag them"
            )?;
        }
        Some(_) => {}
        None => writeln!(
            out,
            "  extra rows are not looked for: the source delivers changes, or rows are not found by their key alone"
        )?,
    }
    if it.failed > 0 {
        let failed = thousands(it.failed);
        writeln!(
            out,
            "  not compared {failed}: rows that cannot be written (see `forebay dlq list {}`)",
            it.pipeline
        )?;
    }
    if !it.tables.is_empty() {
        writeln!(out, "\n{}", table(it).within(columns))?;
    }
    match &it.repaired {
        Some(rows) => writeln!(
            out,
            "  written again {}: inserted {}, updated {}, unchanged {}, dead-lettered {}",
            thousands(rows.received),
            thousands(rows.inserted),
            thousands(rows.updated),
            thousands(rows.unchanged),
            thousands(rows.dead_lettered),
        ),
        None if it.missing + it.differing > 0 => writeln!(
            out,
            "  hint: `forebay verify {} --repair` writes them as they should be",
            it.pipeline
        ),
        None => Ok(()),
    }
}

fn headline(it: &Verification) -> &'static str {
    let unequal = it.missing + it.differing;
    match (it.is_equal(), unequal, &it.repaired) {
        (true, 0, _) if it.failed > 0 => "equal, but for rows that cannot be written",
        (true, 0, _) => "equal",
        (true, _, _) => "repaired",
        (false, _, Some(_)) => "the tables still differ from the source",
        (false, _, None) => "the tables differ from the source",
    }
}

fn table(it: &Verification) -> Table<4> {
    let mut table = Table::new([
        Column::name("table"),
        Column::name("column"),
        Column::number("rows"),
        Column::text("keys"),
    ])
    .indented(2);
    for found in &it.tables {
        if found.missing > 0 {
            table.row([
                found.table.clone(),
                "(row missing)".into(),
                thousands(found.missing),
                keys(&found.missing_samples),
            ]);
        }
        for column in &found.columns {
            table.row([
                found.table.clone(),
                column.column.clone(),
                thousands(column.rows),
                keys(&column.samples),
            ]);
        }
    }
    table
}

/// Keys came from the source, and may hold any characters.
fn keys(keys: &[String]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| line(key, MAX_KEY)).collect();
    keys.join(", ")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::pipeline::{ColumnFindings, Extra, TableFindings};
    use crate::store::run::Counts;

    #[test]
    fn what_differs_is_named() {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        let company = ColumnFindings {
            column: "company".into(),
            rows: 1_200,
            samples: keys(&["a\u{1b}[2J", "b"]),
        };
        let mut verification = Verification {
            pipeline: "docs".into(),
            compared: 10_000,
            equal: 8_797,
            missing: 3,
            differing: 1_200,
            tables: vec![TableFindings {
                table: "documents".into(),
                missing: 3,
                missing_samples: keys(&["x"]),
                columns: vec![company],
            }],
            extra: Some(Extra {
                rows: 2,
                dropped: 1,
                samples: keys(&["p", "q"]),
            }),
            failed: 4,
            repaired: None,
        };
        assert_snapshot!(text(&verification, 80), @r#"
        docs: the tables differ from the source
          compared 10,000 = equal 8,797 + missing 3 + differing 1,200
          extra 2 (1 of them dropped by plugins now): p, q
          hint: extra rows have no place in the source any more; `missing` can remove or flag them
          not compared 4: rows that cannot be written (see `forebay dlq list docs`)

          table      column          rows  keys
          documents  (row missing)      3  x
          documents  company        1,200  a�[2J, b
          hint: `forebay verify docs --repair` writes them as they should be
        "#);
        verification.extra = None;
        verification.repaired = Some(Counts {
            received: 1_203,
            inserted: 3,
            updated: 1_200,
            ..Counts::default()
        });
        assert_eq!(headline(&verification), "repaired");
        (verification.missing, verification.differing) = (0, 0);
        assert_eq!(
            headline(&verification),
            "equal, but for rows that cannot be written"
        );
    }
}
