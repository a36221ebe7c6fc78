#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use bytestring::ByteString;
use insta::assert_snapshot;

use super::*;
use crate::cases::expect::Fault;
use crate::cases::finding::Fix;
use crate::row::Value as RowValue;

fn failure(case: usize, place: Place, toml: &str) -> Failure {
    Failure {
        case: String::new(),
        line: 0,
        row: None,
        text: String::new(),
        fix: Some(Fix {
            case,
            place,
            toml: toml.to_owned(),
        }),
    }
}

#[test]
fn only_what_is_expected_changes() {
    let text = r#"# At the top.
[[case]]
name = "rows"   # a name

  [[case.row]]
  key = "a"
  expect = { drop = "OLD" }   # why
  fields = { b = 1, a = 2 }

  # The second.
  [[case.row]]
  key = "b"

[[case]]
name = "inline"
row = [
  { key = "a", expect = "accept" }, # first
  { key = "b" },
]

[[case]]
name = "refused"
refused = "old" # said
# At the end.
"#;
    let failures = [
        failure(0, Place::Row(0), "\"accept\""),
        failure(0, Place::Row(1), "{ set = { a = 1 } }"),
        failure(1, Place::Row(0), "{ drop = \"NEW\" }"),
        failure(2, Place::Refused, "\"new\""),
        // Missing parts are not created.
        failure(2, Place::Row(0), "\"accept\""),
        failure(9, Place::Failure(0), "\"drop\""),
    ];
    let (text, accepted) = accept(text, &failures).unwrap();
    assert_eq!(accepted, 4);
    assert_snapshot!(text, @r#"
    # At the top.
    [[case]]
    name = "rows"   # a name

      [[case.row]]
      key = "a"
      expect = "accept"   # why
      fields = { b = 1, a = 2 }

      # The second.
      [[case.row]]
      key = "b"
      expect = { set = { a = 1 } }

    [[case]]
    name = "inline"
    row = [
      { key = "a", expect = { drop = "NEW" } }, # first
      { key = "b" },
    ]

    [[case]]
    name = "refused"
    refused = "new" # said
    # At the end.
    "#);
}

#[test]
fn comments_of_what_was_expected_as_a_table_stay() {
    let text = r#"[[case]]
name = "tables"

  [[case.row]]
  key = "a"
  expect.drop = "X"  # why
  fields = { a = 1 }   # of a

  [[case.row]]
  key = "b"
  # The row is dropped.
  [case.row.expect]  # on expect
  # for a reason
  drop = "Y"   # such as this

  [[case.row]]
  key = "c"
  [[case.row.expect.reject]]   # the first
  code = "A"
  [[case.row.expect.reject]]
  code = "B"   # the second

# At the end.
"#;
    let failures = [0, 1, 2].map(|row| failure(0, Place::Row(row), "\"accept\""));
    let (text, accepted) = accept(text, &failures).unwrap();
    assert_eq!(accepted, 3);
    assert_snapshot!(text, @r#"
    [[case]]
    name = "tables"

      [[case.row]]
      key = "a"
      # why
      expect = "accept"
      fields = { a = 1 }   # of a

      [[case.row]]
      key = "b"
      # The row is dropped.
      # on expect
      # for a reason
      # such as this
      expect = "accept"

      [[case.row]]
      key = "c"
      # the first
      # the second
      expect = "accept"

    # At the end.
    "#);
}

#[test]
fn line_ends_and_the_byte_order_mark_stay() {
    let text = "# a\n[[case]]\nname = \"n\"\nrow = [{ key = \"k\", expect = \"accept\" }] # b\n";
    let changed = text.replace("\"accept\"", "{ drop = \"X\" }");
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let marked = |text: &str| format!("\u{feff}{text}");
    for (text, expected) in [
        (text.to_owned(), changed.clone()),
        (crlf(text), crlf(&changed)),
        (marked(text), marked(&changed)),
        (marked(&crlf(text)), marked(&crlf(&changed))),
    ] {
        let failures = [failure(0, Place::Row(0), "{ drop = \"X\" }")];
        let (accepted, _) = accept(&text, &failures).unwrap();
        assert_eq!(accepted, expected);
    }
}

#[test]
fn answers_are_written_as_expectations() {
    let none = || (Vec::new(), Vec::new());
    let accepted = |(fields, embeddings)| Answer::Accepted { fields, embeddings };
    let field = |name: &str, value| (name.to_owned(), value);
    let rejection = |field: Option<&str>| Rejection {
        code: "CODE".to_owned(),
        message: "a \"b\"".to_owned(),
        field: field.map(str::to_owned),
    };
    let changed = vec![
        field("a b", RowValue::Text(ByteString::from_static("x"))),
        field("c", RowValue::Null),
    ];
    let vectors = vec![
        ("short".to_owned(), vectors::f32s(&[0.6, 0.8])),
        ("long".to_owned(), vectors::random(1, 100, Some(1.0))),
    ];
    for (answer, expected) in [
        (accepted(none()), Some("\"accept\"")),
        (
            accepted((changed, Vec::new())),
            Some("{ set = { \"a b\" = \"x\", c = { none = true } } }"),
        ),
        (
            accepted((Vec::new(), vectors)),
            Some("{ embeddings = { short = [0.6, 0.8], long = { norm = 1.0 } } }"),
        ),
        (Answer::Dropped("R".to_owned()), Some("{ drop = \"R\" }")),
        (
            Answer::Rejected(vec![rejection(Some("f")), rejection(None)]),
            Some(
                r#"{ reject = [{ code = "CODE", field = "f", message = "a \"b\"" }, { code = "CODE", message = "a \"b\"" }] }"#,
            ),
        ),
        (Answer::Decided(Decision::Drop), Some("\"drop\"")),
        (
            Answer::Decided(Decision::DeadLetter("q".to_owned())),
            Some("{ dead_letter = \"q\" }"),
        ),
        (
            Answer::Decided(Decision::Retry(Duration::from_millis(5))),
            Some("{ retry = 5 }"),
        ),
        (
            Answer::Decided(Decision::Halt("m".to_owned())),
            Some("{ halt = \"m\" }"),
        ),
        (
            Answer::Failed(Fault {
                code: "PLUGIN_TRAP".to_owned(),
                message: "m".to_owned(),
            }),
            None,
        ),
    ] {
        assert_eq!(of_answer(&answer, None).as_deref(), expected, "{answer:?}");
    }
}

#[test]
fn expected_norms_stay_norms() {
    let old = Expect::Accept {
        fields: Vec::new(),
        embeddings: vec![("v".to_owned(), Wanted::Norm(2.0))],
    };
    let answer = Answer::Accepted {
        fields: Vec::new(),
        embeddings: vec![("v".to_owned(), vectors::f32s(&[0.6, 0.8]))],
    };
    assert_eq!(
        of_answer(&answer, Some(&old)).as_deref(),
        Some("{ embeddings = { v = { norm = 1.0 } } }")
    );
}
