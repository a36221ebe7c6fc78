//! One spelling for names, levels and keywords. An unknown value stays as it is, for the rules
//! to judge.

use std::borrow::Cow;

use forebay_plugin::{Cell, Field, Outcome, Value};

use crate::Posting;

/// Spellings of English levels, each before its aliases. Aliases are compared by letters and
/// digits only.
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

/// Spellings of keywords, each before its aliases. ASCII case is
/// ignored.
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

/// The outcome for a posting, which names only the changes.
pub(crate) fn outcome(row: &Posting<'_>) -> Outcome {
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

/// The field to set, if its text changes. A blank text becomes null.
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

/// Zero-width space, word joiner, byte order mark: left over from copying from web pages.
/// Not the zero-width joiners, which some scripts need.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}')
}

fn english_level(text: &str) -> Cow<'_, str> {
    let letters = || text.chars().filter(|c| c.is_alphanumeric());
    let same = |alias: &&str| letters().flat_map(char::to_lowercase).eq(alias.chars());
    let mut levels = ENGLISH_LEVELS.iter();
    match levels.find(|(level, aliases)| text == *level || aliases.iter().any(same)) {
        Some((level, _)) => Cow::Borrowed(level),
        None if clean(text).is_empty() => Cow::Borrowed(""),
        None => Cow::Borrowed(text),
    }
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
