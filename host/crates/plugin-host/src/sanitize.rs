//! Texts from guests, cut to what the interface allows.

use std::borrow::Cow;

/// Keeps the first `characters`, and no memory for the rest. Replaces what terminals obey and
/// PostgreSQL cannot store: control characters but for line ends and tabs, and what turns the
/// direction of writing, so that a text reads otherwise than it is.
pub(super) fn cut(mut text: String, characters: usize) -> String {
    // A character has at least one byte, so most texts need no counting.
    if text.len() > characters
        && let Some((end, _)) = text.char_indices().nth(characters)
    {
        text.truncate(end);
        text.shrink_to_fit();
    }
    let is_obeyed = |c: char| {
        c.is_control() && c != '\n' && c != '\t'
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(is_obeyed) {
        text.replace(is_obeyed, "\u{fffd}")
    } else {
        text
    }
}

/// As [`cut`], for names and for what is shown in one line.
pub fn line(text: impl Into<String>, characters: usize) -> String {
    let text = cut(text.into(), characters);
    if text.contains(['\n', '\t']) {
        text.replace(['\n', '\t'], " ")
    } else {
        text
    }
}

/// As [`cut`], for a text that is only looked at.
pub(super) fn shortened(text: &str, characters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(characters) {
        Some((end, _)) => Cow::Owned(text.get(..end).unwrap_or_default().to_owned() + "…"),
        None => Cow::Borrowed(text),
    }
}

/// Whether this is a plugin's name: lower case words joined by hyphens, 1 to 64 characters.
pub fn is_name(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    name.len() <= 64 && name.split('-').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters() {
        let check = |text: &str, characters, expected: &str| {
            assert_eq!(cut(text.to_owned(), characters), expected);
        };
        check("", 0, "");
        check("abc", 3, "abc");
        check("abcd", 3, "abc");
        check("äöü", 3, "äöü");
        check("äöüß", 3, "äöü");
        check("🦀🦀", 1, "🦀");
        check("a\0b", 3, "a\u{fffd}b");
        check("a\0b", 1, "a");
        check("\x1b[2J\r\n\t\u{9b}", 9, "\u{fffd}[2J\u{fffd}\n\t\u{fffd}");
        check("\u{202e}txt.\u{2066}", 9, "\u{fffd}txt.\u{fffd}");
        assert!(cut("a".repeat(1_000), 10).capacity() < 100);
    }

    #[test]
    fn lines_are_lines() {
        assert_eq!(line("a\n\tb\0", 9), "a  b\u{fffd}");
        assert_eq!(line("abc", 2), "ab");
    }

    #[test]
    fn shortens_what_is_shown() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "abc…");
    }

    #[test]
    fn names_are_hyphenated_words() {
        for name in ["a", "recruit-rules", "v2", "a-1-b", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "-",
            "a-",
            "-a",
            "a--b",
            "A",
            "a_b",
            "a b",
            "ä",
            "../x",
            &"x".repeat(65),
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
