#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use bytestring::ByteString;
use insta::assert_snapshot;

use super::*;
use crate::row::{FieldType, Stage, Vector};

const FILE: &str = r#"# Kept.
[settings]   # and this
a = "1"

[columns]
title = "text"

[[case]]
name = "there already"   # kept too
  [[case.row]]
  key = "k"
"#;

fn path() -> &'static Path {
    Path::new("p.cases.toml")
}

fn columns() -> Vec<Column> {
    let column = |name: &str, field_type| Column {
        name: name.to_owned(),
        field_type,
    };
    vec![
        column("title", Some(FieldType::Text)),
        column("exp years", Some(FieldType::Integer)),
        column("filled by plugins", None),
    ]
}

fn cases() -> Vec<NewCase> {
    let row = CaseRow {
        key: ByteString::from_static("a\"0"),
        fields: vec![
            (
                "title".to_owned(),
                Value::Text(ByteString::from_static("x\ny")),
            ),
            ("exp years".to_owned(), Value::Integer(i64::MIN)),
        ],
        embeddings: vec![(
            "v".to_owned(),
            Vector::F32(Bytes::from_static(&[0, 0, 0xc0, 0x7f])),
        )],
        ..CaseRow::default()
    };
    let failure = CaseFailure {
        line: 0,
        key: ByteString::new(),
        stage: Stage::Decode,
        code: "KEY_MISSING".to_owned(),
        message: "no key".to_owned(),
        attempt: 2,
        fields: Vec::new(),
        expect: None,
    };
    vec![
        NewCase {
            name: "there already".to_owned(),
            ..NewCase::default()
        },
        NewCase {
            name: "new".to_owned(),
            comment: "it said\nthis\0 and that".to_owned(),
            settings: vec![
                ("max years".to_owned(), "10".to_owned()),
                ("a".to_owned(), "2".to_owned()),
            ],
            rows: vec![(row, Some("\"accept\"".to_owned()))],
            failures: vec![(failure, None)],
        },
    ]
}

#[test]
fn cases_are_written_behind_what_is_there() {
    let (text, new) = appended(path(), FILE, &columns(), &cases()).unwrap();
    assert_eq!(new, 1);
    assert_snapshot!(text, @r#"
    # Kept.
    [settings]   # and this
    a = "1"

    [columns]
    title = "text"
    "exp years" = "integer"

    [[case]]
    name = "there already"   # kept too
      [[case.row]]
      key = "k"

    # it said
    # this  and that
    [[case]]
    name = "new"
    settings = { "max years" = "10", a = "2" }

      [[case.row]]
      key = "a\"0"
      fields = { title = "x\ny", "exp years" = -9223372036854775808 }
      embeddings = { v = [nan] }
      expect = "accept"

      [[case.failure]]
      stage = "decode"
      code = "KEY_MISSING"
      message = "no key"
      attempt = 2
    "#);
    let (again, new) = appended(path(), &text, &columns(), &cases()).unwrap();
    assert_eq!((again, new), (text, 0));
}

#[test]
fn a_missing_file_is_created() {
    let (text, new) = appended(path(), "", &columns(), &cases()[1..]).unwrap();
    assert_eq!(new, 1);
    let suite = Suite::parse(path(), &text).unwrap();
    assert_eq!(suite.schema.columns[1].field_type, Some(FieldType::Integer));
    assert_eq!(suite.cases[0].rows[0].fields, cases()[1].rows[0].0.fields);
    assert_eq!(suite.cases[0].failures[0].attempt, 2);
}

#[test]
fn a_file_that_is_not_a_case_file_stays() {
    for (text, message) in [
        ("case = 1", "p.cases.toml:1: case: must be a list of tables"),
        (
            "[[cases]]",
            "p.cases.toml:1: unknown key `cases`; did you mean `case`?",
        ),
    ] {
        let error = appended(path(), text, &columns(), &cases()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

/// A case cannot remove a setting of its file.
#[test]
fn settings_of_a_file_must_be_those_of_the_case() {
    let file = "[settings]\na = \"1\"\nb = \"1\"\n";
    let error = appended(path(), file, &columns(), &cases()).unwrap_err();
    assert_snapshot!(error, @"
    p.cases.toml: settings.a: applies to every case of this file, but the new cases ran without it
      hint: write the new cases to another file
    ");
    let known = format!("{file}\n[[case]]\nname = \"new\"\nrefused = \"x\"\n");
    let new = appended(path(), &known, &columns(), &cases()[1..]).map(|(_, new)| new);
    assert_eq!(new.unwrap(), 0);
}

#[test]
fn inline_lists_of_cases_are_refused() {
    let file = "case = [{ name = \"a\", refused = \"x\" }]\n";
    let error = appended(path(), file, &columns(), &cases()).unwrap_err();
    assert_snapshot!(error, @"
    p.cases.toml: case: is an inline list, but new cases are appended as `[[case]]` tables
      hint: write the new cases to another file
    ");
}

#[test]
fn line_ends_and_the_byte_order_mark_stay() {
    let (text, _) = appended(path(), FILE, &columns(), &cases()).unwrap();
    for mark in ["", "\u{feff}"] {
        let crlf = |text: &str| format!("{mark}{}", text.replace('\n', "\r\n"));
        let (added, _) = appended(path(), &crlf(FILE), &columns(), &cases()).unwrap();
        assert_eq!(added, crlf(&text));
    }
}

#[test]
fn only_a_file_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("p.cases.toml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = append(&pipe, &columns(), &cases()).unwrap_err().to_string();
    assert!(error.ends_with("p.cases.toml: it is not a file"), "{error}");
    let error = Suite::load(&pipe).unwrap_err().to_string();
    assert!(
        error.ends_with("cannot be read: it is not a file"),
        "{error}"
    );
}
