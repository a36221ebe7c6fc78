#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use insta::assert_snapshot;

use super::*;

fn parse(text: &str) -> Result<Suite, ConfigError> {
    suite(Path::new("p.cases.toml"), text)
}

#[test]
fn all_problems_have_their_line() {
    let text = r#"
setting = { a = "1" }

[settings]
max = 3

[columns]
years = "int"

[[case]]
name = "first"

  [[case.row]]
  fields = { a = 1 }

  [[case.row]]
  key = "k"
  field = { a = 1 }
  fields = { a = [1, 2], b = { json = "{" }, c = 2026-01-01, d = { x = 1 } }
  embeddings = { v = ["x"], w = { random = 1 }, x = { fill = 0, dimensions = 20000 } }

  [[case.row]]
  key = "k"
  expect = "acept"

  [[case.row]]
  key = "k"
  expect = { drop = "X", reject = [] }

  [[case.row]]
  key = "k"
  expect = { reject = [{ message = "m" }] }

  [[case.row]]
  key = "k"
  expect = { message = "m" }

  [[case.failure]]
  stage = "writing"
  code = "X"

  [[case.failure]]
  stage = "write"
  code = "X"
  expect = { retry = -1 }

[[case]]
name = "first"

[[case]]
refused = "no"
"#;
    assert_snapshot!(parse(text).unwrap_err(), @r#"
    p.cases.toml:2: unknown key `setting`; did you mean `settings`?
    p.cases.toml:8: columns.years: unknown type `int`; valid types are boolean, integer, real, text, binary, timestamp, texts, json
    p.cases.toml:5: settings.max: must be a text, not an integer
    p.cases.toml:13: case.row: `key` is missing
    p.cases.toml:18: case.row: unknown key `field`; did you mean `fields`?
    p.cases.toml:19: case.row.fields.a: a list must contain only texts; write any other list as JSON: { json = "[1, 2]" }
    p.cases.toml:19: case.row.fields.b: invalid JSON: EOF while parsing an object at line 1 column 1
    p.cases.toml:19: case.row.fields.c: a timestamp must have a date, a time and an offset, such as 2026-01-31T12:00:00Z
    p.cases.toml:19: case.row.fields.d: unknown kind of value `x`; valid kinds are json, binary, timestamp, none
    p.cases.toml:20: case.row.embeddings.v: must be a number, not a text
    p.cases.toml:20: case.row.embeddings.w: `dimensions` is missing
    p.cases.toml:20: case.row.embeddings.x: `dimensions` is 20000; it must be 0 to 16000
    p.cases.toml:24: case.row.expect: unknown expectation `acept`; did you mean `accept`?
    p.cases.toml:28: case.row.expect: must have one of: set with embeddings; drop; reject; fails with message
    p.cases.toml:32: case.row.expect.reject: `code` is missing
    p.cases.toml:36: case.row.expect: must have one of: set with embeddings; drop; reject; fails with message
    p.cases.toml:38: case.failure: unknown stage `writing`; valid stages are decode, transform, validate, write
    p.cases.toml:45: case.failure.expect: `retry` must be a number of milliseconds
    p.cases.toml:47: case: a case must have rows (`[[case.row]]`), failures (`[[case.failure]]`) or both, or only `refused`
    p.cases.toml:47: case.name: duplicate case name `first`
    p.cases.toml:50: case: `name` is missing
    "#);
}

#[test]
fn syntax_errors_have_their_line() {
    assert_snapshot!(parse("[settings]\na = \n[[case]\n").unwrap_err(), @r#"
    p.cases.toml:3: unclosed array table, expected `]`
    p.cases.toml:2: string values must be quoted, expected literal string
    "#);
}

#[test]
fn columns_are_what_the_file_names() {
    let suite = parse(
        r#"
        columns = { z = "json" }
        [[case]]
        name = "one"
        row = [
          { key = "k", fields = { b = 1, a = "x" }, expect = { set = { c = true } } },
          { key = "l", fields = { b = { none = true } }, embeddings = { v = [1, 2, 3] } },
        ]
        [[case]]
        name = "two"
        failure = [{ stage = "decode", code = "X", fields = { d = 1.5 } }]
        "#,
    );
    let suite = suite.unwrap();
    let columns = suite.schema.columns.iter();
    let shown: Vec<_> = columns
        .map(|it| (it.name.as_str(), it.field_type))
        .collect();
    use FieldType::{Boolean, Integer, Json, Real, Text};
    assert_eq!(
        shown,
        [
            ("z", Some(Json)),
            ("b", Some(Integer)),
            ("a", Some(Text)),
            ("c", Some(Boolean)),
            ("d", Some(Real)),
        ]
    );
    assert_eq!(suite.schema.embeddings[0].dimensions, 3);
}

#[test]
fn settings_of_a_case_come_last() {
    let text = r#"
        settings = { a = "file", b = "file", c = "file" }
        [[case]]
        name = "one"
        settings = { c = "case", d = "case" }
        refused = ""
        "#;
    let suite = parse(text).unwrap();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let more = [pair("b", "command"), pair("c", "command")];
    assert_eq!(
        suite.settings(&suite.cases[0], &more),
        [
            pair("a", "file"),
            pair("b", "command"),
            pair("c", "case"),
            pair("d", "case")
        ]
    );
}

#[test]
fn examples_of_the_documentation_are_valid() {
    let document = include_str!("../../../../plugins/testing.md");
    let examples: Vec<&str> = document
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(examples.len(), 1);
    for example in examples {
        let suite = parse(example).unwrap();
        assert_eq!((suite.cases.len(), suite.schema.columns.len()), (3, 5));
    }
}
