#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use prost::Message;

use super::dirt::{Dirt, Fate};
use super::hash::Purpose;
use super::*;
use crate::proto::Row;
use crate::proto::value::Kind;
use crate::proto::vector::Elements;

fn dataset(rows: u64, dimensions: usize) -> Dataset {
    Dataset::new(rows, dimensions).unwrap().with_revisions()
}

fn elements(row: &Row) -> Vec<f32> {
    let Some(Elements::F32(bytes)) = row
        .embeddings
        .get(EMBEDDING)
        .and_then(|v| v.elements.clone())
    else {
        return Vec::new();
    };
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|element| f32::from_le_bytes(*element))
        .collect()
}

fn field<'a>(row: &'a Row, name: &str) -> Option<&'a Kind> {
    row.fields.get(name)?.kind.as_ref()
}

fn text<'a>(row: &'a Row, name: &str) -> &'a str {
    match field(row, name) {
        Some(Kind::Text(text)) => text,
        _ => "",
    }
}

/// The index of the first row of a kind.
fn first(dataset: &Dataset, dirt: Dirt) -> u64 {
    (0..dataset.rows())
        .find(|index| dataset.dirt(*index) == Some(dirt))
        .unwrap()
}

#[test]
fn digests_are_those_of_the_python_generator() {
    // `create_test_data.py --rows … --dimensions … --digest` prints the same.
    for (rows, dimensions, digest) in [
        (
            700,
            16,
            "5d60c7b12f22f12cceab07b054fbb663573cefa2b4f8ba7fd78e09e99daf11ed",
        ),
        // Elements left over after the last four.
        (
            900,
            7,
            "640e0486d6514e46c9d012bc5341ba49b1933cd6286a6d43fcc33e8f99eba826",
        ),
        (
            10_000,
            1536,
            "c87c4e07e4f1dd6da3a3fe44836c718e197a69664c60239373a0222202489a69",
        ),
    ] {
        assert_eq!(
            dataset(rows, dimensions).digest(),
            digest,
            "{rows} rows of {dimensions}"
        );
    }
}

#[test]
fn a_row_depends_on_its_index_alone() {
    let short = dataset(500, 32);
    let long = dataset(5_000, 32);
    assert_eq!(short.encode(0..500), long.encode(0..500));
    assert_eq!(long.encode(4_000..4_001), long.encode(3_990..4_010)[10..11]);
    assert_ne!(long.encode(0..1), long.encode(1..2));
}

#[test]
fn one_row_in_forty_is_dirty_and_every_kind_comes_soon() {
    let dataset = dataset(100_000, 1);
    let mut kinds: HashMap<Dirt, u64> = HashMap::new();
    for dirt in (0..dataset.rows()).filter_map(|index| dataset.dirt(index)) {
        *kinds.entry(dirt).or_default() += 1;
    }
    assert_eq!(kinds.values().sum::<u64>(), 100_000 / 40);
    assert_eq!(kinds.len(), 20);
    assert_eq!(kinds[&Dirt::NulInCompany], 100_000 / 800);
    assert_eq!(kinds[&Dirt::RowTooLarge], 100_000_u64.div_ceil(3_200));
    let soon: HashSet<_> = (0..800).filter_map(|index| dataset.dirt(index)).collect();
    assert_eq!(soon.len(), 20);
}

#[test]
fn dirt_is_what_it_says() {
    let dataset = dataset(800, 16);
    let row = |dirt| dataset.row(first(&dataset, dirt));
    assert_eq!(elements(&row(Dirt::WrongDimensions)).len(), 15);
    let count =
        |dirt, is: fn(&f32) -> bool| elements(&row(dirt)).iter().copied().filter(is).count();
    assert_eq!(count(Dirt::NotANumber, |element| element.is_nan()), 1);
    assert_eq!(count(Dirt::Infinite, |element| element.is_infinite()), 1);
    assert!(row(Dirt::EmbeddingMissing).embeddings.is_empty());
    assert_eq!(row(Dirt::KeyMissing).key, "");
    assert!(uuid::Uuid::try_parse(&row(Dirt::KeyInvalid).key).is_err());
    assert!(row(Dirt::RowTooLarge).encoded_len() > 1 << 20);
    assert_eq!(text(&row(Dirt::YearsAsText), "exp_years"), "five");
    assert!(row(Dirt::UndeclaredField).fields.contains_key("salary"));
    assert!(
        !row(Dirt::CompanyMissing)
            .fields
            .contains_key("company_name")
    );
    assert_eq!(text(&row(Dirt::CompanyBlank), "company_name").trim(), "");
    assert_eq!(
        field(&row(Dirt::YearsNegative), "exp_years"),
        Some(&Kind::Integer(-3))
    );
    assert_eq!(
        field(&row(Dirt::YearsExcessive), "exp_years"),
        Some(&Kind::Integer(120))
    );
    assert_eq!(text(&row(Dirt::EnglishUnknown), "english_level"), "??");
    assert!(text(&row(Dirt::NulInCompany), "company_name").contains('\0'));
    assert!(
        text(&row(Dirt::KeywordTooLong), "primary_keyword")
            .chars()
            .count()
            > 40
    );
    assert!(text(&row(Dirt::TestPosting), "title").starts_with("[TEST] "));
}

#[test]
fn a_row_sent_again_has_a_clean_original_before_it() {
    let dataset = dataset(20_000, 1);
    for index in 0..dataset.rows() {
        let Some(dirt @ (Dirt::Repeated | Dirt::Revised | Dirt::RevisedLater)) =
            dataset.dirt(index)
        else {
            continue;
        };
        let original = dirt.original(index, &dataset.words.dirt).unwrap();
        assert!(original < index && dataset.dirt(original).is_none());
        let (mut before, mut again) = (dataset.row(original), dataset.row(index));
        let years = [&mut before, &mut again].map(|row| row.fields.remove("exp_years").unwrap());
        assert_eq!(
            before, again,
            "nothing but the years may differ in row {index}"
        );
        assert_eq!(years[0] == years[1], dirt == Dirt::Repeated);
    }
}

#[test]
fn expected_counts_add_up() {
    let dataset = dataset(3_200, 1);
    let expected = dataset.expected();
    assert_eq!(expected.received, 3_200);
    assert_eq!(expected.inserted, 3_200 - 80);
    // Four cycles: each has two kinds of revision, one of repetition, one or two of tests.
    assert_eq!(
        (expected.updated, expected.unchanged, expected.dropped),
        (8, 4, 7)
    );
    assert_eq!(expected.dead_lettered, 80 - 8 - 4 - 7);
    let codes: Vec<String> = expected
        .dead_letters
        .iter()
        .map(|((stage, code), rows)| format!("{} {code} {rows}", stage.as_str()))
        .collect();
    insta::assert_snapshot!(codes.join("\n"), @r"
    decode EMBEDDING_DIMENSIONS 4
    decode EMBEDDING_MISSING 4
    decode EMBEDDING_NOT_FINITE 8
    decode FIELD_TYPE 4
    decode FIELD_UNKNOWN 4
    decode KEY_INVALID 4
    decode KEY_MISSING 4
    decode ROW_TOO_LARGE 1
    validate FIELD_RANGE 8
    validate FIELD_REQUIRED 8
    validate FIELD_VALUE 4
    write SQL_22021 4
    write SQL_23514 4
    ");
    let again = dataset.expected_again();
    assert_eq!(
        (again.inserted, again.updated, again.unchanged),
        (0, 16, 3_120 - 8 + 4)
    );
}

#[test]
fn written_rows_are_the_last_of_each_key() {
    let dataset = dataset(2_000, 8);
    let mut last: BTreeMap<String, (Kind, Bytes)> = BTreeMap::new();
    for index in 0..dataset.rows() {
        let fate = dataset.dirt(index).map_or(Fate::Inserted, Dirt::fate);
        if !matches!(fate, Fate::Inserted | Fate::Updated | Fate::Unchanged) {
            continue;
        }
        let row = dataset.row(index);
        let Some(Elements::F32(vector)) = row.embeddings[EMBEDDING].elements.clone() else {
            continue;
        };
        last.insert(
            row.key.clone(),
            (field(&row, "exp_years").unwrap().clone(), vector),
        );
    }
    let written: BTreeMap<_, _> = dataset
        .written()
        .map(|row| (row.key, (Kind::Integer(row.exp_years), row.vector)))
        .collect();
    assert_eq!(written.len() as u64, dataset.expected().inserted);
    assert_eq!(written, last);
}

#[test]
fn neighbours_have_the_same_keyword_and_similar_years() {
    let dataset = dataset(3_000, DEFAULT_DIMENSIONS);
    let clean: Vec<u64> = (0..3_000)
        .filter(|index| dataset.dirt(*index).is_none())
        .collect();
    let vectors: Vec<Vec<f32>> = clean
        .iter()
        .map(|index| elements(&dataset.row(*index)))
        .collect();
    let keyword = |place: usize| {
        dataset
            .words
            .keywords
            .place(dataset.seed.draw(Purpose::Keyword, clean[place]))
    };
    let years = |place: usize| dataset.years(clean[place]).min(20);
    for query in (0..clean.len()).step_by(100) {
        let distance = |place: &usize| -> f32 {
            vectors[*place]
                .iter()
                .zip(&vectors[query])
                .map(|(a, b)| (a - b) * (a - b))
                .sum()
        };
        let others = (0..clean.len()).filter(|place| *place != query);
        let nearest = others
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .unwrap();
        assert_eq!(keyword(nearest), keyword(query));
        assert!(
            years(nearest).abs_diff(years(query)) <= 5,
            "of row {}",
            clean[query]
        );
    }
}

#[test]
fn dimensions_are_limited() {
    assert!(Dataset::new(1, 16_000).is_ok());
    for dimensions in [0, 16_001] {
        let error = Dataset::new(1, dimensions).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("a vector has 1 to 16000 elements, not {dimensions}")
        );
    }
}
