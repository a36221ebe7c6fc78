//! Shows the difference between expected and actual answers.

use similar::{ChangeTag, TextDiff};

use crate::plugin::head;

/// Maximum number of characters shown of a line; longer lines show the part that differs.
const MAX_SHOWN: usize = 300;

/// Number of characters shown before the first difference in a long line.
const CONTEXT: usize = 60;

/// Compares lines; `-` marks expected lines and `+` marks actual lines.
pub(super) fn of(expected: &[String], answered: &[String]) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (
        expected.iter().map(String::as_str).collect(),
        answered.iter().map(String::as_str).collect(),
    );
    let diff = TextDiff::from_slices(&old, &new);
    let mut lines: Vec<(&str, String)> = Vec::new();
    for change in diff.iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Delete => "- ",
            ChangeTag::Insert => "+ ",
            ChangeTag::Equal => "  ",
        };
        lines.push((sign, change.value().to_owned()));
    }
    // A replaced line is shown from the first difference.
    for at in 1..lines.len() {
        if let Some([("- ", old), ("+ ", new)]) = lines.get_mut(at - 1..=at) {
            let common = old
                .chars()
                .zip(new.chars())
                .take_while(|(a, b)| a == b)
                .count();
            if old.chars().count().max(new.chars().count()) > MAX_SHOWN && common > CONTEXT {
                *old = from(old, common - CONTEXT);
                *new = from(new, common - CONTEXT);
            }
        }
    }
    let lines: Vec<String> = lines
        .into_iter()
        .map(|(sign, line)| format!("{sign}{}", shortened(&line)))
        .collect();
    lines.join("\n")
}

fn from(line: &str, start: usize) -> String {
    format!("…{}", line.chars().skip(start).collect::<String>())
}

/// Shortens a line to [`MAX_SHOWN`] characters.
fn shortened(line: &str) -> String {
    let head = head(line, MAX_SHOWN);
    match line.chars().count().saturating_sub(MAX_SHOWN) {
        0 => line.to_owned(),
        more => format!("{head}… ({more} more characters)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn what_is_common_stands_between() {
        let shown = of(
            &lines(&["accept", "a = 1", "b = 2"]),
            &lines(&["accept", "a = 1", "b = 3"]),
        );
        assert_eq!(shown, "  accept\n  a = 1\n- b = 2\n+ b = 3");
    }

    #[test]
    fn long_lines_are_shown_where_they_differ() {
        let long = "x".repeat(1_000);
        let shown = of(&[format!("{long}left")], &[format!("{long}right")]);
        let context = "x".repeat(CONTEXT);
        assert_eq!(shown, format!("- …{context}left\n+ …{context}right"));
        let shown = of(&lines(&["a"]), &[format!("b{long}")]);
        assert_eq!(
            shown,
            format!("- a\n+ b{}… (701 more characters)", "x".repeat(299))
        );
    }
}
