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
            settings: vec![("max years".to_owned(), "10".to_owned())],
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
    settings = { "max years" = "10" }

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
fn a_file_is_made_where_there_is_none() {
    let (text, new) = appended(path(), "", &columns(), &cases()[1..]).unwrap();
    assert_eq!(new, 1);
    let suite = Suite::parse(path(), &text).unwrap();
    assert_eq!(suite.schema.columns[1].field_type, Some(FieldType::Integer));
    assert_eq!(suite.cases[0].rows[0].fields, cases()[1].rows[0].0.fields);
    assert_eq!(suite.cases[0].failures[0].attempt, 2);
}

#[test]
fn a_file_that_is_none_of_cases_is_left_alone() {
    for (text, message) in [
        ("case = 1", "p.cases.toml:1: case: must be a list of tables"),
        (
            "[[cases]]",
            "p.cases.toml:1: unknown key `cases`; is it `case`?",
        ),
    ] {
        let error = appended(path(), text, &columns(), &cases()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}
