//! A report as text.

use std::fmt::Write;

use bytesize::ByteSize;

use super::output::thousands;
use super::screen::wrap;
use super::table::{Column, Table};
use crate::notify::NotifyStatus;
use crate::printable::printable;
use crate::report::{Code, IndexReport, IndexState, Missing, MissingStatus, Report};
use crate::store::run::{Counts, Status};

/// The whole report, its tables and row counts in at most `columns` columns.
pub(super) fn text(report: &Report, columns: usize) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    write_text(&mut out, report, columns).unwrap_or_default();
    out
}

/// Dead letters whose rows are in the tables, as they were or now.
fn write_letters(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.stale > 0 {
        let stale = thousands(report.stale);
        writeln!(
            out,
            "  {stale} of the dead-lettered rows are in the tables as they were before"
        )?;
    }
    if report.resolved > 0 {
        let resolved = thousands(report.resolved);
        writeln!(out, "  resolved {resolved} dead letters of earlier runs")?;
    }
    Ok(())
}

fn write_text(out: &mut String, report: &Report, columns: usize) -> std::fmt::Result {
    let again = if report.starts > 1 {
        format!(", start {} of this run", report.starts)
    } else {
        String::new()
    };
    writeln!(out, "{}: {}{again}", report.pipeline, headline(report))?;
    if let Some(message) = &report.message {
        writeln!(out, "  {message}")?;
    }
    writeln!(out, "{}", counts(&report.rows, columns))?;
    if let Some(missing) = &report.missing {
        write_missing(out, missing)?;
    }
    write_dropped(out, report)?;
    write_letters(out, report)?;
    let memory = report
        .peak_memory_bytes
        .map(|bytes| format!(", peak memory {}", ByteSize(bytes).display().iec()));
    writeln!(
        out,
        "  {:.1} s, {} rows/s, {:.1} µs of CPU per row{}",
        report.seconds,
        thousands(report.rows_per_second as u64),
        report.cpu_microseconds_per_row,
        memory.unwrap_or_default(),
    )?;
    write_codes(out, &report.codes, columns)?;
    write_plugins(out, report, columns)?;
    writeln!(out)?;
    write_indexes(out, &report.indexes)?;
    for checkpoint in &report.checkpoint {
        let partition = if checkpoint.partition.is_empty() {
            String::new()
        } else {
            format!(" {}", printable(&checkpoint.partition))
        };
        let end = if checkpoint.complete {
            ", complete"
        } else {
            ""
        };
        writeln!(
            out,
            "  checkpoint{partition}: {} after {} chunks{end}",
            printable(&checkpoint.position),
            thousands(checkpoint.sequence.unsigned_abs())
        )?;
    }
    writeln!(out, "  notification: {}", notification(report))
}

/// The row counts as a sum.
fn counts(rows: &Counts, columns: usize) -> String {
    let deleted = match rows.deleted {
        0 => String::new(),
        deleted => format!(" ({} of them deleted)", thousands(deleted)),
    };
    let parts = [
        format!("  received {}", thousands(rows.received)),
        format!("= inserted {}", thousands(rows.inserted)),
        format!("+ updated {}{deleted}", thousands(rows.updated)),
        format!("+ unchanged {}", thousands(rows.unchanged)),
        format!("+ dropped {}", thousands(rows.dropped)),
        format!("+ dead-lettered {}", thousands(rows.dead_lettered)),
    ];
    wrap(parts.iter().map(String::as_str), 4, columns)
}

fn write_indexes(out: &mut String, indexes: &[IndexReport]) -> std::fmt::Result {
    for index in indexes {
        let (name, mode) = (&index.name, index.mode);
        let seconds = index.build_seconds.unwrap_or_default();
        match index.state {
            IndexState::Kept => {}
            IndexState::Built => writeln!(out, "  index {name}: built in {seconds:.1} s ({mode})")?,
            IndexState::Away => writeln!(
                out,
                "  index {name}: built by the start that completes the run ({mode})"
            )?,
        }
    }
    Ok(())
}

fn headline(report: &Report) -> String {
    match report.status {
        Status::Succeeded => done(report),
        Status::HeldBack if report.message.is_some() => {
            "done, but too many rows are dead letters".into()
        }
        Status::HeldBack => format!("{}, but missing rows were kept", done(report)),
        Status::Failed | Status::Halted | Status::Interrupted if report.starts == 0 => {
            "failed before the first row".into()
        }
        Status::Failed => "failed; the next start continues from the checkpoint".into(),
        Status::Halted => "halted; the next start continues from the checkpoint".into(),
        Status::Interrupted => "interrupted; the next start continues from the checkpoint".into(),
    }
}

fn write_dropped(out: &mut String, report: &Report) -> std::fmt::Result {
    let dropped = thousands(report.dropped_known);
    match (report.dropped_known, &report.missing) {
        (0, _) => Ok(()),
        (_, Some(_)) => writeln!(
            out,
            "  {dropped} of the dropped rows were in the tables, and count as missing"
        ),
        (_, None) => writeln!(
            out,
            "  {dropped} of the dropped rows are in the tables and stay there (see `missing`)"
        ),
    }
}

/// What became of the rows of a finished run that are not where they should be; nothing is said to
/// be unchanged that was refused, removed or left out.
fn done(report: &Report) -> String {
    let rows = &report.rows;
    let missing = report.missing.as_ref();
    let missing = |count: fn(&Missing) -> u64| missing.map_or(0, count);
    let fates = [
        (rows.dead_lettered, "dead-lettered"),
        (report.resolved, "earlier dead letters resolved"),
        (missing(|it| it.removed), "missing and removed"),
        (missing(|it| it.flagged), "missing and flagged"),
        (missing(|it| it.kept), "missing and kept"),
    ];
    let mut parts: Vec<String> = fates
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, fate)| format!("{} {fate}", thousands(*count)))
        .collect();
    let written = rows.inserted + rows.updated + report.resolved > 0;
    match (rows.received, written) {
        (0, _) if parts.is_empty() => return "nothing new".into(),
        (received, false) if received > 0 && received == rows.unchanged && parts.is_empty() => {
            return "done, nothing has changed".into();
        }
        (_, true) => {}
        (received, false) => {
            if rows.dropped > 0 {
                parts.insert(0, format!("{} dropped", thousands(rows.dropped)));
            }
            if received > 0 {
                parts.insert(0, "no row written".into());
            }
        }
    }
    parts.insert(0, "done".into());
    parts.join(", ")
}

fn write_missing(out: &mut String, missing: &Missing) -> std::fmt::Result {
    let counted = || {
        let (rows, known) = (thousands(missing.rows), thousands(missing.known));
        format!("{rows} of {known} rows")
    };
    let fates = [
        ("removed", missing.removed),
        ("flagged", missing.flagged),
        ("kept", missing.kept),
    ];
    let fates = fates.iter().filter(|(_, rows)| *rows > 0);
    let fates: String = fates
        .map(|(fate, rows)| format!(", {fate} {}", thousands(*rows)))
        .collect();
    match missing.status {
        MissingStatus::Done => {
            writeln!(out, "  missing from the source: {}{fates}", counted())?;
        }
        MissingStatus::HeldBack => {
            writeln!(out, "  missing from the source: {}, all kept", counted())?;
        }
        MissingStatus::Unfinished if missing.known > 0 => {
            let counted = counted();
            writeln!(
                out,
                "  missing from the source: {counted}{fates}; the next start continues"
            )?;
        }
        MissingStatus::Unfinished => {
            writeln!(
                out,
                "  missing from the source: unknown until the run is complete"
            )?;
        }
        MissingStatus::NextRun => {
            writeln!(
                out,
                "  missing from the source: checked from the next run on"
            )?;
        }
    }
    match &missing.note {
        Some(note) => writeln!(out, "  {}", printable(note)),
        None => Ok(()),
    }
}

fn write_codes(out: &mut String, codes: &[Code], columns: usize) -> std::fmt::Result {
    if codes.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([
        Column::name("fate"),
        Column::name("stage"),
        Column::name("code"),
        Column::number("rows"),
    ])
    .indented(2);
    for code in codes {
        table.row([
            code.fate.replace('_', "-"),
            code.stage.clone(),
            code.code.clone(),
            thousands(code.rows),
        ]);
    }
    writeln!(out, "\n{}", table.within(columns))
}

fn write_plugins(out: &mut String, report: &Report, columns: usize) -> std::fmt::Result {
    if report.plugins.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([
        Column::name("plugin"),
        Column::name("version"),
        Column::name("sha256").optional(),
        Column::text("roles"),
        Column::number("calls"),
        Column::number("rows"),
        Column::number("ns/row"),
    ])
    .indented(2);
    for plugin in &report.plugins {
        table.row([
            plugin.id.name.clone(),
            plugin.id.version.clone(),
            plugin.id.short_digest().to_owned(),
            plugin.roles.join(", "),
            thousands(plugin.calls),
            thousands(plugin.rows),
            thousands(plugin.nanoseconds_per_row),
        ]);
    }
    writeln!(out, "\n{}", table.within(columns))
}

fn notification(report: &Report) -> String {
    let notify = &report.notify;
    match notify.status {
        NotifyStatus::None => "not configured".into(),
        NotifyStatus::NothingChanged => "not needed, no row was written or removed".into(),
        NotifyStatus::Delivered => "delivered".into(),
        NotifyStatus::Pending => {
            let error = notify.error.as_deref().unwrap_or_default();
            let error = error.replace("\n  hint: ", "; hint: ");
            format!(
                "pending after {} attempts ({error}); the next run tries again",
                notify.attempts
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::{
        notify::Outcome,
        report::{PluginReport, Stages},
        row::PluginId,
        store::run::Checkpoint,
    };

    fn code(fate: &str, stage: &str, code: &str, rows: u64) -> Code {
        Code {
            fate: fate.into(),
            stage: stage.into(),
            code: code.into(),
            rows,
        }
    }

    fn plugin(name: &str, roles: &[&'static str]) -> PluginReport {
        let id = PluginId {
            name: name.into(),
            version: "1.2.0".into(),
            digest: "0123456789abcdef".repeat(4),
        };
        PluginReport {
            id,
            roles: roles.to_vec(),
            calls: 40,
            rows: 11_840,
            nanoseconds_per_row: 1_240,
        }
    }

    fn index(state: IndexState, mode: &'static str, build_seconds: Option<f64>) -> IndexReport {
        IndexReport {
            name: format!("public.{mode}_hnsw"),
            mode,
            state,
            build_seconds,
        }
    }

    fn report() -> Report {
        let rows = Counts {
            received: 12_000,
            inserted: 11_000,
            updated: 25,
            unchanged: 800,
            dropped: 22,
            dead_lettered: 153,
            deleted: 0,
        };
        Report {
            pipeline: "recruit".into(),
            run_id: "0".into(),
            status: Status::Succeeded,
            message: None,
            next_run_id: None,
            starts: 1,
            rows,
            missing: None,
            dropped_known: 0,
            stale: 0,
            resolved: 0,
            codes: vec![
                code("dead_lettered", "decode", "KEY_MISSING", 153),
                code("dropped", "transform", "TEST_POSTING", 22),
            ],
            chunks: 1_040,
            bytes_received: 74_000_000,
            this_start: rows,
            seconds: 1.25,
            rows_per_second: 9_600.0,
            stages_seconds: Stages::default(),
            chunk_seconds: None,
            plugins: vec![
                plugin("tidy", &["transform"]),
                plugin("judge", &["validate", "dead-letter-policy"]),
            ],
            indexes: vec![
                index(IndexState::Kept, "keep", None),
                index(IndexState::Built, "rebuild", Some(12.04)),
            ],
            checkpoint: vec![Checkpoint {
                partition: String::new(),
                epoch: 1,
                position: "row:12000".into(),
                sequence: 1_040,
                rows: 12_000,
                complete: true,
                recent: Default::default(),
            }],
            notify: Outcome {
                status: NotifyStatus::Delivered,
                attempts: 1,
                error: None,
            },
            cpu_microseconds_per_row: 8.04,
            peak_memory_bytes: Some(96 << 20),
        }
    }

    #[test]
    fn a_run_with_changes() {
        assert_snapshot!(text(&report(), 80), @"
        recruit: done, 153 dead-lettered
          received 12,000 = inserted 11,000 + updated 25 + unchanged 800 + dropped 22
            + dead-lettered 153
          1.2 s, 9,600 rows/s, 8.0 µs of CPU per row, peak memory 96.0 MiB

          fate           stage      code          rows
          dead-lettered  decode     KEY_MISSING    153
          dropped        transform  TEST_POSTING    22

          plugin  version  roles                         calls    rows  ns/row
          tidy    1.2.0    transform                        40  11,840   1,240
          judge   1.2.0    validate, dead-letter-policy     40  11,840   1,240

          index public.rebuild_hnsw: built in 12.0 s (rebuild)
          checkpoint: row:12000 after 1,040 chunks, complete
          notification: delivered
        ");
    }

    #[test]
    fn an_interrupted_run_with_a_pending_notification() {
        let report = Report {
            status: Status::Failed,
            message: Some("gave up after 5m: source http://h is away: refused".into()),
            starts: 3,
            codes: Vec::new(),
            plugins: Vec::new(),
            indexes: vec![index(IndexState::Away, "defer", None)],
            checkpoint: [("eu", 4, false), ("us", 3, true)]
                .map(|(partition, sequence, complete)| Checkpoint {
                    partition: partition.into(),
                    epoch: 3,
                    position: format!("{partition}:9"),
                    sequence,
                    rows: 0,
                    complete,
                    recent: Default::default(),
                })
                .into(),
            notify: Outcome {
                status: NotifyStatus::Pending,
                attempts: 5,
                error: Some("refused".into()),
            },
            peak_memory_bytes: None,
            ..report()
        };
        assert_snapshot!(text(&report, 80), @"
        recruit: failed; the next start continues from the checkpoint, start 3 of this run
          gave up after 5m: source http://h is away: refused
          received 12,000 = inserted 11,000 + updated 25 + unchanged 800 + dropped 22
            + dead-lettered 153
          1.2 s, 9,600 rows/s, 8.0 µs of CPU per row

          index public.defer_hnsw: built by the start that completes the run (defer)
          checkpoint eu: eu:9 after 4 chunks
          checkpoint us: us:9 after 3 chunks, complete
          notification: pending after 5 attempts (refused); the next run tries again
        ");
    }

    #[test]
    fn missing_rows() {
        let lines = |status, known, removed, kept, note: Option<&str>| {
            let missing = Missing {
                status,
                known,
                rows: known / 8,
                removed,
                flagged: 0,
                kept,
                note: note.map(str::to_owned),
            };
            let mut out = String::new();
            write_missing(&mut out, &missing).unwrap_or_default();
            out
        };
        assert_snapshot!(
            [
                lines(MissingStatus::Done, 12_000, 1_500, 0, None),
                lines(MissingStatus::Done, 12_000, 1_499, 1, Some("the database refuses")),
                lines(MissingStatus::HeldBack, 12_000, 0, 0, Some("too many")),
                lines(MissingStatus::Unfinished, 0, 0, 0, None),
                lines(MissingStatus::Unfinished, 12_000, 1_000, 0, None),
                lines(MissingStatus::NextRun, 0, 0, 0, None),
            ]
            .concat(),
            @"
        missing from the source: 1,500 of 12,000 rows, removed 1,500
        missing from the source: 1,500 of 12,000 rows, removed 1,499, kept 1
        the database refuses
        missing from the source: 1,500 of 12,000 rows, all kept
        too many
        missing from the source: unknown until the run is complete
        missing from the source: 1,500 of 12,000 rows, removed 1,000; the next start continues
        missing from the source: checked from the next run on
        "
        );
        let deleted = Counts {
            deleted: 5,
            ..report().rows
        };
        let report = Report {
            rows: deleted,
            status: Status::HeldBack,
            ..report()
        };
        let text = text(&report, 80);
        let lines: Vec<&str> = text.lines().take(3).collect();
        assert_snapshot!(lines.join("\n"), @"
        recruit: done, 153 dead-lettered, but missing rows were kept
          received 12,000 = inserted 11,000 + updated 25 (5 of them deleted)
            + unchanged 800 + dropped 22 + dead-lettered 153
        ");
    }

    #[test]
    fn g_nothing_is_unchanged_that_was_refused_removed_or_left_out() {
        let headline = |counts: Counts, missing: Option<(u64, u64, u64)>| {
            headline(&Report {
                rows: counts,
                missing: missing.map(|(removed, flagged, kept)| Missing {
                    status: MissingStatus::Done,
                    known: 10,
                    rows: removed + flagged + kept,
                    removed,
                    flagged,
                    kept,
                    note: None,
                }),
                ..report()
            })
        };
        let counts = |received, inserted, unchanged, dropped, dead_lettered| Counts {
            received,
            inserted,
            unchanged,
            dropped,
            dead_lettered,
            ..Counts::default()
        };
        assert_snapshot!(
            [
                headline(counts(0, 0, 0, 0, 0), None),
                headline(counts(0, 0, 0, 0, 0), Some((3, 0, 0))),
                headline(counts(9, 0, 9, 0, 0), None),
                headline(counts(9, 0, 9, 0, 0), Some((0, 0, 0))),
                headline(counts(9, 0, 9, 0, 0), Some((3, 0, 1))),
                headline(counts(9, 0, 9, 0, 0), Some((0, 2, 0))),
                headline(counts(9, 0, 8, 0, 1), None),
                headline(counts(9, 0, 0, 0, 9), None),
                headline(counts(9, 0, 0, 9, 0), None),
                headline(counts(9, 0, 4, 3, 2), None),
                headline(counts(9, 4, 5, 0, 0), None),
                headline(counts(9, 4, 2, 2, 1), Some((1, 0, 0))),
            ]
            .join("\n"),
            @"
        nothing new
        done, 3 missing and removed
        done, nothing has changed
        done, nothing has changed
        done, no row written, 3 missing and removed, 1 missing and kept
        done, no row written, 2 missing and flagged
        done, no row written, 1 dead-lettered
        done, no row written, 9 dead-lettered
        done, no row written, 9 dropped
        done, no row written, 3 dropped, 2 dead-lettered
        done
        done, 1 dead-lettered, 1 missing and removed
        "
        );
    }

    #[test]
    fn headlines_name_the_outcome() {
        let with = |status, received, inserted| {
            headline(&Report {
                status,
                rows: Counts {
                    received,
                    inserted,
                    ..Counts::default()
                },
                ..report()
            })
        };
        assert_eq!(with(Status::Succeeded, 0, 0), "nothing new");
        assert_eq!(with(Status::Succeeded, 5, 0), "done, no row written");
        assert_eq!(with(Status::Succeeded, 5, 1), "done");
        assert_eq!(
            with(Status::Halted, 5, 1),
            "halted; the next start continues from the checkpoint"
        );
        assert_eq!(
            with(Status::Interrupted, 5, 1),
            "interrupted; the next start continues from the checkpoint"
        );
    }
}
