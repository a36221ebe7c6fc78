//! Generates rows from a seed.

use bytes::Bytes;
use bytestring::ByteString;
use fastrand::Rng;

use super::space::Space;
use crate::cases::suite::{CaseFailure, CaseRow};
use crate::cases::vectors;
use crate::plugin::codes;
use crate::row::{EmbeddingColumn, FieldType, Stage, Value, Vector};

/// Texts that often break programs: empty and blank, invisible and unpaired, wide and combining,
/// right to left, texts whose length changes with their case, and texts that look like other types
/// or code.
const ODD_TEXTS: [&str; 26] = [
    "",
    " ",
    "\t\r\n",
    "\0",
    "a\0b",
    "\u{200b}",
    "\u{feff}x",
    "\u{a0}\u{3000}",
    "é",
    "e\u{301}",
    "ß",
    "İ",
    "ŉ",
    "ﬃ",
    "👩‍👩‍👧‍👦",
    "🇺🇦",
    "عربى",
    "\u{202e}abc",
    "𝕏",
    "\u{10ffff}",
    "-1",
    "1e999",
    "NaN",
    "null",
    "{\"a\":",
    "'; drop table x; --",
];

const ODD_INTEGERS: [i64; 15] = [
    0,
    1,
    -1,
    7,
    60,
    61,
    255,
    65_536,
    i32::MAX as i64,
    i32::MAX as i64 + 1,
    1 << 53,
    (1 << 53) + 1,
    -(1 << 53) - 1,
    i64::MAX,
    i64::MIN,
];

const ODD_REALS: [f64; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.1,
    1e15,
    9_007_199_254_740_993.0,
    f64::MIN_POSITIVE,
    5e-324,
    f64::MAX,
    f64::MIN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

/// Timestamps in microseconds: 1970, before it, 2026, the years 1 and 9999, and values outside of
/// any calendar.
const ODD_TIMES: [i64; 8] = [
    0,
    -1,
    1_767_225_600_000_000,
    -62_135_596_800_000_000,
    253_402_300_799_999_999,
    951_782_400_000_000,
    i64::MAX,
    i64::MIN,
];

const ODD_JSON: [&str; 10] = [
    "null",
    "{}",
    "[]",
    "\"\"",
    "-0",
    "1e308",
    "{\"a\":{\"b\":[1,2,{\"c\":null}]}}",
    "{\"a\":1,\"a\":2}",
    "\"\\u0000\\ud83e\\udd80\"",
    "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
];

const CODES: [&str; 10] = [
    "ROW_MALFORMED",
    "KEY_MISSING",
    "EMBEDDING_DIMENSIONS",
    "FIELD_RANGE",
    codes::TRAP,
    codes::DEADLINE,
    "VALUE_TYPE",
    "SQL_23514",
    "SQL_40001",
    "SQL_40P01",
];

const TYPES: [FieldType; 8] = [
    FieldType::Boolean,
    FieldType::Integer,
    FieldType::Real,
    FieldType::Text,
    FieldType::Binary,
    FieldType::Timestamp,
    FieldType::Texts,
    FieldType::Json,
];

/// Generates the rows of one batch.
pub(super) struct Generator<'a> {
    space: &'a Space,
    rng: Rng,
}

/// Generates `count` rows of one batch.
pub(in crate::cases) fn rows(space: &Space, seed: u64, count: usize) -> Vec<CaseRow> {
    let mut generator = Generator::new(space, seed, 0);
    (0..count).map(|index| generator.row(index)).collect()
}

/// Generates `count` failures.
pub(in crate::cases) fn failures(space: &Space, seed: u64, count: usize) -> Vec<CaseFailure> {
    let batches = (0..).map(|batch| Generator::new(space, seed, batch).failures());
    batches.flatten().take(count).collect()
}

impl<'a> Generator<'a> {
    /// A generator for the batch of this number.
    pub(super) fn new(space: &'a Space, seed: u64, batch: u64) -> Self {
        // Neighbouring seeds must not share batches.
        let mut rng = Rng::with_seed(seed);
        let seed = rng.u64(..) ^ batch.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            space,
            rng: Rng::with_seed(seed),
        }
    }

    /// Generates a batch: usually small, sometimes of one row or of a whole chunk.
    pub(super) fn batch(&mut self, large: usize) -> Vec<CaseRow> {
        let count = match self.rng.u8(..10) {
            0..3 => 1,
            3 => large,
            _ => self.rng.usize(2..20),
        };
        (0..count).map(|index| self.row(index)).collect()
    }

    fn row(&mut self, index: usize) -> CaseRow {
        let space = self.space;
        let sample = self.sample(&space.samples);
        let embeddings = space.schema.embeddings.iter();
        let embeddings = embeddings.map(|column| (column.name.clone(), self.vector(column)));
        CaseRow {
            embeddings: embeddings.collect(),
            fields: self.fields(sample.map_or(&[], |row| &row.fields)),
            key: self.key(index, sample.map(|row| &row.key)),
            ..CaseRow::default()
        }
    }

    /// Generates failures for the policy.
    pub(super) fn failures(&mut self) -> Vec<CaseFailure> {
        let count = self.rng.usize(1..10);
        (0..count).map(|index| self.failure(index)).collect()
    }

    fn failure(&mut self, index: usize) -> CaseFailure {
        let sample = self.sample(&self.space.failures);
        CaseFailure {
            line: 0,
            key: match self.rng.u8(..8) {
                0 => ByteString::new(),
                _ => self.key(index, sample.map(|failure| &failure.key)),
            },
            stage: match (self.rng.u8(..4), sample) {
                (1.., Some(known)) => known.stage,
                _ => self.rng.choice(Stage::ALL).unwrap_or(Stage::Decode),
            },
            code: match (self.rng.u8(..4), sample) {
                (1.., Some(known)) => known.code.clone(),
                _ => self.rng.choice(CODES).unwrap_or("FIELD_RANGE").to_owned(),
            },
            message: match (self.rng.u8(..4), sample) {
                (2.., Some(known)) => known.message.clone(),
                _ => self.text().chars().take(2_000).collect(),
            },
            attempt: self.rng.u32(1..6),
            fields: self.fields(sample.map_or(&[], |failure| &failure.fields)),
            expect: None,
        }
    }

    /// Usually varies one of the samples.
    fn sample<'s, T>(&mut self, samples: &'s [T]) -> Option<&'s T> {
        match self.rng.usize(..4) {
            0 => None,
            _ => self.rng.choice(samples),
        }
    }

    /// Generates a key, which is never empty.
    fn key(&mut self, index: usize, known: Option<&ByteString>) -> ByteString {
        match (self.rng.u8(..20), known) {
            (0, _) => ByteString::from(format!("{index} {}", self.text())),
            (1..6, Some(known)) if !known.is_empty() => known.clone(),
            _ => ByteString::from(format!("k{index}")),
        }
    }

    /// Generates, for each column, no value, a known value, a similar one, or any other.
    fn fields(&mut self, sample: &[(String, Value)]) -> Vec<(String, Value)> {
        let space = self.space;
        let mut fields = Vec::with_capacity(space.schema.columns.len());
        for column in &space.schema.columns {
            let known = sample.iter().find(|(name, _)| *name == column.name);
            let value = match (self.rng.u8(..20), known) {
                (0..2, _) => Value::Null,
                (2..12, Some((_, value))) => value.clone(),
                (12..16, Some((_, value))) => self.varied(value),
                (19, _) => self.value(None),
                _ => self.value(column.field_type),
            };
            if value != Value::Null {
                fields.push((column.name.clone(), value));
            }
        }
        fields
    }

    /// Generates a value of this type, or of any type if it is unknown.
    fn value(&mut self, field_type: Option<FieldType>) -> Value {
        let rng = &mut self.rng;
        match field_type.or_else(|| rng.choice(TYPES)) {
            Some(FieldType::Boolean) | None => Value::Boolean(rng.bool()),
            Some(FieldType::Integer) => Value::Integer(match rng.u8(..4) {
                0 => rng.i64(..),
                1 => rng.i64(-100..100),
                _ => rng.choice(ODD_INTEGERS).unwrap_or(0),
            }),
            Some(FieldType::Real) => Value::Real(match rng.u8(..3) {
                0 => (rng.f64() - 0.5) * 1e6,
                _ => rng.choice(ODD_REALS).unwrap_or(0.0),
            }),
            Some(FieldType::Text) => Value::Text(ByteString::from(self.text())),
            Some(FieldType::Binary) => {
                let length = rng.choice([0, 1, 16, 4_096]).unwrap_or(0);
                Value::Binary(Bytes::from_iter((0..length).map(|_| rng.u8(..))))
            }
            Some(FieldType::Timestamp) => Value::Timestamp(match rng.u8(..3) {
                0 => rng.i64(0..4_000_000_000_000_000),
                _ => rng.choice(ODD_TIMES).unwrap_or(0),
            }),
            Some(FieldType::Texts) => {
                let count = rng.choice([0, 1, 2, 5, 200]).unwrap_or(0);
                Value::Texts((0..count).map(|_| ByteString::from(self.text())).collect())
            }
            Some(FieldType::Json) => Value::Json(match rng.u8(..4) {
                0 => {
                    let text = self.text();
                    ByteString::from(serde_json::Value::from(text).to_string())
                }
                _ => ByteString::from_static(rng.choice(ODD_JSON).unwrap_or("null")),
            }),
        }
    }

    fn text(&mut self) -> String {
        let rng = &mut self.rng;
        match rng.u16(..1_000) {
            0 => "x".repeat(200_000),
            1..30 => rng
                .choice(["é", "x", "🦀"])
                .unwrap_or("x")
                .repeat(rng.usize(100..5_000)),
            30..500 => rng.choice(ODD_TEXTS).unwrap_or_default().to_owned(),
            500..700 => {
                let parts = rng.usize(1..5);
                (0..parts).filter_map(|_| rng.choice(ODD_TEXTS)).collect()
            }
            _ => {
                let length = rng.usize(..40);
                (0..length).map(|_| rng.alphanumeric()).collect()
            }
        }
    }

    /// Generates a value similar to this one.
    fn varied(&mut self, value: &Value) -> Value {
        let odd = self.rng.choice(ODD_TEXTS).unwrap_or_default();
        match value {
            Value::Text(text) => Value::Text(ByteString::from(match self.rng.u8(..6) {
                0 => format!("{text}{odd}"),
                1 => format!("{odd}{text}"),
                2 => text.to_uppercase(),
                3 => text.chars().rev().collect(),
                4 => text.repeat(self.rng.usize(2..50)),
                _ => text
                    .chars()
                    .take(self.rng.usize(..=text.chars().count()))
                    .collect(),
            })),
            Value::Integer(x) => {
                let by = self.rng.choice([-1, 1, 1_000]).unwrap_or(1);
                Value::Integer(match self.rng.u8(..3) {
                    0 => x.wrapping_neg(),
                    1 => x.wrapping_mul(by),
                    _ => x.wrapping_add(by),
                })
            }
            Value::Real(x) => Value::Real(match self.rng.u8(..3) {
                0 => -x,
                1 => x * 1e10,
                _ => x + f64::EPSILON,
            }),
            Value::Texts(items) => {
                let mut items = items.clone();
                items.push(ByteString::from(odd));
                Value::Texts(items)
            }
            Value::Boolean(x) => Value::Boolean(!x),
            Value::Null | Value::Binary(_) | Value::Timestamp(_) | Value::Json(_) => {
                self.value(crate::cases::literal::type_of(value))
            }
        }
    }

    /// Generates a vector of the cases' dimensions. All elements are finite, since the decoder
    /// rejects others.
    fn vector(&mut self, column: &EmbeddingColumn) -> Vector {
        let dimensions = column.dimensions;
        let filled = |element: f32| vec![element; dimensions];
        let axis = || -> Vec<f32> {
            (0..dimensions)
                .map(|i| f32::from(u8::from(i == 0)))
                .collect()
        };
        match self.rng.u8(..10) {
            0 => vectors::f32s(&filled(0.0)),
            1 => vectors::f32s(&filled(-0.0)),
            2 => vectors::f32s(&filled(f32::from_bits(1))),
            3 => vectors::f32s(&filled(f32::MAX)),
            4 => vectors::f32s(&axis()),
            5 => vectors::f16s(&filled(1.0)),
            6 => vectors::f16s(&axis()),
            _ => {
                let norm = self
                    .rng
                    .choice([None, Some(1.0), Some(1e-6), Some(1e6)])
                    .flatten();
                vectors::random(self.rng.u64(..), dimensions, norm)
            }
        }
    }
}

#[cfg(test)]
#[path = "generate/tests.rs"]
mod tests;
