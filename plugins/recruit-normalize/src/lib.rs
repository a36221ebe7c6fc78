//! Normalizes the spelling of texts in `recruit` rows, and drops test postings.
//!
//! Unknown values stay as they are, for the rules to judge. A row that is already normalized is
//! `unchanged`, and costs no allocation.

use std::borrow::Cow;
use std::ptr;

use forebay_plugin::{Cell, Field, Outcome, Plugin, Settings, Transform, Value};

/// Size of a buffer for the longest known spelling, with some to spare. In bytes.
const LONGEST: usize = 24;

forebay_plugin::columns! {
    struct Posting {
        company_name,
        english_level,
        primary_keyword,
        title,
    }
}

struct Normalize;

forebay_plugin::export!(Normalize: transform);

impl Plugin for Normalize {
    type Row<'a> = Posting<'a>;

    fn configure(_: &mut Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Transform for Normalize {
    fn transform(&self, row: Posting<'_>) -> Outcome {
        if row.title.text().is_some_and(is_test) {
            return Outcome::dropped("TEST_POSTING");
        }
        let changes = [
            change(row.company_name, clean),
            change(row.english_level, english_level),
            change(row.primary_keyword, keyword),
        ];
        changes.into_iter().flatten().collect()
    }
}

/// Returns the field to set, unless its text is already tidy. A blank text becomes null.
fn change(cell: Cell<'_>, tidied: fn(&str) -> Cow<'_, str>) -> Option<Field> {
    let text = cell.text()?;
    match tidied(text) {
        tidy if tidy.is_empty() => Some(cell.set(Value::None)),
        // A tidy text is returned as it is.
        tidy if ptr::eq(&*tidy, text) || tidy == text => None,
        tidy => Some(cell.set(tidy)),
    }
}

fn is_test(title: &str) -> bool {
    let title = title.trim_start_matches(|c: char| c.is_whitespace() || is_invisible(c));
    let start = title.get(..6);
    start.is_some_and(|start| start.eq_ignore_ascii_case("[test]"))
}

/// Trims the text, replaces each run of white space with one space, and removes invisible
/// characters.
fn clean(text: &str) -> Cow<'_, str> {
    if is_tidy(text) {
        return Cow::Borrowed(text);
    }
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    Cow::Owned(visible.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// True if there is nothing to clean. For most texts the bytes are enough: none of them begins an
/// invisible character, or white space other than a single space, in UTF-8.
fn is_tidy(text: &str) -> bool {
    let (mut last, mut is_plain) = (b' ', true);
    for byte in text.bytes() {
        let is_second = byte == b' ' && last == b' ';
        is_plain &= !is_second && !matches!(byte, ..b' ' | 0xc2 | 0xe1..=0xe3 | 0xef);
        last = byte;
    }
    if is_plain && last != b' ' {
        return true;
    }
    let mut last = ' ';
    let is_untidy = text.chars().any(|c| {
        let is_second = c == ' ' && last == ' ';
        last = c;
        is_second || (c != ' ' && c.is_whitespace()) || is_invisible(c)
    });
    !is_untidy && !text.ends_with(' ')
}

/// Zero-width space, word joiner and byte order mark, which copying from web pages leaves behind.
/// The zero-width joiners are kept, because some scripts need them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}')
}

fn english_level(text: &str) -> Cow<'_, str> {
    let mut room = [0; LONGEST];
    match letters(text, &mut room).and_then(level) {
        Some(level) => Cow::Borrowed(level),
        None if clean(text).is_empty() => Cow::Borrowed(""),
        None => Cow::Borrowed(text),
    }
}

/// The letters and digits of a text, in lower case; `None` if they cannot be a level.
fn letters<'a>(text: &str, room: &'a mut [u8; LONGEST]) -> Option<&'a [u8]> {
    let mut length = 0;
    for c in text.chars().filter(|c| c.is_alphanumeric()) {
        if !c.is_ascii() {
            return None;
        }
        *room.get_mut(length)? = c.to_ascii_lowercase() as u8;
        length += 1;
    }
    room.get(..length)
}

/// Normalized spelling of the English level with these letters and digits.
fn level(letters: &[u8]) -> Option<&'static str> {
    Some(match letters {
        b"noenglish" | b"none" | b"no" => "no_english",
        b"basic" | b"beginner" | b"elementary" | b"a1" => "basic",
        b"preintermediate" | b"pre" | b"a2" => "pre_intermediate",
        b"intermediate" | b"b1" => "intermediate",
        b"upperintermediate" | b"upper" | b"b2" => "upper_intermediate",
        b"advanced" | b"c1" => "advanced",
        b"fluent" | b"proficient" | b"c2" => "fluent",
        b"native" | b"mothertongue" => "native",
        _ => return None,
    })
}

fn keyword(text: &str) -> Cow<'_, str> {
    let cleaned = clean(text);
    let mut room = [0; LONGEST];
    let lower = room.get_mut(..cleaned.len()).and_then(|lower| {
        lower.copy_from_slice(cleaned.as_bytes());
        lower.make_ascii_lowercase();
        known_keyword(lower)
    });
    lower.map_or(cleaned, Cow::Borrowed)
}

/// Normalized spelling of a keyword, given in lower case.
fn known_keyword(lower: &[u8]) -> Option<&'static str> {
    Some(match lower {
        b"android" => "Android",
        b"c#" | b"c sharp" | b"csharp" | b"c-sharp" => "C#",
        b"c++" | b"cpp" | b"c plus plus" => "C++",
        b"data engineer" | b"data engineering" => "Data Engineer",
        b"data science" | b"data scientist" | b"datascience" => "Data Science",
        b"design" | b"designer" | b"ui/ux" => "Design",
        b"devops" | b"dev ops" | b"dev-ops" => "DevOps",
        b"fullstack" | b"full stack" | b"full-stack" => "Fullstack",
        b"go" | b"golang" | b"go lang" => "Go",
        b"java" => "Java",
        b"javascript" | b"js" | b"java script" | b"ecmascript" => "JavaScript",
        b"kotlin" => "Kotlin",
        b"machine learning" | b"ml" | b"machine-learning" => "Machine Learning",
        b".net" | b"dotnet" | b"dot net" => ".NET",
        b"node.js" | b"node" | b"nodejs" | b"node js" => "Node.js",
        b"php" => "PHP",
        b"project manager" | b"project management" => "Project Manager",
        b"python" | b"python3" => "Python",
        b"qa" | b"quality assurance" | b"tester" => "QA",
        b"react" | b"reactjs" | b"react.js" => "React",
        b"ruby" | b"ruby on rails" | b"ror" => "Ruby",
        b"rust" | b"rustlang" => "Rust",
        b"scala" => "Scala",
        b"sql" => "SQL",
        b"typescript" | b"ts" | b"type script" => "TypeScript",
        b"ios" | b"ios developer" => "iOS",
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use forebay_plugin::testing;

    use super::*;

    fn outcome<const N: usize>(columns: &[&str; N], texts: [&str; N]) -> Outcome {
        let texts = texts.map(|text| Value::Text(text.to_owned()));
        let row = testing::row(columns.iter().copied().zip(texts));
        Normalize.transform(row.view())
    }

    #[test]
    fn company_names_lose_needless_space() {
        for (text, expected) in [
            ("Acme", "Acme"),
            ("Acme Labs", "Acme Labs"),
            ("  Acme  Labs\t", "Acme Labs"),
            ("Acme\u{a0}Labs", "Acme Labs"),
            ("Acme\u{3000}\u{2003}Labs\n", "Acme Labs"),
            ("\u{feff}Ac\u{200b}me", "Acme"),
            (" \u{200b} ", ""),
            ("\u{200b}", ""),
            ("", ""),
            ("Шість  слів", "Шість слів"),
            ("Шість слів", "Шість слів"),
            ("株式会社 青空", "株式会社 青空"),
            ("株式会社\u{3000}青空", "株式会社 青空"),
            ("«Їжак»\u{85}", "«Їжак»"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
        for tidy in [
            "Acme Labs",
            "青空ソフトウェア株式会社",
            "ТОВ «Обрій»",
            "\u{1}",
        ] {
            let is_borrowed = matches!(clean(tidy), Cow::Borrowed(_));
            assert!(is_borrowed, "{tidy:?} is tidy and must not be copied");
        }
    }

    #[test]
    fn english_levels_have_one_spelling() {
        for (text, expected) in [
            ("Upper-Intermediate", "upper_intermediate"),
            ("upper intermediate", "upper_intermediate"),
            ("B2", "upper_intermediate"),
            ("c1", "advanced"),
            ("  Fluent ", "fluent"),
            ("No English", "no_english"),
            ("native", "native"),
            ("klingon", "klingon"),
            ("  Klingon ", "  Klingon "),
            ("flüent", "flüent"),
            ("upper\u{2013}intermediate\u{200b}", "upper_intermediate"),
            (
                "intermediate or higher, if you please",
                "intermediate or higher, if you please",
            ),
            ("  ", ""),
        ] {
            assert_eq!(english_level(text), expected, "{text:?}");
        }
        for level in [
            "no_english",
            "basic",
            "pre_intermediate",
            "intermediate",
            "upper_intermediate",
            "advanced",
            "fluent",
            "native",
        ] {
            assert_eq!(english_level(level), level);
        }
    }

    #[test]
    fn keywords_have_one_spelling() {
        for (text, expected) in [
            ("golang", "Go"),
            ("GO", "Go"),
            ("js", "JavaScript"),
            ("C  Sharp", "C#"),
            (" node ", "Node.js"),
            ("ml", "Machine Learning"),
            ("devops", "DevOps"),
            (" COBOL  85 ", "COBOL 85"),
            (
                "Embedded systems in automotive",
                "Embedded systems in automotive",
            ),
            ("", ""),
        ] {
            assert_eq!(keyword(text), expected, "{text:?}");
        }
    }

    #[test]
    fn blank_texts_become_null() {
        for blank in ["", " ", "\u{200b}\u{a0}"] {
            for column in ["company_name", "english_level", "primary_keyword"] {
                let outcome = outcome(&[column], [blank]);
                let Outcome::Set(fields) = &outcome else {
                    panic!("{column} {blank:?}: {outcome:?}");
                };
                assert!(matches!(
                    fields[..],
                    [Field {
                        value: Value::None,
                        ..
                    }]
                ));
            }
        }
    }

    #[test]
    fn outcomes_name_only_what_changes() {
        let columns = ["company_name", "english_level", "primary_keyword", "title"];
        let tidy = outcome(&columns, ["Acme", "fluent", "Go", "Engineer"]);
        assert!(matches!(tidy, Outcome::Unchanged), "{tidy:?}");
        let dropped = outcome(&columns, [" Acme", "fluent", "Go", " [Test] Engineer"]);
        assert!(
            matches!(&dropped, Outcome::Drop(reason) if reason == "TEST_POSTING"),
            "{dropped:?}"
        );
        let Outcome::Set(fields) = outcome(&columns, [" ", "klingon", "golang", "été"]) else {
            panic!("nothing was set");
        };
        let [company, keyword] = fields.try_into().unwrap();
        assert!(company.name == "company_name" && matches!(company.value, Value::None));
        assert!(
            keyword.name == "primary_keyword"
                && matches!(keyword.value, Value::Text(t) if t == "Go")
        );
    }
}
