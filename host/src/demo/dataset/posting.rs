//! One clean posting, from its index.

use std::collections::BTreeMap;

use prost_types::Timestamp;

use super::definition::{Dataset, EMBEDDING};
use super::hash::{Purpose, Seed};
use crate::proto::value::Kind;
use crate::proto::vector::Elements;
use crate::proto::{Field, FieldType, Row, Texts, Value, Vector};

/// The fields of the dataset, as its server declares them.
pub(in crate::demo) fn fields() -> Vec<Field> {
    [
        ("company_name", FieldType::Text),
        ("exp_years", FieldType::Integer),
        ("english_level", FieldType::Text),
        ("primary_keyword", FieldType::Text),
        ("title", FieldType::Text),
        ("location", FieldType::Text),
        ("posted_at", FieldType::Timestamp),
        ("skills", FieldType::Texts),
    ]
    .map(|(name, field_type)| Field {
        name: name.to_owned(),
        r#type: field_type.into(),
    })
    .into()
}

/// A value of a row.
pub(super) fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

impl Dataset {
    /// A stable version-4 UUID.
    pub(super) fn key(&self, index: u64) -> String {
        let high = self.seed.draw(Purpose::KeyHigh, index);
        let low = self.seed.draw(Purpose::KeyLow, index);
        let bits = u128::from(high) << 64 | u128::from(low);
        uuid::Builder::from_random_bytes(bits.to_be_bytes())
            .into_uuid()
            .to_string()
    }

    /// Years of experience of a clean row, 0 to 25.
    pub(super) fn years(&self, index: u64) -> u64 {
        // The smaller of two draws: there are more junior postings than senior ones.
        let word = self.seed.draw(Purpose::Years, index);
        ((word & 0xffff) % 26).min((word >> 32) % 26)
    }

    /// The vector of a clean row.
    pub(super) fn vector(&self, index: u64) -> Vec<u8> {
        let keyword = self
            .words
            .keywords
            .place(self.seed.draw(Purpose::Keyword, index));
        let noise = Seed(self.seed.draw(Purpose::Noise, index));
        self.geometry.vector(keyword, self.years(index), noise)
    }

    /// The row at an index without its dirt.
    pub(super) fn clean_row(&self, index: u64) -> Row {
        let draw = |purpose| self.seed.draw(purpose, index);
        let region = self.words.regions.pick(draw(Purpose::Region));
        let keyword = self.words.keywords.pick(draw(Purpose::Keyword));
        let company = region
            .companies
            .pick(draw(Purpose::Company))
            .replace("{stem}", region.stems.pick(draw(Purpose::Stem)));
        let title = region
            .titles
            .pick(draw(Purpose::Title))
            .replace("{level}", self.level(self.years(index)))
            .replace("{keyword}", &keyword.name);
        let mut fields = BTreeMap::new();
        let mut set = |name: &str, kind| fields.insert(name.to_owned(), value(kind));
        set("company_name", Kind::Text(company));
        set("exp_years", Kind::Integer(self.years(index) as i64));
        if let Some(level) = self.words.english_levels.pick(draw(Purpose::English)) {
            set("english_level", Kind::Text(level.clone()));
        }
        let spelling = keyword.spellings.pick(draw(Purpose::Spelling));
        set("primary_keyword", Kind::Text(spelling.clone()));
        set("title", Kind::Text(title));
        set(
            "location",
            Kind::Text(region.locations.pick(draw(Purpose::Location)).clone()),
        );
        let seconds = draw(Purpose::Posted) % self.words.posted_seconds;
        let posted = self.words.posted_from + seconds as i64;
        set(
            "posted_at",
            Kind::Timestamp(Timestamp {
                seconds: posted,
                nanos: 0,
            }),
        );
        let word = draw(Purpose::Skills);
        let skills = (0..2 + (word >> 32) % 3)
            .map(|step| keyword.skills.pick((word & 0xffff) + step).clone())
            .collect();
        set("skills", Kind::Texts(Texts { values: skills }));
        let vector = Vector {
            elements: Some(Elements::F32(self.vector(index).into())),
        };
        let embeddings = BTreeMap::from([(EMBEDDING.to_owned(), vector)]);
        Row {
            key: self.key(index),
            fields,
            embeddings,
            deleted: false,
        }
    }

    fn level(&self, years: u64) -> &str {
        let reached = self
            .words
            .levels
            .iter()
            .take_while(|level| level.from_years <= years);
        reached.last().map_or("", |level| &level.name)
    }
}
