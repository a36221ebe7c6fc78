//! Texts of others on a screen: from a source, a database, an API server or a guest.
//!
//! A terminal obeys control characters, a line end forges a line of a log, and characters that
//! change the direction of writing disguise a text. All are shown as Rust would write them, such
//! as `\u{1b}`. What enters a message from outside goes through [`printable`]; what leaves for a
//! screen or a log goes through [`lines`] once more, where the host's own line ends may stay.

use std::borrow::Cow;

/// True for a character that a terminal obeys, or that hides or reorders others.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Marks and overrides of direction, line and paragraph separators.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Characters without width that only hide: the byte order mark, and tags.
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// A text as one line that a terminal only shows.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_harmful)
}

/// As [`printable`], with the line ends left in place.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_harmful(c))
}

/// A JSON text with the harmful characters that JSON does not escape by itself escaped.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    // Outside of its strings JSON has no character of these but line ends.
    let harms = |c: char| c != '\n' && is_harmful(c);
    if !text.contains(harms) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harms(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

fn escaped(text: &str, harms: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&harms) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            _ if !harms(c) => safe.push(c),
            '\0' => safe.push_str("\\0"),
            // Line ends and tabs by name, the rest by number.
            '\n' | '\r' | '\t' => safe.extend(c.escape_default()),
            _ => safe.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal would obey, be forged by, or be deceived by.
    const HOSTILE: &str =
        "a\0b\x1b[31mc\r\nd\te\u{7f}\u{9b}2J\u{202e}f\u{2066}\u{200f}\u{2028}\u{feff}\u{e0041}";

    #[test]
    fn i6_nothing_that_a_terminal_obeys_is_left() {
        let shown = printable(HOSTILE);
        assert_eq!(
            shown,
            "a\\0b\\u{1b}[31mc\\r\\nd\\te\\u{7f}\\u{9b}2J\\u{202e}f\\u{2066}\\u{200f}\\u{2028}\\u{feff}\\u{e0041}"
        );
        assert!(matches!(printable(&shown), Cow::Borrowed(_)));
    }

    #[test]
    fn i6_what_people_write_stays() {
        for text in ["", "Łódź", "渋谷区", "👩‍👩‍👧", "שלום", "नमस्ते", "C:\\new"]
        {
            assert!(matches!(printable(text), Cow::Borrowed(_)), "{text}");
        }
        assert_eq!(lines("one\n  hint: two\r"), "one\n  hint: two\\r");
    }

    #[test]
    fn i6_json_stays_json() -> Result<(), serde_json::Error> {
        let text = serde_json::to_string_pretty(&[HOSTILE])?;
        let safe = json(&text);
        assert!(!safe.contains(|c| c != '\n' && is_harmful(c)), "{safe}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&safe)?, [HOSTILE]);
        Ok(())
    }
}
