//! Cuts and cleans texts, above all those from guests.

use std::borrow::Cow;

/// Keeps the first `characters`, and frees the memory of the rest. Replaces characters that
/// terminals interpret or PostgreSQL cannot store: control characters except line feeds and tabs,
/// and characters that change the direction of writing, which can disguise a text.
pub(super) fn cut(mut text: String, characters: usize) -> String {
    // A character has at least one byte, so most texts need no counting.
    if text.len() > characters
        && let Some((end, _)) = text.char_indices().nth(characters)
    {
        text.truncate(end);
        text.shrink_to_fit();
    }
    let is_harmful = |c: char| {
        c.is_control() && c != '\n' && c != '\t'
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(is_harmful) {
        text.replace(is_harmful, "\u{fffd}")
    } else {
        text
    }
}

/// Keeps the first `characters` on one line, for names and log lines: replaces line feeds and tabs
/// with spaces, and characters that terminals interpret or PostgreSQL cannot store.
pub fn line(text: impl Into<String>, characters: usize) -> String {
    let text = cut(text.into(), characters);
    if text.contains(['\n', '\t']) {
        text.replace(['\n', '\t'], " ")
    } else {
        text
    }
}

/// The first `characters` of a text.
#[must_use]
pub fn head(text: &str, characters: usize) -> &str {
    match text.char_indices().nth(characters) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}

/// The first `characters` of a text, with an ellipsis if there are more.
#[must_use]
pub fn shortened(text: &str, characters: usize) -> Cow<'_, str> {
    let head = head(text, characters);
    if head.len() < text.len() {
        Cow::Owned(format!("{head}…"))
    } else {
        Cow::Borrowed(text)
    }
}

/// True if this is a valid plugin name: lower-case words joined by hyphens, 1 to 64 characters.
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
    fn shortens_between_characters() {
        assert_eq!(head("ßab", 2), "ßa");
        assert_eq!(head("ab", 2), "ab");
        assert_eq!(head("", 0), "");
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
