//! The results as tables.

use std::fmt::Write;

use crate::chain::Cost;
use crate::end_to_end::Row;
use crate::figures::Spread;

/// What the three Rust plugins may cost: a share of the throughput, and microseconds of CPU
/// time a row.
pub(crate) const MOST_THROUGHPUT: f64 = 0.03;
/// See [`MOST_THROUGHPUT`].
pub(crate) const MOST_CPU: f64 = 1.5;

/// Whether a table is followed by what is asked of its plugins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bars {
    Shown,
    None,
}

/// What was measured, and on what.
pub(crate) fn head(rows: usize, dimensions: usize) -> String {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let processor = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!(
        "# What plugins cost\n\n{rows} clean rows with {dimensions} dimensions and 8 fields, in \
         chunks of 300. {threads} threads of {processor}.\nMedians; in brackets the quartiles.\n"
    )
}

/// The chain alone.
pub(crate) fn chain(costs: &[Cost]) -> String {
    let mut text = "\n## The chain alone\n\nOne thread, no database: decoded batches through the \
                    sandbox and back.\n\n\
                    | plugins | size, kB | compiled in, ms | µs a row |\n| --- | ---: | ---: | ---: |\n"
        .to_owned();
    for cost in costs {
        let Cost {
            label,
            kilobytes,
            compile,
            row,
        } = cost;
        let compile = compile.as_millis();
        let row = spread(*row, 2);
        line(
            &mut text,
            format_args!("| {label} | {kilobytes} | {compile} | {row} |"),
        );
    }
    text
}

/// A comparison end to end.
pub(crate) fn end_to_end(what: &str, rows: &[Row], bars: Bars) -> String {
    let mut text = format!(
        "\n## End to end: {what}\n\nThe last two columns compare with the runs without plugins of \
         the same round; the last row compares\nthese with each other, which shows what is noise.\n\n\
         | plugins | rows/s | host CPU, µs a row | throughput, % | CPU, µs a row |\n\
         | --- | ---: | ---: | ---: | ---: |\n"
    );
    for (at, row) in rows.iter().enumerate() {
        let (label, rate) = (&row.label, spread(row.rows_per_second, 0));
        let cpu = spread(row.cpu_microseconds, 2);
        // The first row is what the others are compared with.
        let (throughput, more) = if at == 0 {
            (String::new(), String::new())
        } else {
            let percent = Spread {
                median: percent(row.throughput.median),
                lower: percent(row.throughput.lower),
                upper: percent(row.throughput.upper),
            };
            (signed(percent, 1), signed(row.cpu_more, 2))
        };
        line(
            &mut text,
            format_args!("| {label} | {rate} | {cpu} | {throughput} | {more} |"),
        );
    }
    if bars == Bars::Shown {
        for row in rows.iter().skip(1).take(rows.len().saturating_sub(2)) {
            verdict(&mut text, row);
        }
    }
    text
}

fn verdict(text: &mut String, row: &Row) {
    let word = |met: bool| if met { "met" } else { "missed" };
    let (lost, more) = (1.0 - row.throughput.median, row.cpu_more.median);
    let (asked, met) = (MOST_THROUGHPUT * 100.0, word(lost <= MOST_THROUGHPUT));
    line(
        text,
        format_args!("\n- at most {asked:.0} % of the throughput: {met}"),
    );
    let met = word(more <= MOST_CPU);
    line(
        text,
        format_args!("- at most {MOST_CPU} µs of CPU a row: {met}"),
    );
}

fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

fn spread(spread: Spread, digits: usize) -> String {
    let Spread {
        median,
        lower,
        upper,
    } = spread;
    format!("{median:.digits$} ({lower:.digits$}–{upper:.digits$})")
}

fn signed(spread: Spread, digits: usize) -> String {
    let Spread {
        median,
        lower,
        upper,
    } = spread;
    format!("{median:+.digits$} ({lower:+.digits$} to {upper:+.digits$})")
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").ok();
}
