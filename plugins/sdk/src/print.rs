//! `println!` and its like, which write to the host's log: the standard library discards what a
//! component of this kind prints.

use std::fmt::Arguments;

use crate::Level;

/// Writes a line: to the host's log in a component, to standard error elsewhere.
pub fn line(level: Level, text: Arguments<'_>) {
    if cfg!(target_arch = "wasm32") {
        crate::log(level, &text.to_string());
    } else {
        std::eprintln!("{text}");
    }
}

/// Writes a line to the host's log, at the level of information.
#[macro_export]
macro_rules! println {
    () => {};
    ($($text:tt)+) => { $crate::print::line($crate::Level::Info, ::std::format_args!($($text)+)) };
}

/// As [`println!`]: the log consists of lines.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => { $crate::println!($($text)*) };
}

/// Writes a line to the host's log, as a warning.
#[macro_export]
macro_rules! eprintln {
    () => {};
    ($($text:tt)+) => { $crate::print::line($crate::Level::Warn, ::std::format_args!($($text)+)) };
}

/// As [`eprintln!`]: the log consists of lines.
#[macro_export]
macro_rules! eprint {
    ($($text:tt)*) => { $crate::eprintln!($($text)*) };
}

/// Writes an expression and its value to the host's log, with file and line, and returns the value.
#[macro_export]
macro_rules! dbg {
    () => { $crate::eprintln!("[{}:{}]", ::std::file!(), ::std::line!()) };
    ($value:expr $(,)?) => {
        match $value {
            value => {
                let (file, line) = (::std::file!(), ::std::line!());
                $crate::eprintln!("[{file}:{line}] {} = {value:?}", ::std::stringify!($value));
                value
            }
        }
    };
    ($($value:expr),+ $(,)?) => { ($($crate::dbg!($value)),+,) };
}
