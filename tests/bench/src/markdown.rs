//! Tables.

use std::fmt::Write;

use crate::figures::{Results, Run, Spread};

/// The machine, in a line.
pub(crate) fn machine() -> String {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let processor = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{threads} threads of {processor}. Medians; in brackets the quartiles.\n")
}

/// What is timed and counted in all tables of the write path.
pub(crate) const LEGEND: &str = "\
Timed: the bare loop from before its first COPY to after its last commit, its rows encoded and its\n\
connections open; the host from its first request for rows to its last commit, as it reports.\n\
`of COPY` compares with the bare loop over one connection in the same round, the mean of its two\n\
runs; the last row compares these two, which shows what is noise. CPU is µs a row: of the process\n\
that writes, of all processes of the database server, of the source. WAL is bytes a row. Chunk is\n\
statements and commit of 300 rows, in ms.\n";

/// The results of variants that load rows.
pub(crate) fn loads(results: &Results, against: &str) -> String {
    let mut text = format!(
        "\n| variant | rows/s | {against} | CPU | server's CPU | source's CPU | WAL | chunk p50 | p99 | peak, MiB |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    );
    for (place, series) in results.0.iter().enumerate() {
        let wide = |figure, digits| spread(results.spread(place, figure), digits);
        let short =
            |figure: fn(&Run) -> f64, digits| number(results.spread(place, figure).median, digits);
        let cells = [
            series.label.clone(),
            wide(|run| run.rows_per_second, 0),
            spread(results.share(place), 2),
            wide(|run| run.client_cpu, 1),
            short(|run| run.server_cpu, 1),
            short(|run| run.source_cpu, 1),
            short(|run| run.wal, 0),
            short(|run| run.chunk[0], 1),
            short(|run| run.chunk[1], 1),
            short(|run| run.memory, 0),
        ];
        line(&mut text, format_args!("| {} |", cells.join(" | ")));
    }
    text
}

/// A figure, or a dash.
pub(crate) fn number(figure: f64, digits: usize) -> String {
    if figure.is_nan() {
        "–".to_owned()
    } else {
        format!("{figure:.digits$}")
    }
}

/// Median and quartiles, or a dash.
pub(crate) fn spread(spread: Spread, digits: usize) -> String {
    let Spread {
        median,
        lower,
        upper,
    } = spread;
    if median.is_nan() {
        return "–".to_owned();
    }
    format!("{median:.digits$} ({lower:.digits$}–{upper:.digits$})")
}

/// The same of a difference.
pub(crate) fn signed(spread: Spread, digits: usize) -> String {
    let Spread {
        median,
        lower,
        upper,
    } = spread;
    format!("{median:+.digits$} ({lower:+.digits$} to {upper:+.digits$})")
}

/// Adds a line.
pub(crate) fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").ok();
}
