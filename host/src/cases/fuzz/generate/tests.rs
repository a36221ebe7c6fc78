#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use super::*;
use crate::row::{Column, Schema};

fn space() -> Space {
    let column = |(name, field_type): &(&str, FieldType)| Column {
        name: (*name).to_owned(),
        field_type: Some(*field_type),
    };
    Space {
        schema: Arc::new(Schema {
            columns: crate::cases::literal::TYPES.iter().map(column).collect(),
            embeddings: vec![EmbeddingColumn {
                name: "vector".to_owned(),
                dimensions: 5,
            }],
        }),
        settings: vec![Vec::new()],
        samples: Vec::new(),
        failures: Vec::new(),
    }
}

#[test]
fn the_same_seed_gives_the_same_rows() {
    let space = space();
    let shown = |seed: u64, batch: u64| {
        let mut generator = Generator::new(&space, seed, batch);
        format!("{:?} {:?}", generator.batch(300), generator.failures())
    };
    assert_eq!(shown(1, 0), shown(1, 0));
    assert_ne!(shown(1, 0), shown(2, 0));
    assert_ne!(shown(1, 0), shown(1, 1));
}

#[test]
fn values_of_the_cases_are_reused() {
    let mut space = space();
    space.samples = vec![CaseRow {
        key: ByteString::from_static("of a row"),
        ..CaseRow::default()
    }];
    space.failures = vec![CaseFailure {
        line: 0,
        key: ByteString::from_static("of a failure"),
        stage: Stage::Write,
        code: "CODE".to_owned(),
        message: "message".to_owned(),
        attempt: 1,
        fields: vec![("text".to_owned(), Value::Text("value".into()))],
        expect: None,
    }];
    let rows = rows(&space, 1, 300);
    assert!(rows.iter().any(|row| row.key == "of a row"));
    let failures = failures(&space, 1, 300);
    let share = |is: fn(&CaseFailure) -> bool| failures.iter().filter(|it| is(it)).count();
    let known: [fn(&CaseFailure) -> bool; 5] = [
        |it| it.key == "of a failure",
        |it| it.code == "CODE",
        |it| it.stage == Stage::Write,
        |it| it.message == "message",
        |it| {
            it.fields
                .iter()
                .any(|(_, value)| *value == Value::Text("value".into()))
        },
    ];
    for is in known {
        assert!((20..280).contains(&share(is)), "{}", share(is));
    }
}

#[test]
fn rows_have_every_kind_of_value_and_only_valid_vectors() {
    let space = space();
    let mut wrong_types = 0;
    let mut sizes = Vec::new();
    for batch in 0..100 {
        let rows = Generator::new(&space, 7, batch).batch(300);
        sizes.push(rows.len());
        for row in &rows {
            assert!(!row.key.is_empty());
            let (_, vector) = &row.embeddings[0];
            let elements = vectors::elements(vector);
            assert!(elements.len() == 5 && elements.iter().all(|x| x.is_finite()));
            for (name, value) in &row.fields {
                let declared = space.schema.columns[space.schema.column(name).unwrap()].field_type;
                wrong_types += usize::from(crate::cases::literal::type_of(value) != declared);
            }
        }
    }
    assert!(wrong_types > 0);
    assert!(sizes.contains(&1) && sizes.contains(&300), "{sizes:?}");
}
