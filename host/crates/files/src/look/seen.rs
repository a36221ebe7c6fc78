//! The types of what lines have.

use std::collections::{BTreeMap, HashMap};

use forebay_plugin_host::row::FieldType;

use crate::json::{Members, numbers};
use crate::key_kind::KeyKind;
use crate::outline::Found;
use crate::records::Meaning;

/// What was seen of all columns, in the order in which they were met.
#[derive(Default)]
pub(super) struct Seen {
    columns: Vec<(String, Values)>,
    places: HashMap<String, usize>,
}

/// What was seen of a column.
#[derive(Default)]
struct Values {
    booleans: u64,
    integers: u64,
    reals: u64,
    texts: u64,
    lists_of_texts: u64,
    /// Lists of numbers by their length, and whether one of these has a fraction.
    lists: BTreeMap<usize, u64>,
    has_fractions: bool,
    /// Lists without items.
    empty: u64,
    others: u64,
}

impl Seen {
    pub(super) fn object(&mut self, text: &str) {
        let mut members = Members::of(text);
        while let Ok(Some((name, value))) = members.next() {
            self.value(&name, value);
        }
    }

    /// A value, as JSON.
    pub(super) fn value(&mut self, name: &str, value: &str) {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                let place = self.columns.len();
                self.places.insert(name.to_owned(), place);
                self.columns.push((name.to_owned(), Values::default()));
                place
            }
        };
        if let Some((_, values)) = self.columns.get_mut(place) {
            values.add(value);
        }
    }

    pub(super) fn columns(self) -> Vec<Found> {
        let columns = self.columns.into_iter();
        columns
            .map(|(name, values)| {
                let longest = values.lists.iter().max_by_key(|(_, count)| **count);
                Found {
                    name,
                    meaning: values.meaning(),
                    votes: longest.map_or(0, |(_, count)| *count),
                    key: values.key(),
                }
            })
            .collect()
    }
}

impl Values {
    fn add(&mut self, value: &str) {
        match value.as_bytes().first() {
            Some(b'"') => self.texts += 1,
            Some(b'[') => self.list(value),
            Some(b'{') => self.others += 1,
            _ if value == "null" => {}
            _ if value == "true" || value == "false" => self.booleans += 1,
            _ if value.parse::<i64>().is_ok() => self.integers += 1,
            _ if is_number(value) => self.reals += 1,
            _ => self.others += 1,
        }
    }

    fn list(&mut self, value: &str) {
        let Some(items) = numbers(value) else { return };
        let (mut length, mut is_whole) = (0, true);
        for item in items {
            if !is_number(item) && item != "null" {
                return self.other_list(value);
            }
            length += 1;
            is_whole &= item.parse::<i64>().is_ok();
        }
        match length {
            0 => self.empty += 1,
            _ => *self.lists.entry(length).or_default() += 1,
        }
        self.has_fractions |= !is_whole;
    }

    fn other_list(&mut self, value: &str) {
        match serde_json::from_str::<Vec<String>>(value) {
            Ok(_) => self.lists_of_texts += 1,
            Err(_) => self.others += 1,
        }
    }

    /// What all of it is together; JSON if it is of several kinds.
    fn meaning(&self) -> Meaning {
        let lists: u64 = self.lists.values().sum();
        let numbers = self.integers + self.reals;
        let kinds = [
            (self.booleans, Meaning::Field(FieldType::Boolean)),
            (numbers, Meaning::Field(self.number())),
            (self.texts, Meaning::Field(FieldType::Text)),
            (self.lists_of_texts, Meaning::Field(FieldType::Texts)),
            (lists, self.vector()),
            (self.others, Meaning::Field(FieldType::Json)),
        ];
        let mut met = kinds.into_iter().filter(|(count, _)| *count > 0);
        match (met.next(), met.next()) {
            (None, _) if self.empty > 0 => Meaning::Field(FieldType::Json),
            (None, _) => Meaning::Nothing,
            (Some((_, only)), None) => only,
            (Some(_), Some(_)) => Meaning::Field(FieldType::Json),
        }
    }

    fn number(&self) -> FieldType {
        match self.reals {
            0 => FieldType::Integer,
            _ => FieldType::Real,
        }
    }

    /// Lists of whole numbers are rather something else.
    fn vector(&self) -> Meaning {
        let longest = self.lists.iter().max_by_key(|(_, count)| **count);
        match longest {
            Some((length, _)) if self.has_fractions => Meaning::Embedding(Some(*length)),
            _ => Meaning::Field(FieldType::Json),
        }
    }

    fn key(&self) -> Option<KeyKind> {
        let others = self.booleans + self.reals + self.lists_of_texts + self.empty + self.others;
        let may = others == 0 && self.lists.is_empty();
        may.then_some(match (self.integers, self.texts) {
            (1.., 0) => KeyKind::Integer,
            _ => KeyKind::Text,
        })
    }
}

fn is_number(value: &str) -> bool {
    matches!(value, "NaN" | "Infinity" | "-Infinity")
        || (value.starts_with(|it: char| it == '-' || it.is_ascii_digit())
            && value.parse::<f64>().is_ok())
}
