//! Brings the texts of `recruit` rows into one spelling, and drops test postings.
//!
//! Promises: an unknown value stays as it is, for the rules to judge; a row that is in order
//! already is judged without allocating, and answered with `unchanged`.

use std::borrow::Cow;

use forebay_plugin::{Cell, Field, Outcome, Plugin, Settings, Transform, Value};

/// How English levels are spelled, each before the other spellings it is known by. Those
/// are compared by their letters and digits alone; so the first of each is how it is spelled.
const ENGLISH_LEVELS: [(&str, &[&str]); 8] = [
    ("no_english", &["noenglish", "none", "no"]),
    ("basic", &["basic", "beginner", "elementary", "a1"]),
    ("pre_intermediate", &["preintermediate", "pre", "a2"]),
    ("intermediate", &["intermediate", "b1"]),
    ("upper_intermediate", &["upperintermediate", "upper", "b2"]),
    ("advanced", &["advanced", "c1"]),
    ("fluent", &["fluent", "proficient", "c2"]),
    ("native", &["native", "mothertongue"]),
];

/// Room for the longest of these spellings, and some.
const LONGEST_LEVEL: usize = 24;

/// How keywords are spelled, each before the other spellings it is known by. ASCII case does
/// not count.
const KEYWORDS: [(&str, &[&str]); 26] = [
    ("Android", &[]),
    ("C#", &["c sharp", "csharp", "c-sharp"]),
    ("C++", &["cpp", "c plus plus"]),
    ("Data Engineer", &["data engineering"]),
    ("Data Science", &["data scientist", "datascience"]),
    ("Design", &["designer", "ui/ux"]),
    ("DevOps", &["dev ops", "dev-ops"]),
    ("Fullstack", &["full stack", "full-stack"]),
    ("Go", &["golang", "go lang"]),
    ("Java", &[]),
    ("JavaScript", &["js", "java script", "ecmascript"]),
    ("Kotlin", &[]),
    ("Machine Learning", &["ml", "machine-learning"]),
    (".NET", &["dotnet", "dot net"]),
    ("Node.js", &["node", "nodejs", "node js"]),
    ("PHP", &[]),
    ("Project Manager", &["project management"]),
    ("Python", &["python3"]),
    ("QA", &["quality assurance", "tester"]),
    ("React", &["reactjs", "react.js"]),
    ("Ruby", &["ruby on rails", "ror"]),
    ("Rust", &["rustlang"]),
    ("Scala", &[]),
    ("SQL", &[]),
    ("TypeScript", &["ts", "type script"]),
    ("iOS", &["ios developer"]),
];

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

/// The field to set, if its text is not in order already. A blank text becomes null.
fn change(cell: Cell<'_>, tidied: fn(&str) -> Cow<'_, str>) -> Option<Field> {
    let text = cell.text()?;
    match tidied(text) {
        tidy if tidy.is_empty() => Some(cell.set(Value::None)),
        tidy if tidy == text => None,
        tidy => Some(cell.set(tidy)),
    }
}

fn is_test(title: &str) -> bool {
    let title = title.trim_start_matches(|c: char| c.is_whitespace() || is_invisible(c));
    let start = title.get(..6);
    start.is_some_and(|start| start.eq_ignore_ascii_case("[test]"))
}

/// Trims, makes each run of white space one space, and removes invisible characters.
fn clean(text: &str) -> Cow<'_, str> {
    let mut last = ' ';
    let untidy = text.chars().any(|c| {
        let twice = c == ' ' && last == ' ';
        last = c;
        twice || (c != ' ' && c.is_whitespace()) || is_invisible(c)
    });
    if !untidy && !text.ends_with(' ') {
        return Cow::Borrowed(text);
    }
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    Cow::Owned(visible.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Zero-width space, word joiner, byte order mark: what copying from web pages leaves behind.
/// Not the zero-width joiners, which some scripts need.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}')
}

fn english_level(text: &str) -> Cow<'_, str> {
    let mut room = [0; LONGEST_LEVEL];
    let known = plain(text, &mut room).and_then(|plain| {
        ENGLISH_LEVELS
            .iter()
            .find(|(_, aliases)| aliases.iter().any(|alias| alias.as_bytes() == plain))
    });
    match known {
        Some((level, _)) => Cow::Borrowed(level),
        None if clean(text).is_empty() => Cow::Borrowed(""),
        None => Cow::Borrowed(text),
    }
}

/// The letters and digits of a text, in lower case; `None` if they cannot be an alias.
fn plain<'a>(text: &str, room: &'a mut [u8; LONGEST_LEVEL]) -> Option<&'a [u8]> {
    let mut length = 0;
    let mut push = |byte: u8| {
        *room.get_mut(length)? = byte;
        length += 1;
        Some(())
    };
    for c in text.chars() {
        if c.is_ascii() {
            if c.is_ascii_alphanumeric() {
                push(c.to_ascii_lowercase() as u8)?;
            }
        } else if c.is_alphanumeric() {
            for lower in c.to_lowercase() {
                push(u8::try_from(lower).ok()?)?;
            }
        }
    }
    room.get(..length)
}

fn keyword(text: &str) -> Cow<'_, str> {
    let cleaned = clean(text);
    let same = |name: &&str| name.eq_ignore_ascii_case(&cleaned);
    let mut keywords = KEYWORDS.iter();
    match keywords.find(|(name, aliases)| same(name) || aliases.iter().any(same)) {
        Some((name, _)) => Cow::Borrowed(name),
        None => cleaned,
    }
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
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
        assert!(
            matches!(clean("Acme Labs"), Cow::Borrowed(_)),
            "tidy text must not be copied"
        );
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
            ("  ", ""),
        ] {
            assert_eq!(english_level(text), expected, "{text:?}");
        }
        for (level, _) in ENGLISH_LEVELS {
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
