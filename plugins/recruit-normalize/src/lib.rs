//! Brings the texts of `recruit` rows into one spelling, and drops test postings.
//!
//! Promises: an unknown value stays as it is, for the rules to judge; a row that is in order
//! already is judged without allocating, and answered with `unchanged`.

wit_bindgen::generate!({ path: "../../wit", world: "transformer" });

use std::borrow::Cow;

use exports::forebay::plugin::{describe, transform};
use forebay::plugin::log::{self, Level};
use forebay::plugin::types::{Batch, Field, Outcome, Value};

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

struct Normalize;
export!(Normalize);

impl describe::Guest for Normalize {
    fn describe() -> describe::Descriptor {
        // Only these columns cross into the sandbox.
        let reads = ["company_name", "english_level", "primary_keyword", "title"];
        describe::Descriptor {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reads: Some(reads.map(str::to_owned).to_vec()),
        }
    }

    fn configure(config: Vec<(String, String)>) -> Result<(), String> {
        // A panic traps, and its message would be lost.
        std::panic::set_hook(Box::new(|panic| {
            log::log(Level::Error, &panic.to_string().replace('\n', " "));
        }));
        match config.first() {
            Some((key, _)) => Err(format!("unknown setting `{key}`: this plugin has none")),
            None => Ok(()),
        }
    }
}

impl transform::Guest for Normalize {
    fn transform(batch: Batch) -> Result<Vec<Outcome>, String> {
        // The column names travel once per batch; so does finding them.
        let columns: Vec<Column> = batch.columns.iter().map(|name| Column::of(name)).collect();
        let rows = batch.rows.iter();
        Ok(rows.map(|row| outcome(&columns, &row.values)).collect())
    }
}

/// What is done with a column.
#[derive(Clone, Copy)]
enum Column {
    Tidied(&'static str, fn(&str) -> Cow<'_, str>),
    Title,
    Other,
}

impl Column {
    fn of(name: &str) -> Self {
        match name {
            "company_name" => Self::Tidied("company_name", clean),
            "english_level" => Self::Tidied("english_level", english_level),
            "primary_keyword" => Self::Tidied("primary_keyword", keyword),
            "title" => Self::Title,
            _ => Self::Other,
        }
    }
}

fn outcome(columns: &[Column], values: &[Value]) -> Outcome {
    let mut set = Vec::new();
    for (column, value) in columns.iter().zip(values) {
        let Value::Text(text) = value else { continue };
        let (name, tidy) = match column {
            Column::Tidied(name, tidied) => (*name, tidied(text)),
            Column::Title if is_test(text) => return Outcome::Drop("TEST_POSTING".to_owned()),
            Column::Title | Column::Other => continue,
        };
        let value = match tidy.as_ref() {
            "" => Value::None,
            tidy if tidy == text => continue,
            _ => Value::Text(tidy.into_owned()),
        };
        let name = name.to_owned();
        set.push(Field { name, value });
    }
    if set.is_empty() {
        Outcome::Unchanged
    } else {
        Outcome::Set(set)
    }
}

fn is_test(title: &str) -> bool {
    let title = title.trim_start_matches(|c: char| c.is_whitespace() || is_invisible(c));
    title
        .get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("[test]"))
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
    match KEYWORDS
        .iter()
        .find(|(name, aliases)| same(name) || aliases.iter().any(same))
    {
        Some((name, _)) => Cow::Borrowed(name),
        None => cleaned,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

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
                let outcome = outcome(&[Column::of(column)], &[Value::Text(blank.to_owned())]);
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
        let columns = ["company_name", "english_level", "primary_keyword", "title"].map(Column::of);
        let row = |texts: [&str; 4]| texts.map(|text| Value::Text(text.to_owned()));
        let tidy = outcome(&columns, &row(["Acme", "fluent", "Go", "Engineer"]));
        assert!(matches!(tidy, Outcome::Unchanged), "{tidy:?}");
        let dropped = outcome(
            &columns,
            &row([" Acme", "fluent", "Go", " [Test] Engineer"]),
        );
        assert!(
            matches!(&dropped, Outcome::Drop(reason) if reason == "TEST_POSTING"),
            "{dropped:?}"
        );
        let Outcome::Set(fields) = outcome(&columns, &row([" ", "klingon", "golang", "été"]))
        else {
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
