//! A report as text for people.

use std::fmt::Write;

use bytesize::ByteSize;

use super::output::{table, thousands};
use crate::notify::NotifyStatus;
use crate::report::{Code, IndexReport, IndexState, Missing, MissingStatus, Report};
use crate::store::run::Status;

/// The whole report.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    write_text(&mut out, report).unwrap_or_default();
    out
}

fn write_text(out: &mut String, report: &Report) -> std::fmt::Result {
    let rows = &report.rows;
    let again = if report.starts > 1 {
        format!(", start {} of this run", report.starts)
    } else {
        String::new()
    };
    writeln!(out, "{}: {}{again}", report.pipeline, headline(report))?;
    if let Some(message) = &report.message {
        writeln!(out, "  {message}")?;
    }
    let deleted = match rows.deleted {
        0 => String::new(),
        deleted => format!(" ({} of them deleted)", thousands(deleted)),
    };
    writeln!(
        out,
        "  received {} = inserted {} + updated {}{deleted} + unchanged {} + dropped {} + dead-lettered {}",
        thousands(rows.received),
        thousands(rows.inserted),
        thousands(rows.updated),
        thousands(rows.unchanged),
        thousands(rows.dropped),
        thousands(rows.dead_lettered),
    )?;
    if let Some(missing) = &report.missing {
        write_missing(out, missing)?;
    }
    let memory = report
        .peak_memory_bytes
        .map(|bytes| format!(", peak memory {}", ByteSize(bytes).display().iec()));
    writeln!(
        out,
        "  {:.1} s, {} rows/s, {:.1} µs of CPU a row{}",
        report.seconds,
        thousands(report.rows_per_second as u64),
        report.cpu_microseconds_per_row,
        memory.unwrap_or_default(),
    )?;
    write_codes(out, &report.codes)?;
    write_plugins(out, report)?;
    writeln!(out)?;
    write_indexes(out, &report.indexes)?;
    for checkpoint in &report.checkpoint {
        let partition = if checkpoint.partition.is_empty() {
            String::new()
        } else {
            format!(" {}", checkpoint.partition)
        };
        let end = if checkpoint.complete { ", the end" } else { "" };
        writeln!(
            out,
            "  checkpoint{partition}: {} after {} chunks{end}",
            checkpoint.position,
            thousands(checkpoint.sequence.unsigned_abs())
        )?;
    }
    writeln!(out, "  notification: {}", notification(report))
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
                "  index {name}: to be built by the start that comes to the end ({mode})"
            )?,
        }
    }
    Ok(())
}

fn headline(report: &Report) -> String {
    let rows = &report.rows;
    match report.status {
        Status::Succeeded if rows.received == 0 => "nothing new".into(),
        Status::Succeeded if rows.inserted + rows.updated == 0 => {
            "done, and nothing had changed".into()
        }
        Status::Succeeded => "done".into(),
        Status::HeldBack => "done, but rows that the source no longer has stay".into(),
        Status::Failed => "failed; the next start goes on from the checkpoint".into(),
        Status::Halted => "halted; the next start goes on from the checkpoint".into(),
        Status::Interrupted => "interrupted; the next start goes on from the checkpoint".into(),
    }
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
            writeln!(out, "  no longer in the source: {}{fates}", counted())?;
        }
        MissingStatus::HeldBack => {
            writeln!(out, "  no longer in the source: {}, all kept", counted())?;
        }
        MissingStatus::Unfinished if missing.known > 0 => {
            let counted = counted();
            writeln!(
                out,
                "  no longer in the source: {counted}{fates}; the next start goes on"
            )?;
        }
        MissingStatus::Unfinished => {
            writeln!(
                out,
                "  no longer in the source: not known before the run's end"
            )?;
        }
        MissingStatus::NextRun => {
            writeln!(
                out,
                "  no longer in the source: looked for from the next run on"
            )?;
        }
    }
    match &missing.note {
        Some(note) => writeln!(out, "  {note}"),
        None => Ok(()),
    }
}

fn write_codes(out: &mut String, codes: &[Code]) -> std::fmt::Result {
    if codes.is_empty() {
        return Ok(());
    }
    let mut lines = table(["fate", "stage", "code", "rows"]);
    for code in codes {
        lines.add_row([
            code.fate.replace('_', "-"),
            code.stage.clone(),
            code.code.clone(),
            thousands(code.rows),
        ]);
    }
    writeln!(out, "\n{lines}")
}

fn write_plugins(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.plugins.is_empty() {
        return Ok(());
    }
    let mut lines = table([
        "plugin", "version", "digest", "roles", "calls", "rows", "ns/row",
    ]);
    for plugin in &report.plugins {
        lines.add_row([
            plugin.id.name.clone(),
            plugin.id.version.clone(),
            plugin.id.short_digest().to_owned(),
            plugin.roles.join(", "),
            thousands(plugin.calls),
            thousands(plugin.rows),
            thousands(plugin.nanoseconds_per_row),
        ]);
    }
    writeln!(out, "\n{lines}")
}

fn notification(report: &Report) -> String {
    let notify = &report.notify;
    match notify.status {
        NotifyStatus::None => "not configured".into(),
        NotifyStatus::NothingChanged => "not needed, nothing had changed".into(),
        NotifyStatus::Delivered => "delivered".into(),
        NotifyStatus::Pending => {
            let error = notify.error.as_deref().unwrap_or_default();
            format!(
                "owed still after {} attempts ({error}); the next run tries again",
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
        store::run::{Checkpoint, Counts},
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
            starts: 1,
            rows,
            missing: None,
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
    fn a_run_that_did_something() {
        assert_snapshot!(text(&report()), @r#"
        recruit: done
          received 12,000 = inserted 11,000 + updated 25 + unchanged 800 + dropped 22 + dead-lettered 153
          1.2 s, 9,600 rows/s, 8.0 µs of CPU a row, peak memory 96.0 MiB

        ─────────────────────────────────────────────────
         fate            stage       code           rows 
        ═════════════════════════════════════════════════
         dead-lettered   decode      KEY_MISSING    153  
        ─────────────────────────────────────────────────
         dropped         transform   TEST_POSTING   22   
        ─────────────────────────────────────────────────

        ──────────────────────────────────────────────────────────────────────────────────────────
         plugin   version   digest         roles                          calls   rows     ns/row 
        ══════════════════════════════════════════════════════════════════════════════════════════
         tidy     1.2.0     0123456789ab   transform                      40      11,840   1,240  
        ──────────────────────────────────────────────────────────────────────────────────────────
         judge    1.2.0     0123456789ab   validate, dead-letter-policy   40      11,840   1,240  
        ──────────────────────────────────────────────────────────────────────────────────────────

          index public.rebuild_hnsw: built in 12.0 s (rebuild)
          checkpoint: row:12000 after 1,040 chunks, the end
          notification: delivered
        "#);
    }

    #[test]
    fn a_run_that_was_cut_off_and_owes_a_notification() {
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
        assert_snapshot!(text(&report), @r#"
        recruit: failed; the next start goes on from the checkpoint, start 3 of this run
          gave up after 5m: source http://h is away: refused
          received 12,000 = inserted 11,000 + updated 25 + unchanged 800 + dropped 22 + dead-lettered 153
          1.2 s, 9,600 rows/s, 8.0 µs of CPU a row

          index public.defer_hnsw: to be built by the start that comes to the end (defer)
          checkpoint eu: eu:9 after 4 chunks
          checkpoint us: us:9 after 3 chunks, the end
          notification: owed still after 5 attempts (refused); the next run tries again
        "#);
    }

    #[test]
    fn rows_that_the_source_no_longer_has() {
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
        no longer in the source: 1,500 of 12,000 rows, removed 1,500
        no longer in the source: 1,500 of 12,000 rows, removed 1,499, kept 1
        the database refuses
        no longer in the source: 1,500 of 12,000 rows, all kept
        too many
        no longer in the source: not known before the run's end
        no longer in the source: 1,500 of 12,000 rows, removed 1,000; the next start goes on
        no longer in the source: looked for from the next run on
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
        let text = text(&report);
        let lines: Vec<&str> = text.lines().take(2).collect();
        assert_snapshot!(lines.join("\n"), @"
        recruit: done, but rows that the source no longer has stay
          received 12,000 = inserted 11,000 + updated 25 (5 of them deleted) + unchanged 800 + dropped 22 + dead-lettered 153
        ");
    }

    #[test]
    fn headlines_say_what_a_run_came_to() {
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
        assert_eq!(
            with(Status::Succeeded, 5, 0),
            "done, and nothing had changed"
        );
        assert_eq!(with(Status::Succeeded, 5, 1), "done");
        assert_eq!(
            with(Status::Halted, 5, 1),
            "halted; the next start goes on from the checkpoint"
        );
        assert_eq!(
            with(Status::Interrupted, 5, 1),
            "interrupted; the next start goes on from the checkpoint"
        );
    }
}
