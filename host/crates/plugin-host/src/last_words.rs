//! Finds the line on a guest's stderr that gives the reason for its failure.
//!
//! It is the last line, except with runtimes that print more: Python's ends with a panic without
//! information, Go's prints the stacks of its goroutines, and Rust's gives advice.

/// Reads a guest's stderr line by line.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    last: Option<String>,
    reason: Option<String>,
    in_traceback: bool,
}

impl LastWords {
    /// Takes one line, as printed.
    pub(super) fn push(&mut self, line: String) {
        if line.starts_with("note: run with `RUST_BACKTRACE") {
            return;
        }
        if self.in_traceback && !line.starts_with(' ') {
            self.in_traceback = false;
            self.reason = Some(line.clone());
        } else if line.starts_with("Traceback (most recent call last)") {
            self.in_traceback = true;
        } else if line.starts_with("panic: ") || line.starts_with("fatal error: ") {
            self.reason = Some(line.clone());
        }
        self.last = Some(line);
    }

    /// Returns the most informative line, if there is one, and starts over for another failure.
    pub(super) fn take(&mut self) -> Option<String> {
        let Self { last, reason, .. } = std::mem::take(self);
        reason.or(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_reason() {
        let check = |printed: &str, expected: Option<&str>| {
            let mut words = LastWords::default();
            for line in printed.lines() {
                words.push(line.to_owned());
            }
            assert_eq!(words.take().as_deref(), expected, "{printed}");
            assert_eq!(words.take(), None);
        };
        check("", None);
        check("first\nlast", Some("last"));
        // componentize-py 0.25.
        check(
            "Traceback (most recent call last):\n  File \"/0/plugin.py\", line 12, in transform\n\
             ValueError: no such row\nthread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29:\n\
             Python function threw an unexpected exception\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
            Some("ValueError: no such row"),
        );
        // componentize-qjs 0.4.
        check(
            "thread '<unnamed>' panicked at src/lib.rs:7:1:\nunknown variant\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
            Some("unknown variant"),
        );
        // Go 1.27.
        check(
            "panic: no such row\n\ngoroutine 1 [running]:\nmain.transform(...)\n\t/plugin.go:12",
            Some("panic: no such row"),
        );
    }
}
