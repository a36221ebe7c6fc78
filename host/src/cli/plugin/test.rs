//! `forebay plugin test`: runs cases, or generated rows, in the production sandbox.

mod fuzz;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use crate::cases;
use crate::cases::{Failure, Options, Outcome, Suite};
use crate::cli::exit::{Exit, UsageError};
use crate::cli::global::Global;
use crate::cli::output::{print_json, thousands};
use crate::cli::session;
use crate::plugin::Plugin;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Test {
    /// Component
    plugin: PathBuf,
    /// Files or directories of cases [default: those beside the component]
    // NAME.cases.toml and NAME.cases/*.toml.
    cases: Vec<PathBuf>,
    /// Setting that overrides those of the files
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::inputs::setting)]
    settings: Vec<(String, String)>,
    /// Only cases whose names contain this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Accept the results: rewrite the expectations in the files
    #[arg(long)]
    update: bool,
    /// Write the results to this file as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Test with generated rows for this time instead of running the cases
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["filter", "update", "junit"])]
    fuzz: Option<u64>,
    #[command(flatten)]
    search: fuzz::Search,
}

impl Test {
    /// True if rows are made up, not read from cases.
    pub(super) fn is_fuzz(&self) -> bool {
        self.fuzz.is_some()
    }

    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        let plugin = session::engine(config.as_ref())?;
        let plugin = plugin
            .load(&self.plugin)
            .map_err(|error| UsageError(error.to_string()))?;
        let suites = super::inputs::suites(&self.plugin, &self.cases)?;
        if let Some(seconds) = self.fuzz {
            return self
                .search
                .run(global, &plugin, &suites, &self.settings, seconds);
        }
        if suites.is_empty() {
            return Err(no_cases(&self.plugin).into());
        }
        self.test(global, &plugin, &suites)
    }

    fn test(
        &self,
        global: &Global,
        plugin: &Arc<Plugin>,
        suites: &[Suite],
    ) -> anyhow::Result<Exit> {
        let options = Options {
            settings: self.settings.clone(),
            filter: self.filter.clone(),
        };
        let ran: Vec<Ran<'_>> = suites
            .iter()
            .map(|suite| Ran {
                suite,
                outcome: cases::run_with(plugin, suite, &options),
            })
            .collect();
        if ran.iter().all(|ran| ran.outcome.cases.is_empty()) {
            let files: Vec<_> = suites
                .iter()
                .map(|it| it.path.display().to_string())
                .collect();
            let message = match &self.filter {
                Some(filter) => format!("no case name contains `{filter}`"),
                None => format!("no cases in {}", files.join(", ")),
            };
            return Err(UsageError(message).into());
        }
        let accepted = if self.update { update(&ran)? } else { 0 };
        if global.json {
            print_json(&as_json(plugin, &ran, accepted))?;
        } else {
            print(plugin, &ran);
        }
        let wrong: usize = ran.iter().map(|ran| ran.outcome.failed().count()).sum();
        if !global.json && self.update {
            println!("{accepted} of {wrong} results accepted");
        }
        if let Some(path) = &self.junit {
            write(path, &junit(plugin, &ran)?)?;
        }
        Ok(if wrong > accepted {
            Exit::Failed
        } else {
            Exit::Done
        })
    }
}

/// A file of cases with its results.
struct Ran<'a> {
    suite: &'a Suite,
    outcome: Outcome,
}

fn no_cases(plugin: &Path) -> UsageError {
    let stem = plugin.file_stem().unwrap_or_default().to_string_lossy();
    UsageError(format!(
        "no cases for {}\n  hint: name their files, or create {stem}.cases.toml or {stem}.cases/*.toml beside it",
        plugin.display()
    ))
}

fn write(path: &Path, text: &str) -> Result<(), UsageError> {
    std::fs::write(path, text)
        .map_err(|error| UsageError(format!("cannot write {}: {error}", path.display())))
}

/// Rewrites the files with failed cases; returns the number of accepted results.
fn update(ran: &[Ran<'_>]) -> anyhow::Result<usize> {
    let mut total = 0;
    for Ran { suite, outcome } in ran {
        if outcome.failed().next().is_some() {
            let text = std::fs::read_to_string(&suite.path)?;
            let (updated, accepted) = cases::accept(&text, outcome.failed())?;
            if accepted > 0 {
                write(&suite.path, &updated)?;
            }
            total += accepted;
        }
    }
    Ok(total)
}

fn print(plugin: &Plugin, ran: &[Ran<'_>]) {
    for Ran { suite, outcome } in ran {
        let path = suite.path.display();
        for failure in outcome.failed() {
            let row = failure
                .row
                .as_ref()
                .map_or_else(String::new, |row| format!(", row {row}"));
            println!("FAIL  {path}:{}: {}{row}", failure.line, failure.case);
            println!("      {}\n", failure.text.replace('\n', "\n      "));
        }
        let (passed, cases) = (outcome.passed(), outcome.cases.len());
        if passed == cases {
            println!("ok    {path}: {cases} cases");
        }
    }
    let totals = Totals::of(ran);
    let id = plugin.id();
    println!(
        "{} {}: {} of {} cases passed, {} rows, {}, peak guest memory {}{}",
        id.name,
        id.version,
        totals.passed,
        totals.cases,
        totals.rows,
        totals.per_row(),
        size(totals.peak_memory as u64),
        match totals.growth_per_call() {
            0 => String::new(),
            growth => format!(", growing by {} per call", size(growth)),
        }
    );
}

/// Sums over all files.
#[derive(Default)]
struct Totals {
    cases: usize,
    passed: usize,
    rows: usize,
    answered: u64,
    time: Duration,
    peak_memory: usize,
    grown: usize,
    later_calls: u64,
}

impl Totals {
    fn of(ran: &[Ran<'_>]) -> Self {
        let mut totals = Self::default();
        for Ran { outcome, .. } in ran {
            totals.cases += outcome.cases.len();
            totals.passed += outcome.passed();
            totals.rows += outcome.rows();
            totals.answered += outcome.settled;
            totals.time += outcome.time;
            totals.peak_memory = totals.peak_memory.max(outcome.peak_memory);
            totals.grown += outcome.grown;
            totals.later_calls += outcome.later_calls;
        }
        totals
    }

    /// `None` if the plugin has answered for no row.
    fn nanoseconds_per_row(&self) -> Option<u64> {
        let nanos = self.time.as_nanos().checked_div(self.answered.into())?;
        u64::try_from(nanos).ok()
    }

    fn per_row(&self) -> String {
        self.nanoseconds_per_row().map_or_else(
            || "no row answered".to_owned(),
            |nanos| format!("{} ns/row", thousands(nanos)),
        )
    }

    /// Average growth of guest memory in all calls but the first of each instance, in bytes.
    fn growth_per_call(&self) -> u64 {
        (self.grown as u64)
            .checked_div(self.later_calls)
            .unwrap_or_default()
    }
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

fn as_json(plugin: &Plugin, ran: &[Ran<'_>], accepted: usize) -> Value {
    let failed = |ran: &Ran<'_>| -> Vec<Value> {
        let file = ran.suite.path.display().to_string();
        let failure = |failure: &Failure| json!({ "file": file, "line": failure.line, "case": failure.case, "row": failure.row, "text": failure.text });
        ran.outcome.failed().map(failure).collect()
    };
    let totals = Totals::of(ran);
    let failed: Vec<Value> = ran.iter().flat_map(failed).collect();
    json!({
        "plugin": plugin.id(),
        "passed": totals.passed == totals.cases,
        "cases": totals.cases,
        "cases_passed": totals.passed,
        "rows": totals.rows,
        "nanoseconds_per_row": totals.nanoseconds_per_row(),
        "peak_memory_bytes": totals.peak_memory,
        "memory_growth_per_call_bytes": totals.growth_per_call(),
        "accepted": accepted,
        "failed": failed,
    })
}

/// A JUnit report: a suite for each file, a test for each case.
fn junit(plugin: &Plugin, ran: &[Ran<'_>]) -> anyhow::Result<String> {
    let mut report = Report::new(&plugin.id().name);
    for Ran { suite, outcome } in ran {
        let mut tests = TestSuite::new(xml(&suite.path.display().to_string()));
        for case in &outcome.cases {
            let status = match case.failures.first() {
                None => TestCaseStatus::success(),
                Some(first) => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    let all: Vec<String> = case.failures.iter().map(described).collect();
                    status.set_message(xml(&place(first)));
                    status.set_description(xml(&all.join("\n\n")));
                    status
                }
            };
            let mut test = TestCase::new(xml(&case.name), status);
            test.set_classname(plugin.id().name.as_str());
            test.set_time(case.time);
            tests.add_test_case(test);
        }
        report.add_test_suite(tests);
    }
    Ok(report.to_string()?)
}

/// A text without two characters that XML 1.0 forbids (<https://www.w3.org/TR/xml/#charsets>) and
/// `quick_junit` does not remove.
fn xml(text: &str) -> String {
    text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

fn described(failure: &Failure) -> String {
    format!("{}\n{}", place(failure), failure.text)
}

/// Line and row of a failure in its file.
fn place(failure: &Failure) -> String {
    let row = failure.row.as_ref();
    let row = row.map_or_else(String::new, |row| format!(", row {row}"));
    format!("line {}{row}", failure.line)
}
