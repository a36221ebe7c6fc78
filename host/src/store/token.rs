//! Resume tokens in a text column.
//!
//! A token may hold any characters; a column of the server holds no NUL, and in a database whose
//! encoding is not UTF-8 not every character. Such characters are written as their number between
//! U+001A, which stands for a character that could not be kept, and a semicolon. A token without
//! them, which nearly all are, is itself.

use std::borrow::Cow;

/// Stands before the number of a character.
const MARK: char = '\u{1a}';

/// The token for the column.
pub(super) fn to_column(token: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii() && c != '\0' && c != MARK;
    if token.chars().all(is_plain) {
        return Cow::Borrowed(token);
    }
    let mut column = String::with_capacity(token.len() + 16);
    for c in token.chars() {
        if is_plain(c) {
            column.push(c);
        } else {
            column.push_str(&format!("{MARK}{:x};", u32::from(c)));
        }
    }
    Cow::Owned(column)
}

/// The token of the column. What is not as [`to_column`] writes it stays as it is.
pub(super) fn from_column(column: String) -> String {
    if !column.contains(MARK) {
        return column;
    }
    let mut parts = column.split(MARK);
    let mut token = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let number = part.split_once(';');
        let found = number.and_then(|(number, rest)| {
            let c = u32::from_str_radix(number, 16)
                .ok()
                .and_then(char::from_u32);
            c.map(|c| (c, rest))
        });
        match found {
            Some((c, rest)) => {
                token.push(c);
                token.push_str(rest);
            }
            None => {
                token.push(MARK);
                token.push_str(part);
            }
        }
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i6_every_token_comes_back() {
        for token in [
            "",
            "row:17",
            "a\0b",
            "\0",
            "\u{1a}",
            "\u{1a}0;",
            "Łódź ; 渋谷",
            "\u{1a}\0\u{1a};;",
        ] {
            let column = to_column(token);
            assert!(column.bytes().all(|b| b.is_ascii() && b != 0), "{column:?}");
            assert_eq!(from_column(column.into_owned()), token);
        }
        assert!(matches!(to_column("row:17"), Cow::Borrowed(_)));
        // Written before this form was.
        for old in ["Łódź", "a\u{1a}b", "\u{1a}110000;"] {
            assert_eq!(from_column(old.to_owned()), old);
        }
    }
}
