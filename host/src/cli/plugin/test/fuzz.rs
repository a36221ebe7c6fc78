//! `forebay plugin test --fuzz`: generates rows, and reduces those that show a fault.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cases::fuzz::{Finding, LEAK, Plan, Searched, Space, search};
use crate::cases::record::NewCase;
use crate::cases::{Suite, record};
use crate::cli::exit::{Exit, UsageError};
use crate::cli::global::Global;
use crate::cli::output::{print_json, thousands};
use crate::plugin::{Plugin, Settings, head, shortened};

/// Maximum number of characters of a line: vectors are long.
const MAX_LINE: usize = 300;

#[derive(Debug, clap::Args)]
pub(super) struct Search {
    /// Seed of the generated rows [default: random]
    #[arg(long, value_name = "N", requires = "fuzz")]
    seed: Option<u64>,
    /// Maximum number of generated rows
    #[arg(long, value_name = "N", requires = "fuzz")]
    rows: Option<u64>,
    /// Append the findings to this file as cases
    #[arg(long, value_name = "FILE", requires = "fuzz")]
    save: Option<PathBuf>,
}

impl Search {
    pub(super) fn run(
        &self,
        global: &Global,
        plugin: &Arc<Plugin>,
        suites: &[Suite],
        settings: &Settings,
        seconds: u64,
    ) -> anyhow::Result<Exit> {
        let space = Space::of(plugin, suites, settings);
        let plan = Plan {
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..1 << 32)),
            time: Duration::from_secs(seconds),
            rows: self.rows,
        };
        let searched = search(plugin, &space, &plan)
            .map_err(|message| UsageError(format!("the plugin refuses its settings: {message}")))?;
        let cases = cases(&searched.findings, plan.seed);
        // A leak takes hundreds of calls: no case can show it.
        let shown = searched.findings.iter().zip(&cases);
        let kept: Vec<NewCase> = shown
            .filter(|(finding, _)| finding.kind != LEAK)
            .map(|(_, case)| case.clone())
            .collect();
        if global.json {
            print_json(&as_json(plugin, &searched, &cases, plan.seed))?;
        } else {
            print(plugin, &searched, &cases, plan.seed);
        }
        if let Some(path) = self.save.as_ref().filter(|_| !kept.is_empty()) {
            let new = record::append(path, &space.schema.columns, &kept)
                .map_err(|error| UsageError(error.to_string()))?;
            if !global.json {
                println!(
                    "{new} of {} cases are new in {}",
                    kept.len(),
                    path.display()
                );
            }
        }
        Ok(if cases.is_empty() {
            Exit::Done
        } else {
            Exit::Failed
        })
    }
}

/// Each finding as a case. Equal names get a number from the second one on.
fn cases(findings: &[Finding], seed: u64) -> Vec<NewCase> {
    let mut cases: Vec<NewCase> = Vec::with_capacity(findings.len());
    for finding in findings {
        let mut case = case(finding, seed);
        let known = |name: &str| cases.iter().any(|known| known.name == name);
        let numbered = (2..).map(|number| format!("{} ({number})", case.name));
        let mut names = std::iter::once(case.name.clone()).chain(numbered);
        let name = names.find(|name| !known(name));
        case.name = name.unwrap_or_default();
        cases.push(case);
    }
    cases
}

/// A finding as a case without an expectation: it fails until the plugin is fixed.
fn case(finding: &Finding, seed: u64) -> NewCase {
    let Finding { kind, message, .. } = finding;
    let first = message.lines().next().unwrap_or_default();
    // The guest's own message, without the sandbox's addition.
    let said = first.split(" (").next().unwrap_or_default();
    let said = head(said, 100);
    NewCase {
        name: format!("{kind}: {said}"),
        comment: format!("Found by --fuzz --seed {seed}."),
        settings: finding.settings.clone(),
        rows: finding.rows.iter().map(|row| (row.clone(), None)).collect(),
        failures: finding
            .failures
            .iter()
            .map(|it| (it.clone(), None))
            .collect(),
    }
}

fn print(plugin: &Plugin, searched: &Searched, cases: &[NewCase], seed: u64) {
    for (finding, case) in searched.findings.iter().zip(cases) {
        let message = finding.message.replace('\n', "\n      ");
        println!("FOUND {}: {message}", finding.kind);
        if finding.kind == LEAK {
            println!();
            continue;
        }
        for line in record::written(case)
            .lines()
            .filter(|line| !line.starts_with('#'))
        {
            let line = format!("      {}", shortened(line, MAX_LINE));
            println!("{}", line.trim_end());
        }
        println!();
    }
    let id = plugin.id();
    let found = match searched.findings.len() {
        0 => "nothing found".to_owned(),
        1 => "1 fault found".to_owned(),
        count => format!("{count} faults found"),
    };
    println!(
        "{} {}: {found} with seed {seed} in {} rows, {} batches",
        id.name,
        id.version,
        thousands(searched.rows),
        thousands(searched.batches)
    );
}

fn as_json(plugin: &Plugin, searched: &Searched, cases: &[NewCase], seed: u64) -> Value {
    let finding = |(it, case): (&Finding, &NewCase)| {
        json!({
            "kind": it.kind,
            "message": it.message,
            "batches": it.seen,
            "case": (it.kind != LEAK).then(|| record::written(case)),
        })
    };
    json!({
        "plugin": plugin.id(),
        "seed": seed,
        "rows": searched.rows,
        "batches": searched.batches,
        "findings": searched.findings.iter().zip(cases).map(finding).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_have_distinct_names() {
        let finding = |message: &str| Finding {
            kind: "PLUGIN_TRAP".to_owned(),
            message: message.to_owned(),
            settings: Settings::new(),
            rows: Vec::new(),
            failures: Vec::new(),
            seen: 1,
        };
        let findings = ["it (one)", "it (two)", "another", "it"].map(finding);
        let names: Vec<_> = cases(&findings, 1).into_iter().map(|it| it.name).collect();
        let expected = ["it", "it (2)", "another", "it (3)"];
        assert_eq!(names, expected.map(|name| format!("PLUGIN_TRAP: {name}")));
    }
}
