//! Rejects postings that must not be written, with all their faults at once.

use forebay_plugin::{Rejection, Settings};

use crate::Posting;

const COMPANY_NAME_CHARS: usize = 200;
const ENGLISH_LEVELS: &str = "no_english, basic, pre_intermediate, intermediate, upper_intermediate, advanced, fluent, native";

pub(crate) struct Rules {
    min_years: i64,
    max_years: i64,
    english_levels: Vec<String>,
    require_keyword: bool,
}

impl Rules {
    pub(crate) fn configure(settings: &mut Settings) -> Result<Self, String> {
        let rules = Self {
            min_years: settings.integer("min_years", 0)?,
            max_years: settings.integer("max_years", 60)?,
            english_levels: settings.list("english_levels", ENGLISH_LEVELS),
            require_keyword: settings.boolean("require_keyword", true)?,
        };
        let (min, max) = (rules.min_years, rules.max_years);
        if min > max {
            return Err(format!(
                "min_years is {min}; it must be at most max_years, which is {max}"
            ));
        }
        if rules.english_levels.is_empty() {
            let message = "english_levels is empty; it must be a list such as `basic, fluent`";
            return Err(message.to_owned());
        }
        Ok(rules)
    }

    pub(crate) fn faults(&self, row: &Posting<'_>) -> Vec<Rejection> {
        let faults = [
            company_name(row),
            self.exp_years(row),
            self.english_level(row),
            self.keyword(row),
        ];
        faults.into_iter().flatten().collect()
    }

    fn exp_years(&self, row: &Posting<'_>) -> Option<Rejection> {
        let (min, max) = (self.min_years, self.max_years);
        let fault = match row.exp_years.integer() {
            None => row.exp_years.reject("FIELD_REQUIRED", "must be given"),
            Some(years) if (min..=max).contains(&years) => return None,
            Some(years) => {
                let what = format!("is {years}; it must be {min} to {max}");
                row.exp_years.reject("FIELD_RANGE", &what)
            }
        };
        Some(fault)
    }

    fn english_level(&self, row: &Posting<'_>) -> Option<Rejection> {
        let level = row.english_level.text()?;
        if self.english_levels.iter().any(|known| known == level) {
            return None;
        }
        let known = self.english_levels.join(", ");
        let what = format!("is `{level}`; it must be one of {known}");
        Some(row.english_level.reject("FIELD_VALUE", &what))
    }

    fn keyword(&self, row: &Posting<'_>) -> Option<Rejection> {
        let given = row
            .primary_keyword
            .text()
            .is_some_and(|text| !text.is_empty());
        if given || !self.require_keyword {
            return None;
        }
        Some(
            row.primary_keyword
                .reject("FIELD_REQUIRED", "must be given"),
        )
    }
}

fn company_name(row: &Posting<'_>) -> Option<Rejection> {
    let name = row.company_name;
    match name.text().unwrap_or_default().chars().count() {
        0 => Some(name.reject("FIELD_REQUIRED", "must be given")),
        1..=COMPANY_NAME_CHARS => None,
        length => {
            let what = format!("has {length} characters, of {COMPANY_NAME_CHARS} at most");
            Some(name.reject("FIELD_LENGTH", &what))
        }
    }
}
