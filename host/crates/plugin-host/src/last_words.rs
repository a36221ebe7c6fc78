//! Finds the line on a guest's stderr that gives the reason for its failure, and the place.
//!
//! It is the last line, except with runtimes that print more: Python's ends with a panic without
//! information, Go's prints the stacks of its goroutines, and Rust's gives advice. The place is that
//! of the innermost frame in Python, and in Go of the innermost one outside of its libraries.

/// Ends the line before a panic message of Python's runtime, componentize-py, up to the line number.
const IN_PYTHON: &str = "panicked at runtime/src/lib.rs:";

/// Its panic message if the guest returned a value of a wrong type. In Rust, any panic of a guest may
/// begin like this.
const WRONG_TYPE: &str = "called `Result::unwrap()` on an `Err` value: ";

/// Hint for Python, whose components have no files.
const LATE_IMPORT: &str = "import it at the top of a file: a component has only the modules that \
                           were imported when it was built";

/// Reads a guest's stderr line by line.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    last: Option<String>,
    /// True if the last line is the message of a panic in Python's runtime.
    is_of_python: bool,
    reason: Option<String>,
    /// File and line of the reason.
    place: Option<String>,
    state: State,
}

/// What the lines belong to.
#[derive(Debug, Default, PartialEq)]
enum State {
    #[default]
    Text,
    /// A traceback of Python, up to the line after its frames.
    Traceback,
    /// The first stack of Go; true once a frame outside of its libraries was found.
    Goroutine(bool),
    /// Further stacks of Go.
    OtherGoroutines,
}

impl LastWords {
    /// Takes one line, as printed.
    pub(super) fn push(&mut self, line: String) {
        if line.starts_with("note: run with `RUST_BACKTRACE") {
            return;
        }
        match self.state {
            State::Traceback => self.traceback(&line),
            State::Goroutine(found) => self.goroutine(&line, found),
            State::Text | State::OtherGoroutines => {}
        }
        if line.starts_with("Traceback (most recent call last)") {
            self.state = State::Traceback;
        } else if line.starts_with("panic: ") || line.starts_with("fatal error: ") {
            (self.reason, self.place) = (Some(line.clone()), None);
        } else if line.starts_with("goroutine ") && self.state == State::Text {
            self.state = State::Goroutine(false);
        }
        let before = self.last.replace(line);
        self.is_of_python = before.is_some_and(|before| before.contains(IN_PYTHON));
    }

    fn traceback(&mut self, line: &str) {
        if !line.starts_with(' ') {
            self.state = State::Text;
            self.reason = Some(line.to_owned());
        } else if let Some(place) = python_frame(line) {
            self.place = Some(place);
        }
    }

    fn goroutine(&mut self, line: &str, found: bool) {
        if line.starts_with("goroutine ") {
            self.state = State::OtherGoroutines;
        } else if let Some((file, place)) = go_frame(line)
            && !found
        {
            // Module paths begin with a domain, those of the standard library do not.
            let is_library = !file.split('/').next().is_some_and(|it| it.contains('.'));
            self.state = State::Goroutine(!is_library);
            let is_runtime = file.rsplit('/').nth(1) == Some("runtime");
            if !is_library || self.place.is_none() && !is_runtime {
                self.place = Some(place);
            }
        }
    }

    /// Returns the most informative line with its place, if there is one, and starts over for
    /// another failure.
    pub(super) fn take(&mut self) -> Option<String> {
        let Self {
            last,
            is_of_python,
            reason,
            place,
            ..
        } = std::mem::take(self);
        let is_placed = reason.is_some();
        let mut words = reason.or(last)?;
        if is_of_python && let Some(cause) = words.strip_prefix(WRONG_TYPE) {
            words = format!("a value it returned has the wrong type: {cause}");
        }
        if let Some(place) = place.filter(|_| is_placed) {
            words = format!("{words} ({place})");
        }
        if words.starts_with("ModuleNotFoundError: ") {
            words = format!("{words}; {LATE_IMPORT}");
        }
        Some(words)
    }
}

/// The place of a frame such as `  File "/0/plugin.py", line 12, in transform`.
fn python_frame(line: &str) -> Option<String> {
    let (path, rest) = line.trim_start().strip_prefix("File \"")?.split_once('"')?;
    let number = rest.strip_prefix(", line ")?.split(',').next()?;
    Some(format!("{}:{number}", file_name(path)))
}

/// The path of a frame such as `\t/src/plugin.go:12 +0x2`, and its place.
fn go_frame(line: &str) -> Option<(&str, String)> {
    let place = line.strip_prefix('\t')?.split(' ').next()?;
    let (path, number) = place.split_once(".go:")?;
    Some((path, format!("{}.go:{number}", file_name(path))))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
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
            Some("ValueError: no such row (plugin.py:12)"),
        );
        check(
            "Traceback (most recent call last):\n  File \"/0/plugin.py\", line 12, in transform\n  \
             File \"/0/rules.py\", line 3, in judge\nModuleNotFoundError: No module named 'json'",
            Some(
                "ModuleNotFoundError: No module named 'json' (rules.py:3); import it at the top of a \
                 file: a component has only the modules that were imported when it was built",
            ),
        );
        check(
            "thread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29:\n\
             called `Result::unwrap()` on an `Err` value: TypeError(\"'int' is no 'str'\")\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
            Some("a value it returned has the wrong type: TypeError(\"'int' is no 'str'\")"),
        );
        // Any other panic in Rust.
        check(
            "thread '<unnamed>' (1) panicked at src/lib.rs:7:1:\n\
             called `Result::unwrap()` on an `Err` value: ParseIntError { kind: Empty }\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
            Some("called `Result::unwrap()` on an `Err` value: ParseIntError { kind: Empty }"),
        );
        check(
            "thread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29:\nfirst\n\
             called `Result::unwrap()` on an `Err` value: ParseIntError { kind: Empty }",
            Some("called `Result::unwrap()` on an `Err` value: ParseIntError { kind: Empty }"),
        );
        // componentize-qjs 0.4.
        check(
            "thread '<unnamed>' panicked at src/lib.rs:7:1:\nunknown variant\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
            Some("unknown variant"),
        );
        // Go 1.27.
        check(
            "panic: no such row\n\ngoroutine 1 [running]:\nmain.transform(...)\n\
             \texample.com/plugin/plugin.go:12 +0x2\nmain.main()\n\texample.com/plugin/main.go:3",
            Some("panic: no such row (plugin.go:12)"),
        );
        check(
            "panic: strings: negative Repeat count\n\ngoroutine 6 [running]:\npanic({0x1})\n\
             \truntime/panic.go:770 +0x2\nstrings.Repeat(...)\n\tstrings/strings.go:600 +0x2\n\
             main.f()\n\t./rules.go:7 +0x2\ngoroutine 1 [chan receive]:\nmain.g()\n\t./g.go:9",
            Some("panic: strings: negative Repeat count (rules.go:7)"),
        );
    }
}
