//! What a guest says: the lines it logs or prints, as events of the target `plugin`.
//!
//! Only so many lines of 2,000 characters a call are written (100 by default); the rest is
//! counted. The last line that was logged as an error is kept, and what counts of those that
//! were printed to stderr: a guest that traps has usually said there why.

use super::last_words::LastWords;
use super::limits::MAX_LOG_LINE;
use super::sanitize::cut;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// For who writes the plugin.
    Debug,
    /// Stdout counts as this.
    Info,
    /// Stderr counts as this.
    Warn,
    /// Panic hooks log this.
    Error,
}

/// The log of one instance.
#[derive(Debug)]
pub(super) struct GuestLog {
    plugin: String,
    max_lines: u32,
    lines: u32,
    last_error: Option<String>,
    printed: LastWords,
}

impl GuestLog {
    /// Lines will carry this plugin's name; `max_lines` of each call are written.
    pub(super) fn new(plugin: String, max_lines: u32) -> Self {
        Self {
            plugin,
            max_lines,
            lines: 0,
            last_error: None,
            printed: LastWords::default(),
        }
    }

    /// A call begins.
    pub(super) fn begin(&mut self) {
        self.lines = 0;
        self.last_error = None;
        self.printed = LastWords::default();
    }

    /// A call has ended: says how many lines were left out.
    pub(super) fn end(&mut self) {
        let left_out = self.lines.saturating_sub(self.max_lines);
        if left_out > 0 {
            tracing::warn!(target: "plugin", plugin = self.plugin, left_out, "more lines in one call than are logged");
        }
    }

    /// A line that was logged.
    pub(super) fn line(&mut self, level: Level, text: String) {
        let text = cut(text, MAX_LOG_LINE);
        self.write(level, &text);
        if level == Level::Error {
            self.last_error = Some(text);
        }
    }

    /// A line on stdout.
    pub(super) fn printed(&mut self, text: String) {
        self.write(Level::Info, &cut(text, MAX_LOG_LINE));
    }

    /// A line on stderr.
    pub(super) fn printed_as_error(&mut self, text: String) {
        let text = cut(text, MAX_LOG_LINE);
        self.write(Level::Warn, &text);
        self.printed.hear(text);
    }

    /// What is printed where it goes to standard error as it is.
    pub(super) fn printed_elsewhere(&mut self, text: String) {
        self.printed.hear(cut(text, MAX_LOG_LINE));
    }

    /// Each line by itself: no guest can write one that looks like the host's.
    fn write(&mut self, level: Level, text: &str) {
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            self.write_line(level, line);
        }
    }

    fn write_line(&mut self, level: Level, text: &str) {
        self.lines = self.lines.saturating_add(1);
        if self.lines > self.max_lines {
            return;
        }
        let plugin = self.plugin.as_str();
        match level {
            Level::Debug => tracing::debug!(target: "plugin", plugin, "{text}"),
            Level::Info => tracing::info!(target: "plugin", plugin, "{text}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, "{text}"),
            Level::Error => tracing::error!(target: "plugin", plugin, "{text}"),
        }
    }

    /// What the guest said last before it failed: what it logged as an error, else what it
    /// printed to stderr, such as the end of a traceback.
    pub(super) fn last_words(&mut self) -> Option<String> {
        self.last_error.take().or_else(|| self.printed.take())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};

    use tracing::field::Field;
    use tracing::span;

    use super::*;

    #[test]
    fn keeps_the_last_words_of_a_call() {
        let mut journal = GuestLog::new("p".to_owned(), 100);
        journal.begin();
        journal.line(Level::Error, "first".to_owned());
        journal.line(Level::Error, "x".repeat(3_000));
        journal.line(Level::Warn, "no error".to_owned());
        journal.printed_as_error("ValueError".to_owned());
        assert_eq!(journal.last_words(), Some("x".repeat(2_000)));
        assert_eq!(journal.last_words(), Some("ValueError".to_owned()));
        assert_eq!(journal.last_words(), None);

        journal.line(Level::Error, "of the call before".to_owned());
        journal.begin();
        assert_eq!(journal.last_words(), None);
    }

    #[test]
    fn lines_are_counted_one_by_one() {
        let mut journal = GuestLog::new("p".to_owned(), 100);
        journal.line(Level::Info, "one\ntwo\n\nthree\n".to_owned());
        assert_eq!(journal.lines, 3);
    }

    /// What reaches the log: the number of events, and each `left_out` that one of them has.
    #[derive(Default)]
    struct Logged {
        events: AtomicU32,
        left_out: Mutex<Vec<u64>>,
    }

    impl tracing::Subscriber for Logged {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn event(&self, event: &tracing::Event<'_>) {
            self.events.fetch_add(1, Ordering::Relaxed);
            event.record(&mut |field: &Field, value: &dyn Debug| {
                if field.name() == "left_out" {
                    let number = format!("{value:?}").parse().unwrap();
                    self.left_out.lock().unwrap().push(number);
                }
            });
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn counts_what_it_leaves_out() {
        let logged = Arc::new(Logged::default());
        tracing::subscriber::with_default(Arc::clone(&logged), || {
            let mut journal = GuestLog::new("p".to_owned(), 100);
            for lines in [107, 100, 101] {
                journal.begin();
                for _ in 0..lines {
                    journal.line(Level::Info, "line".to_owned());
                }
                journal.end();
            }
        });
        assert_eq!(*logged.left_out.lock().unwrap(), [7, 1]);
        // 100 lines a call, and what was left out of two calls.
        assert_eq!(logged.events.load(Ordering::Relaxed), 3 * 100 + 2);
    }
}
