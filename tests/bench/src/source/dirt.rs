//! Rows that the database refuses, at random among clean ones.

use std::collections::HashSet;

use forebay::proto::value::Kind as Value;
use forebay::proto::{Row, Value as Field};

use super::rows::Shape;

/// Chooses the rows that are spoiled.
const SEED: u64 = 7;

/// Why the database refuses a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Check,
    Nul,
    Unique,
    Trigger,
}

impl Why {
    pub(crate) const ALL: [Self; 4] = [Self::Check, Self::Nul, Self::Unique, Self::Trigger];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Check => "a check constraint",
            Self::Nul => "a NUL in a text",
            Self::Unique => "a unique value",
            Self::Trigger => "a trigger's own SQLSTATE",
        }
    }

    /// What the tables have beyond those of the example, with clean rows too. May run twice.
    pub(crate) fn rules(self) -> &'static str {
        match self {
            // The example's tables have the check.
            Self::Check | Self::Nul => "",
            Self::Unique => {
                "create unique index if not exists names on recruit_metadata (company_name)
                 where company_name like 'Unique%'"
            }
            Self::Trigger => {
                "create or replace function refuse() returns trigger language plpgsql as $$ begin
                     if new.company_name like 'Refused%' then
                         raise exception 'this company is refused' using errcode = 'FB001';
                     end if;
                     return new; end $$;
                 create or replace trigger refuse before insert or update on recruit_metadata
                     for each row execute function refuse()"
            }
        }
    }

    fn spoil(self, row: &mut Row) {
        let (field, text) = match self {
            Self::Check => ("primary_keyword", "too long ".repeat(5)),
            Self::Nul => ("company_name", "NUL \0 inside".into()),
            Self::Unique => ("company_name", "Unique Company".into()),
            Self::Trigger => ("company_name", "Refused Company".into()),
        };
        let kind = Some(Value::Text(text));
        row.fields.insert(field.into(), Field { kind });
    }
}

/// A share of rows that are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dirt {
    pub(crate) why: Why,
    /// Refused rows of 10,000.
    pub(crate) share: usize,
}

impl Dirt {
    pub(crate) const SHARES: [usize; 3] = [24, 100, 1_000];

    /// All datasets.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let shares = |why| Self::SHARES.map(|share| Self { why, share });
        Why::ALL.into_iter().flat_map(shares)
    }

    pub(crate) fn dataset(self) -> String {
        format!("dirt-{:?}-{}", self.why, self.share)
    }

    /// Number of rows that are refused.
    pub(crate) fn refused(self, shape: Shape) -> usize {
        shape.rows * self.share / 10_000
    }

    /// Places of rows that are spoiled. The first row with a unique value is not refused.
    pub(crate) fn places(self, shape: Shape) -> HashSet<usize> {
        let count = self.refused(shape) + usize::from(self.why == Why::Unique);
        let mut rng = fastrand::Rng::with_seed(SEED);
        rng.choose_multiple(0..shape.rows, count)
            .into_iter()
            .collect()
    }

    pub(crate) fn spoil(self, row: &mut Row) {
        self.why.spoil(row);
    }
}
