#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use super::*;
use crate::bindings::types::Rejection;
use crate::row::{Batch, Column};

const LIMIT: usize = 1 << 20;

fn schema(columns: usize) -> Schema {
    let column = |at: usize| Column {
        name: format!("c{at}"),
        field_type: None,
    };
    Schema {
        columns: (0..columns).map(column).collect(),
        embeddings: Vec::new(),
    }
}

/// One value of each kind, and some empty ones.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        Value::Boolean(true),
        Value::Integer(i64::MIN),
        Value::Real(-0.5),
        Value::Text("ß 日本".into()),
        Value::Binary(Bytes::from_static(&[0, 255])),
        Value::Timestamp(-1),
        Value::Json(r#"{"a": 1}"#.into()),
        Value::Texts(vec!["é".into(), "".into(), "x".into()]),
        Value::Text("".into()),
        Value::Texts(Vec::new()),
    ]
}

fn cells(lent: &types::CellsParam<'_>) -> types::CellsResult {
    types::CellsResult {
        kinds: lent.kinds.to_vec(),
        words: lent.words.to_vec(),
        text: lent.text.to_owned(),
        binary: lent.binary.to_vec(),
        items: lent.items.to_vec(),
    }
}

fn answer(places: &[(u32, u32)], cells: types::CellsResult) -> types::Changes {
    let place = |(row, column): &(u32, u32)| u64::from(*row) << 32 | u64::from(*column);
    types::Changes {
        columns: (0..4).map(|at| format!("c{at}")).collect(),
        places: places.iter().map(place).collect(),
        cells,
        gone: Vec::new(),
    }
}

fn one(kind: u8, word: u64, text: &str) -> types::CellsResult {
    types::CellsResult {
        kinds: vec![kind],
        words: vec![word],
        text: text.to_owned(),
        binary: Vec::new(),
        items: Vec::new(),
    }
}

#[test]
fn values_survive_the_round_trip() {
    let values = values();
    let schema = schema(values.len());
    let batch = Batch {
        schema: Arc::new(schema.clone()),
        keys: ["k0", "k1", "k2"].map(ByteString::from_static).to_vec(),
        values: [
            values.clone(),
            vec![Value::Null; values.len()],
            values.clone(),
        ]
        .concat(),
        ..Batch::default()
    };
    let columns: Vec<_> = (0..values.len()).rev().collect();
    let question = Question {
        batch: &batch,
        rows: &[0, 2],
        columns: &columns,
    };
    let mut packer = Packer::default();
    // The second pass uses the same memory.
    for _ in 0..2 {
        packer.with_batch(question, |lent| {
            assert_eq!((lent.rows, lent.columns.len()), (2, values.len()));
            assert_eq!(lent.columns[0], format!("c{}", values.len() - 1));
            let places = lent.cells.kinds.len();
            let mut cells = Cells::of(cells(&lent.cells), places, LIMIT).unwrap();
            let mut expected = Vec::new();
            for key in ["k0", "k2"] {
                expected.push(Value::Text(key.into()));
                expected.extend(values.iter().rev().cloned());
            }
            let back: Vec<_> = (0..places).map(|at| cells.value(at).unwrap()).collect();
            assert_eq!(back, expected);
        });
    }
}

#[test]
fn fields_are_set_where_they_are_named() {
    let mut given = answer(&[(2, 1), (0, 3), (2, 1)], one(kind::INTEGER, 7, ""));
    given.cells.kinds = vec![kind::INTEGER; 3];
    given.cells.words = vec![7, 8, 9];
    let rejection = Rejection {
        code: "CODE".to_owned(),
        message: String::new(),
        field: None,
    };
    given.gone = vec![
        types::Departure {
            row: 0,
            why: types::Reason::Drop("old".to_owned()),
        },
        types::Departure {
            row: 1,
            why: types::Reason::Reject(rejection),
        },
    ];
    let changes = changes(given, 3, &schema(4), LIMIT).unwrap();
    let cells = changes.cells.into_iter();
    let cells: Vec<_> = cells
        .map(|cell| (cell.row, cell.column, cell.value))
        .collect();
    let set = |row, column, x| (row, column, Value::Integer(x));
    assert_eq!(cells, [set(2, 1, 7), set(0, 3, 8), set(2, 1, 9)]);
    let gone: Vec<_> = changes.gone.iter().map(|gone| gone.row).collect();
    assert_eq!(gone, [0, 1]);
}

#[test]
fn a_field_that_cannot_be_set_costs_its_row() {
    let mut given = answer(&[(2, 3), (1, 0), (1, 0)], one(0, 0, "{"));
    given.cells.kinds = vec![kind::NONE, kind::JSON, kind::JSON];
    given.cells.words = vec![0, 1, 0];
    given.gone.push(types::Departure {
        row: 2,
        why: types::Reason::Drop("old".to_owned()),
    });
    let changes = changes(given, 3, &schema(3), LIMIT).unwrap();
    assert!(changes.cells.is_empty());
    let [first, second] = changes.gone.as_slice() else {
        unreachable!("each row once: {:?}", changes.gone)
    };
    assert_eq!((first.row, second.row), (1, 2));
    let is_json = |why: &Why| matches!(why, Why::Wrong { field, message } if field == "c0" && message.contains("invalid JSON"));
    assert!(is_json(&first.why), "{first:?}");
    // The row was dropped before its field turned out to be invalid.
    assert!(matches!(second.why, Why::Drop(_)), "{second:?}");
}

#[test]
fn an_invalid_row_has_one_reason() {
    let mut given = answer(&[(1, 0); 1000], one(0, 0, ""));
    given.columns = vec!["z".repeat(100_000)];
    given.cells.kinds = vec![kind::NONE; 1000];
    given.cells.words = vec![0; 1000];
    let changes = changes(given, 2, &schema(4), LIMIT).unwrap();
    let [gone] = changes.gone.as_slice() else {
        unreachable!("{} times", changes.gone.len())
    };
    assert!(format!("{gone:?}").len() < 1000, "{gone:?}");
}

#[test]
fn invalid_answers_are_explained() {
    let check = |given: types::Changes, message: &str| {
        let told = changes(given, 2, &schema(4), LIMIT).unwrap_err();
        assert!(told.contains(message), "{told}");
    };
    let one = |kind, word| answer(&[(0, 0)], one(kind, word, "ßß"));
    check(answer(&[(2, 0)], one(0, 0).cells), "named row 2 of 2 rows");
    check(
        answer(&[(0, 4)], one(0, 0).cells),
        "set column 4 of 4 named columns",
    );
    check(answer(&[], one(0, 0).cells), "0 places with 1 kinds");
    check(one(9, 0), "kind 9");
    check(one(kind::TEXT, 1), "1 bytes at 0");
    check(one(kind::TEXT, 5), "5 bytes at 0");
    check(one(kind::JSON, 1 << 32 | 2), "2 bytes at 1");
    check(
        one(kind::TEXT, u64::from(u32::MAX) << 32 | 1),
        "there are 4 bytes",
    );
    check(one(kind::BINARY, 1), "1 bytes at 0");
    check(one(kind::TEXTS, 1), "1 items at 0");
    for rows in [[1, 1], [1, 0]] {
        let mut given = answer(&[], self::one(0, 0, ""));
        (given.cells.kinds, given.cells.words) = (Vec::new(), Vec::new());
        let drop = |row| types::Departure {
            row,
            why: types::Reason::Drop(String::new()),
        };
        given.gone = rows.map(drop).into();
        check(given, "twice or out of order");
    }
}

#[test]
fn values_that_share_their_text_are_counted_each() {
    let places: Vec<_> = (0..1000).map(|row| (row, 0)).collect();
    let mut given = answer(&places, one(0, 0, &"x".repeat(2_000)));
    given.cells.kinds = vec![kind::TEXT; 1000];
    given.cells.words = vec![2_000; 1000];
    let told = changes(given, 1000, &schema(4), LIMIT).unwrap_err();
    assert!(told.contains("plugins.limits.output"), "{told}");
}

#[test]
fn faults_are_in_order() {
    let given = |rows: &[u32]| {
        let fault = |row: &u32| types::Fault {
            row: *row,
            why: Rejection {
                code: "CODE".to_owned(),
                message: String::new(),
                field: None,
            },
        };
        let found = faults(rows.iter().map(fault).collect(), 3);
        found.map(|found| found.iter().map(|(row, _)| *row).collect::<Vec<_>>())
    };
    assert_eq!(given(&[0, 0, 2]), Ok(vec![0, 0, 2]));
    assert_eq!(given(&[]), Ok(Vec::new()));
    assert!(given(&[2, 1]).unwrap_err().contains("row 1 after row 2"));
    assert!(given(&[3]).unwrap_err().contains("named row 3 of 3 rows"));
}
