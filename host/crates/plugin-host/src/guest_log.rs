//! The lines that a guest logs or prints, as events with the target `plugin`.
//!
//! A limited number of lines per call is written (100 by default), of 2,000 characters each;
//! further ones are counted. The last line logged as an error is kept, and the most informative one
//! on stderr: a guest that traps has usually given the reason there.

use super::last_words::LastWords;
use super::limits::MAX_LOG_LINE;
use super::sanitize::cut;

/// Severity of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Used by authors of plugins.
    Debug,
    /// Also for lines on stdout.
    Info,
    /// Also for lines on stderr.
    Warn,
    /// Used by panic hooks.
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
    /// Creates the log of an instance of this plugin. At most `max_lines` are written per call.
    pub(super) fn new(plugin: String, max_lines: u32) -> Self {
        Self {
            plugin,
            max_lines,
            lines: 0,
            last_error: None,
            printed: LastWords::default(),
        }
    }

    /// Starts over at the beginning of a call.
    pub(super) fn begin(&mut self) {
        self.lines = 0;
        self.last_error = None;
        self.printed = LastWords::default();
    }

    /// Reports at the end of a call how many lines were left out.
    pub(super) fn end(&mut self) {
        let left_out = self.lines.saturating_sub(self.max_lines);
        if left_out > 0 {
            tracing::warn!(target: "plugin", plugin = self.plugin, left_out, "lines beyond the limit of one call are not logged");
        }
    }

    /// Takes a text that was logged.
    pub(super) fn line(&mut self, level: Level, text: String) {
        let text = cut(text, MAX_LOG_LINE);
        self.write(level, &text);
        if level == Level::Error {
            self.last_error = Some(text);
        }
    }

    /// Takes a line on stdout.
    pub(super) fn printed(&mut self, text: String) {
        self.write(Level::Info, &cut(text, MAX_LOG_LINE));
    }

    /// Takes a line on stderr.
    pub(super) fn printed_as_error(&mut self, text: String) {
        let text = cut(text, MAX_LOG_LINE);
        self.write(Level::Warn, &text);
        self.printed.push(text);
    }

    /// Takes a line that goes to standard error unchanged, and is not logged.
    pub(super) fn passed_on(&mut self, text: String) {
        self.printed.push(cut(text, MAX_LOG_LINE));
    }

    /// Writes each line as an event of its own: no guest can forge a line of the host.
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

    /// The guest's reason for its failure: its last line logged as an error, or else a line on
    /// stderr, such as the end of a traceback.
    pub(super) fn last_words(&mut self) -> Option<String> {
        self.last_error.take().or_else(|| self.printed.take())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    #[test]
    fn keeps_the_last_words_of_a_call() {
        let mut log = GuestLog::new("p".to_owned(), 100);
        log.begin();
        log.line(Level::Error, "first".to_owned());
        log.line(Level::Error, "x".repeat(3_000));
        log.line(Level::Warn, "no error".to_owned());
        log.printed_as_error("ValueError".to_owned());
        assert_eq!(log.last_words(), Some("x".repeat(2_000)));
        assert_eq!(log.last_words(), Some("ValueError".to_owned()));
        assert_eq!(log.last_words(), None);

        log.line(Level::Error, "of the call before".to_owned());
        log.begin();
        assert_eq!(log.last_words(), None);
    }

    #[test]
    fn lines_are_counted_one_by_one() {
        let mut log = GuestLog::new("p".to_owned(), 100);
        log.line(Level::Info, "one\ntwo\n\nthree\n".to_owned());
        assert_eq!(log.lines, 3);
    }

    /// Counts events, and keeps the field `left_out`.
    #[derive(Default)]
    struct Events {
        lines: AtomicU64,
        left_out: AtomicU64,
    }

    impl Visit for &Events {
        fn record_u64(&mut self, field: &Field, value: u64) {
            assert_eq!(field.name(), "left_out");
            self.left_out.fetch_add(value, Relaxed);
        }

        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" && format!("{value:?}") == "line" {
                self.lines.fetch_add(1, Relaxed);
            }
        }
    }

    impl Subscriber for Events {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            event.record(&mut &*self);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn lines_beyond_the_limit_are_counted() {
        let events = Arc::new(Events::default());
        tracing::subscriber::with_default(Arc::clone(&events), || {
            let mut log = GuestLog::new("p".to_owned(), 100);
            for lines in [107, 100, 3] {
                log.begin();
                for _ in 0..lines {
                    log.line(Level::Info, "line".to_owned());
                }
                log.end();
            }
        });
        assert_eq!(events.lines.load(Relaxed), 203);
        assert_eq!(events.left_out.load(Relaxed), 7);
    }
}
