//! The width of the screen, and texts that fit into it.
//!
//! Output that is piped looks as on a terminal of 80 columns.

use std::borrow::Cow;
use std::io;

use terminal_size::{Width, terminal_size_of};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns where there is no terminal, and the least where there is one.
const COLUMNS: u16 = 80;

/// Columns of the terminal on standard output, at least 80.
pub(super) fn columns() -> usize {
    let terminal = terminal_size_of(io::stdout()).map(|(Width(width), _)| width);
    terminal.map_or(COLUMNS, |width| width.max(COLUMNS)).into()
}

/// Columns that a text takes; a character of Chinese, for example, takes two.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// A text in at most `columns`, cut after a word. A single word that is longer is cut inside:
/// there is no other way to keep it in its column.
pub(super) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    // One column is for the ellipsis.
    let room = columns.saturating_sub(1);
    let mut used = 0;
    let fits = |(_, c): &(usize, char)| {
        used += c.width().unwrap_or(0);
        used <= room
    };
    let end = text.char_indices().take_while(fits).last();
    let end = end.map_or(0, |(start, c)| start + c.len_utf8());
    let (head, rest) = text.split_at(end);
    let after_word = if rest.starts_with(' ') {
        Some(end)
    } else {
        head.rfind(' ')
    };
    let head = after_word.and_then(|end| head.get(..end)).unwrap_or(head);
    let head = head.trim_end_matches([' ', ',', ';', ':']);
    Cow::Owned(format!("{head}…"))
}

/// `parts` joined by spaces, in lines of at most `columns` that break between parts only. The
/// second and later lines are indented by `indent`. A part that is longer than a line is left in
/// one piece.
pub(super) fn wrap<'p>(
    parts: impl IntoIterator<Item = &'p str>,
    indent: usize,
    columns: usize,
) -> String {
    let mut text = String::new();
    let mut used = 0;
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 && used + 1 + width(part) > columns {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            used = indent;
        } else if index > 0 {
            text.push(' ');
            used += 1;
        }
        text.push_str(part);
        used += width(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_after_a_word() {
        for (columns, expected) in [
            (80, "exp_years is 120; it must be 0 to 60"),
            (36, "exp_years is 120; it must be 0 to 60"),
            (35, "exp_years is 120; it must be 0 to…"),
            (18, "exp_years is 120…"),
            (17, "exp_years is…"),
            (16, "exp_years is…"),
            (9, "exp_year…"),
            (1, "…"),
        ] {
            let text = cut("exp_years is 120; it must be 0 to 60", columns);
            assert_eq!(text, expected, "{columns}");
        }
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(width("渋谷区"), 6);
        assert_eq!(cut("渋谷区", 6), "渋谷区");
        assert_eq!(cut("渋谷区", 5), "渋谷…");
        assert_eq!(cut("渋谷区", 4), "渋…");
    }

    #[test]
    fn lines_break_between_parts() {
        let parts = ["received 900", "= inserted 850", "+ dropped 50"];
        assert_eq!(
            wrap(parts, 2, 40),
            "received 900 = inserted 850 + dropped 50"
        );
        let lines = "received 900 = inserted 850\n  + dropped 50";
        assert_eq!(wrap(parts, 2, 39), lines);
        let each = "received 900\n  = inserted 850\n  + dropped 50";
        assert_eq!(wrap(parts, 2, 10), each);
    }
}
