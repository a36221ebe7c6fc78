//! Progress of a run: a bar on a terminal, log lines otherwise.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tokio::task::JoinHandle;

use super::logs::BARS;
use super::output::thousands;
use crate::printable::printable;
use crate::progress::Progress;

/// Progress that is shown until this is dropped.
pub(super) struct Shown {
    task: JoinHandle<()>,
    bar: ProgressBar,
}

/// Starts to show `progress`.
pub(super) fn show(name: &str, progress: &Arc<Progress>) -> Shown {
    let terminal = std::io::stderr().is_terminal();
    let bar = if terminal {
        BARS.add(ProgressBar::no_length())
    } else {
        ProgressBar::hidden()
    };
    let template =
        "{prefix} [{bar:32}] {human_pos}/{human_len} rows · {rate} rows/s · {msg} · {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // An error of the terminal cannot be handled here.
            out.write_str(&thousands(state.per_sec() as u64))
                .unwrap_or_default();
        };
        bar.set_style(style.progress_chars("=> ").with_key("rate", rate));
    }
    bar.set_prefix(name.to_owned());
    let task = tokio::spawn(update(
        name.to_owned(),
        Arc::clone(progress),
        bar.clone(),
        terminal,
    ));
    Shown { task, bar }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

async fn update(name: String, progress: Arc<Progress>, bar: ProgressBar, terminal: bool) {
    let period = if terminal {
        Duration::from_millis(100)
    } else {
        Duration::from_secs(2)
    };
    let mut ticks = tokio::time::interval(period);
    let mut last = (Instant::now(), progress.rows.load(Ordering::Relaxed));
    let mut first = true;
    loop {
        ticks.tick().await;
        let rows = progress.rows.load(Ordering::Relaxed);
        let expected = progress.expected.load(Ordering::Relaxed);
        let dead_letters = progress.dead_letters.load(Ordering::Relaxed);
        if terminal {
            if expected > 0 {
                bar.set_length(expected.max(rows));
            }
            if first && rows > 0 {
                // A resumed run: earlier rows do not count for the rate.
                bar.reset_eta();
            }
            bar.set_position(rows);
            let letters = || format!("{} dead letters", thousands(dead_letters));
            let message = progress.building.get().unwrap_or_else(letters);
            bar.set_message(printable(&message).into_owned());
        } else if rows > last.1 {
            let rate = (rows - last.1) as f64 / last.0.elapsed().as_secs_f64().max(0.001);
            let rate = rate as u64;
            tracing::info!(target: "progress", pipeline = name, rows, of = expected, rate, dead_letters, "running");
            last = (Instant::now(), rows);
        }
        first = false;
    }
}
