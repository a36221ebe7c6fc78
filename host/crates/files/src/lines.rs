//! Cuts a stream of bytes into lines.

use std::io;
use std::io::Read;

use bytes::{Bytes, BytesMut};

use crate::pieces::Line;

/// Bytes that are read at once.
const BLOCK: usize = 256 << 10;

/// The mark with which some programs begin a file in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines, from where the stream is. Memory: a block, and a line of at most `max_line` bytes.
pub(crate) struct LineReader {
    input: Box<dyn Read + Send>,
    /// What was read and not yet given out.
    pending: BytesMut,
    /// Bytes of it that have no end of the line.
    scanned: usize,
    ended: bool,
    /// For CSV: a line break within quotes does not end the line.
    quotes: bool,
    is_quoted: bool,
    max_line: usize,
    /// The beginning of a line that is too long, and its bytes so far.
    head: Option<Bytes>,
    cut: u64,
    /// Line breaks in it so far.
    breaks: u64,
    /// Lines and bytes that were given out.
    pub line: u64,
    pub byte: u64,
}

impl LineReader {
    /// A reader of a stream whose next byte is that after `line` lines with `byte` bytes.
    pub(crate) fn new(
        input: Box<dyn Read + Send>,
        quotes: bool,
        max_line: usize,
        (line, byte): (u64, u64),
    ) -> Self {
        Self {
            input,
            pending: BytesMut::new(),
            scanned: 0,
            ended: false,
            quotes,
            is_quoted: false,
            max_line,
            head: None,
            cut: 0,
            breaks: 0,
            line,
            byte,
        }
    }

    /// The next line that is not blank; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            match self.find_end() {
                Some(end) => {
                    let line = self.take(end + 1, 1);
                    if !line.bytes.trim_ascii().is_empty() {
                        return Ok(Some(line));
                    }
                }
                None if self.ended && self.pending.is_empty() && self.head.is_none() => {
                    return Ok(None);
                }
                None if self.ended => {
                    let line = self.take(self.pending.len(), 0);
                    if !line.bytes.trim_ascii().is_empty() {
                        return Ok(Some(line));
                    }
                }
                None => self.fill()?,
            }
        }
    }

    /// The place of the line break that ends the line, if it is here.
    fn find_end(&mut self) -> Option<usize> {
        loop {
            let rest = self.pending.get(self.scanned..)?;
            let found = match self.quotes {
                true => memchr::memchr2(b'\n', b'"', rest),
                false => memchr::memchr(b'\n', rest),
            };
            let Some(found) = found else {
                self.scanned = self.pending.len();
                return None;
            };
            let is_break = rest.get(found) == Some(&b'\n');
            self.scanned += found + 1;
            if !is_break {
                self.is_quoted = !self.is_quoted;
            } else if self.is_quoted {
                self.breaks += 1;
            } else {
                return Some(self.scanned - 1);
            }
        }
    }

    /// Takes the line that has the next `bytes` bytes, of which the last `end` are its end.
    fn take(&mut self, bytes: usize, end: usize) -> Line {
        let rest = self.pending.split_to(bytes).freeze();
        let length = self.cut + (bytes - end) as u64;
        let mut line = match self.head.take() {
            Some(head) => head,
            None => rest.slice(..bytes - end),
        };
        if self.byte == 0 && line.starts_with(MARK) {
            line = line.slice(MARK.len()..);
        }
        if let Some(without) = line.strip_suffix(b"\r") {
            line = line.slice_ref(without);
        }
        let number = self.line + 1;
        self.byte += self.cut + bytes as u64;
        self.line = number + self.breaks;
        (self.scanned, self.cut, self.breaks, self.is_quoted) = (0, 0, 0, false);
        Line {
            bytes: line,
            length,
            number,
            is_torn: end == 0,
        }
    }

    /// Reads on. Of a line that is too long only the beginning is kept.
    fn fill(&mut self) -> io::Result<()> {
        if self.pending.len() > self.max_line {
            let all = self.pending.split().freeze();
            self.cut += all.len() as u64;
            self.scanned = 0;
            // Its own copy: the rest is not kept with it.
            let head = || all.get(..self.max_line + 1).map(Bytes::copy_from_slice);
            self.head = self.head.take().or_else(head);
        }
        let before = self.pending.len();
        self.pending.resize(before + BLOCK, 0);
        let room = self.pending.get_mut(before..).unwrap_or_default();
        let read = loop {
            match self.input.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.pending.truncate(before + read);
        self.ended = read == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A stream that gives a few bytes at a time.
    struct Slow(Vec<u8>, usize);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(self.0.len()).min(into.len());
            let rest = self.0.split_off(size);
            into.get_mut(..size).unwrap().copy_from_slice(&self.0);
            self.0 = rest;
            Ok(size)
        }
    }

    fn lines(text: &str, quotes: bool, step: usize, most: usize) -> Vec<(String, u64, u64, bool)> {
        let input = Box::new(Slow(text.into(), step));
        let mut reader = LineReader::new(input, quotes, most, (0, 0));
        let mut lines = Vec::new();
        while let Some(line) = reader.next().unwrap() {
            let text = String::from_utf8(line.bytes.to_vec()).unwrap();
            lines.push((text, line.number, line.length, line.is_torn));
        }
        assert_eq!(reader.byte, text.len() as u64);
        lines
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let text = "\u{feff}one\r\n\n  \ntwo\nthree";
        for step in [1, 2, 3, 7, 100] {
            let found = lines(text, false, step, 1000);
            let found: Vec<_> = found.iter().map(|it| (it.0.as_str(), it.1, it.3)).collect();
            let expected = [("one", 1, false), ("two", 4, false), ("three", 5, true)];
            assert_eq!(found, expected, "{step}");
        }
    }

    #[test]
    fn a_line_break_in_quotes_is_part_of_the_line() {
        for step in [1, 2, 5, 100] {
            let found = lines("a,\"x\n\"\"y\"\nb,2\n", true, step, 1000);
            let found: Vec<_> = found.iter().map(|it| (it.0.as_str(), it.1)).collect();
            assert_eq!(found, [("a,\"x\n\"\"y\"", 1), ("b,2", 3)], "{step}");
        }
    }

    #[test]
    fn of_a_line_that_is_too_long_only_the_beginning_is_kept() {
        let text = format!("a\n{}\nb\n", "x".repeat(1_000_000));
        for step in [1_000, 300_000, 2_000_000] {
            let found = lines(&text, false, step, 10);
            assert_eq!(found.len(), 3, "{step}");
            let long = found.get(1).unwrap();
            assert_eq!((long.1, long.2, long.3), (2, 1_000_000, false), "{step}");
            assert!(long.0.len() > 10, "{step}");
            assert_eq!(found.get(2).unwrap(), &("b".to_owned(), 3, 1, false));
        }
    }
}
