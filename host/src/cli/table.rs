//! Tables on the screen: a header, then one line for each row, without rules.
//!
//! A table is as wide as its content and at most as wide as the screen. If the content is wider,
//! optional columns are left out, the last one first, until each text has room for a sentence. Then
//! texts are cut after a word. Names are cut only if that is not enough; numbers never.

use std::fmt;

use super::screen;
use crate::plugin::head;
use crate::printable::printable;

/// Spaces between two columns.
const GAP: usize = 2;
/// Columns that a text is given before optional columns are shown: enough for a short sentence.
const TEXT_WIDTH: usize = 40;
/// The narrowest that a column is cut to.
const MIN_WIDTH: usize = 8;
/// Characters of a cell: no screen is wider.
const MAX_CELL: usize = 1_000;

/// A column: its header, and how it gives way if the table is too wide.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    header: &'static str,
    kind: Kind,
    optional: bool,
}

/// Kinds of columns, in the order in which they give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Name,
    Number,
}

impl Column {
    /// A text, which may be cut.
    pub(super) const fn text(header: &'static str) -> Self {
        Self::of(header, Kind::Text)
    }

    /// A name, which is cut only if the table does not fit otherwise.
    pub(super) const fn name(header: &'static str) -> Self {
        Self::of(header, Kind::Name)
    }

    /// A number, which is aligned to the right and never cut.
    pub(super) const fn number(header: &'static str) -> Self {
        Self::of(header, Kind::Number)
    }

    /// The same, but left out if there is no room for it.
    pub(super) const fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    const fn of(header: &'static str, kind: Kind) -> Self {
        Self {
            header,
            kind,
            optional: false,
        }
    }
}

/// A table of `N` columns. Displayed, it fits the screen and does not end with a line end.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
    indent: usize,
}

/// A column that is shown: its place in each row, and its width.
struct Shown {
    place: usize,
    column: Column,
    width: usize,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(super) fn new(columns: [Column; N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
            indent: 0,
        }
    }

    /// The same, with each line indented.
    pub(super) fn indented(self, indent: usize) -> Self {
        Self { indent, ..self }
    }

    /// Adds a row. Its cells become single lines that a terminal does not obey.
    pub(super) fn row(&mut self, cells: [String; N]) {
        let shown = |cell: String| printable(head(&cell, MAX_CELL)).into_owned();
        self.rows.push(cells.map(shown));
    }

    /// The table in at most `columns` columns, as far as its numbers and headers let it.
    pub(super) fn within(&self, columns: usize) -> String {
        let shown = self.fitted(columns.saturating_sub(self.indent));
        let headers = self.columns.map(|column| column.header);
        let mut lines = vec![self.line(&shown, &headers)];
        lines.extend(self.rows.iter().map(|row| self.line(&shown, row)));
        lines.join("\n")
    }

    /// The columns that are shown, with widths that fit.
    fn fitted(&self, columns: usize) -> Vec<Shown> {
        let all = self.columns.iter().enumerate();
        let mut shown: Vec<Shown> = all
            .map(|(place, &column)| {
                let cells = self.rows.iter().filter_map(|row| row.get(place));
                let widths = cells.map(|cell| screen::width(cell));
                let width = widths.fold(screen::width(column.header), usize::max);
                Shown {
                    place,
                    column,
                    width,
                }
            })
            .collect();
        while total(&shown, TEXT_WIDTH) > columns
            && let Some(last) = shown.iter().rposition(|it| it.column.optional)
        {
            shown.remove(last);
        }
        for kind in [Kind::Text, Kind::Name] {
            while total(&shown, usize::MAX) > columns
                && let Some(widest) = shown
                    .iter_mut()
                    .filter(|it| it.column.kind == kind && it.width > MIN_WIDTH)
                    .max_by_key(|it| it.width)
            {
                widest.width -= 1;
            }
        }
        shown
    }

    fn line<T: AsRef<str>>(&self, shown: &[Shown], cells: &[T; N]) -> String {
        let mut line = " ".repeat(self.indent);
        for (index, it) in shown.iter().enumerate() {
            if index > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let cell = cells.get(it.place).map(AsRef::as_ref).unwrap_or_default();
            let cell = screen::cut(cell, it.width);
            let padding = " ".repeat(it.width.saturating_sub(screen::width(&cell)));
            if it.column.kind == Kind::Number {
                line += &padding;
                line += &cell;
            } else {
                line += &cell;
                line += &padding;
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.within(screen::columns()))
    }
}

/// Width of a table whose texts have at most `text_width` columns.
fn total(shown: &[Shown], text_width: usize) -> usize {
    let widths = shown.iter().map(|it| match it.column.kind {
        Kind::Text => it.width.min(text_width),
        Kind::Name | Kind::Number => it.width,
    });
    widths.sum::<usize>() + GAP * shown.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn table() -> Table<5> {
        let mut table = Table::new([
            Column::number("id"),
            Column::name("code"),
            Column::text("message"),
            Column::name("key").optional(),
            Column::name("queue").optional(),
        ]);
        for (id, code, message) in [
            ("9", "FIELD_RANGE", "exp_years is 120; it must be 0 to 60"),
            ("1,234", "名前がない", "two\nlines\u{1b}[31m"),
        ] {
            let key = "0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77";
            table.row([id, code, message, key, "review"].map(str::to_owned));
        }
        table
    }

    #[test]
    fn columns_give_way_in_their_order() {
        let shown = [120, 100, 80, 40, 30, 10].map(|columns| table().within(columns));
        assert_snapshot!(shown.join("\n---\n"), @r#"
           id  code         message                               key                                   queue
            9  FIELD_RANGE  exp_years is 120; it must be 0 to 60  0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77  review
        1,234  名前がない   two\nlines\u{1b}[31m                  0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77  review
        ---
           id  code         message                               key
            9  FIELD_RANGE  exp_years is 120; it must be 0 to 60  0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77
        1,234  名前がない   two\nlines\u{1b}[31m                  0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77
        ---
           id  code         message
            9  FIELD_RANGE  exp_years is 120; it must be 0 to 60
        1,234  名前がない   two\nlines\u{1b}[31m
        ---
           id  code         message
            9  FIELD_RANGE  exp_years is 120…
        1,234  名前がない   two\nlines\u{1b}[31m
        ---
           id  code         message
            9  FIELD_RANGE  exp_years…
        1,234  名前がない   two\nline…
        ---
           id  code      message
            9  FIELD_R…  exp_yea…
        1,234  名前が…   two\nli…
        "#);
    }

    #[test]
    fn lines_are_no_wider_than_the_screen() {
        let (narrowest, own) = (5 + 2 + 8 + 2 + 8, 120);
        for columns in narrowest..=own {
            let text = table().within(columns);
            for line in text.lines() {
                assert!(screen::width(line) <= columns, "{columns}:\n{text}");
            }
            assert_eq!(text.lines().count(), 3, "{columns}:\n{text}");
        }
    }

    #[test]
    fn an_indent_counts() {
        let indented = table().indented(4).within(44);
        let plain = table().within(40);
        assert_eq!(
            indented,
            plain
                .lines()
                .map(|it| format!("    {it}"))
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
}
