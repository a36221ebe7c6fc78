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
    output: Output,
    max_lines: u32,
    lines: u32,
    last_error: Option<String>,
    printed: LastWords,
    /// Unfinished lines on stdout and stderr.
    unfinished: [Vec<u8>; 2],
}

/// A stream of a guest's output.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    /// Its lines are logged at info.
    Stdout,
    /// Its lines are logged as warnings, and may become the reason of a failure.
    Stderr,
}

/// Treatment of a guest's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// It is logged.
    Logged,
    /// It goes to standard error unchanged and is not logged.
    PassedOn,
}

/// Maximum bytes of an unfinished line: they hold [`MAX_LOG_LINE`] characters.
const MAX_UNFINISHED: usize = 4 * MAX_LOG_LINE;

impl GuestLog {
    /// Creates the log of an instance of this plugin. At most `max_lines` are written per call.
    pub(super) fn new(plugin: String, output: Output, max_lines: u32) -> Self {
        Self {
            plugin,
            output,
            max_lines,
            lines: 0,
            last_error: None,
            printed: LastWords::default(),
            unfinished: [Vec::new(), Vec::new()],
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
        self.finish_lines();
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

    /// Takes what was printed. A line is complete at its end, or with the call.
    pub(super) fn printed(&mut self, stream: Stream, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let [stdout, stderr] = &mut self.unfinished;
            let line = match stream {
                Stream::Stdout => stdout,
                Stream::Stderr => stderr,
            };
            line.extend_from_slice(part);
            if part.ends_with(b"\n") || line.len() > MAX_UNFINISHED {
                let line = std::mem::take(line);
                self.printed_line(stream, &line);
            }
        }
    }

    /// Takes lines as they are that have no end, such as the last words before a trap.
    fn finish_lines(&mut self) {
        let [stdout, stderr] = std::mem::take(&mut self.unfinished);
        self.printed_line(Stream::Stdout, &stdout);
        self.printed_line(Stream::Stderr, &stderr);
    }

    fn printed_line(&mut self, stream: Stream, line: &[u8]) {
        let text = cut(
            String::from_utf8_lossy(line).trim_end().to_owned(),
            MAX_LOG_LINE,
        );
        if text.is_empty() {
            return;
        }
        let level = match stream {
            Stream::Stdout => Level::Info,
            Stream::Stderr => Level::Warn,
        };
        if self.output == Output::Logged {
            self.write(level, &text);
        }
        match stream {
            Stream::Stdout => {}
            Stream::Stderr => self.printed.push(text),
        }
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
        self.finish_lines();
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
        let mut log = GuestLog::new("p".to_owned(), Output::Logged, 100);
        log.begin();
        log.line(Level::Error, "first".to_owned());
        log.line(Level::Error, "x".repeat(3_000));
        log.line(Level::Warn, "no error".to_owned());
        log.printed(Stream::Stderr, b"no reason\nValue");
        // Not all programs finish their last line.
        log.printed(Stream::Stderr, b"Error");
        assert_eq!(log.last_words(), Some("x".repeat(2_000)));
        assert_eq!(log.last_words(), Some("ValueError".to_owned()));
        assert_eq!(log.last_words(), None);

        log.line(Level::Error, "of the call before".to_owned());
        log.begin();
        assert_eq!(log.last_words(), None);
    }

    #[test]
    fn lines_are_counted_one_by_one() {
        let mut log = GuestLog::new("p".to_owned(), Output::Logged, 100);
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
            let mut log = GuestLog::new("p".to_owned(), Output::Logged, 100);
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
