//! Rejects `recruit` rows that must not be written.
//!
//! All faults of a row are reported at once. Checks that the tables make themselves, such as the
//! length of a keyword, are not repeated here.

use forebay_plugin::{Plugin, Rejection, Settings, Validate};

const COMPANY_NAME_CHARS: usize = 200;
const ENGLISH_LEVELS: &str = "no_english, basic, pre_intermediate, intermediate, upper_intermediate, advanced, fluent, native";

forebay_plugin::columns! {
    struct Posting {
        company_name,
        exp_years,
        english_level,
        primary_keyword,
    }
}

#[derive(Debug, PartialEq)]
struct Rules {
    min_years: i64,
    max_years: i64,
    english_levels: Vec<String>,
    require_keyword: bool,
}

forebay_plugin::export!(Rules: validate);

impl Plugin for Rules {
    type Row<'a> = Posting<'a>;

    fn configure(settings: &mut Settings) -> Result<Self, String> {
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
}

impl Validate for Rules {
    fn validate(&self, row: Posting<'_>) -> Vec<Rejection> {
        let mut faults = Vec::new();
        faults.extend(company_name(&row));
        faults.extend(self.exp_years(&row));
        faults.extend(self.english_level(&row));
        faults.extend(self.keyword(&row));
        faults
    }
}

impl Rules {
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
    let text = name.text().unwrap_or_default();
    // A character has at least one byte, so most names need no counting.
    if (1..=COMPANY_NAME_CHARS).contains(&text.len()) {
        return None;
    }
    match text.chars().count() {
        0 => Some(name.reject("FIELD_REQUIRED", "must be given")),
        1..=COMPANY_NAME_CHARS => None,
        length => {
            let what = format!("has {length} characters, of {COMPANY_NAME_CHARS} at most");
            Some(name.reject("FIELD_LENGTH", &what))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use forebay_plugin::{Value, testing};

    use super::*;

    fn parse(config: &[(&str, &str)]) -> Result<Rules, String> {
        testing::configured(config)
    }

    fn judge(
        config: &[(&str, &str)],
        company: &str,
        years: Option<i64>,
        level: Option<&str>,
        keyword: &str,
    ) -> Vec<String> {
        let text = |text: &str| Value::Text(text.to_owned());
        let years = years.map_or(Value::None, Value::Integer);
        let values = [
            ("company_name", text(company)),
            ("exp_years", years),
            ("english_level", level.map_or(Value::None, text)),
            ("primary_keyword", text(keyword)),
        ];
        let row = testing::row(values);
        let faults = parse(config).unwrap().validate(row.view());
        faults
            .into_iter()
            .map(|fault| format!("{} {}", fault.code, fault.field.unwrap()))
            .collect()
    }

    #[test]
    fn every_fault_is_reported() {
        let none: [&str; 0] = [];
        assert_eq!(judge(&[], "Acme", Some(0), Some("fluent"), "Go"), none);
        assert_eq!(judge(&[], "Acme", Some(60), None, "Go"), none);
        assert_eq!(judge(&[], &"é".repeat(200), Some(1), None, "Go"), none);
        assert_eq!(
            judge(&[], &"é".repeat(201), Some(1), None, "Go"),
            ["FIELD_LENGTH company_name"]
        );
        assert_eq!(
            judge(&[], "Acme", Some(-1), None, "Go"),
            ["FIELD_RANGE exp_years"]
        );
        assert_eq!(
            judge(&[], "Acme", Some(61), None, "Go"),
            ["FIELD_RANGE exp_years"]
        );
        assert_eq!(
            judge(&[], "Acme", Some(1), Some("klingon"), "Go"),
            ["FIELD_VALUE english_level"]
        );
        assert_eq!(
            judge(&[], "", None, Some("B2"), ""),
            [
                "FIELD_REQUIRED company_name",
                "FIELD_REQUIRED exp_years",
                "FIELD_VALUE english_level",
                "FIELD_REQUIRED primary_keyword"
            ]
        );
    }

    #[test]
    fn settings_move_the_bounds() {
        let none: [&str; 0] = [];
        let config = [
            ("min_years", "2"),
            ("max_years", "5"),
            ("english_levels", "b1, b2"),
            ("require_keyword", "false"),
        ];
        assert_eq!(judge(&config, "Acme", Some(5), Some("b2"), ""), none);
        assert_eq!(
            judge(&config, "Acme", Some(1), Some("fluent"), ""),
            ["FIELD_RANGE exp_years", "FIELD_VALUE english_level"]
        );
    }

    #[test]
    fn wrong_settings_are_refused() {
        for (config, message) in [
            (
                ("max_years", "ten"),
                "max_years is `ten`; it must be a whole number",
            ),
            (
                ("require_keyword", "yes"),
                "require_keyword is `yes`; it must be `true` or `false`",
            ),
            (
                ("min_years", "61"),
                "min_years is 61; it must be at most max_years, which is 60",
            ),
            (
                ("english_levels", " ,"),
                "english_levels is empty; it must be a list such as `basic, fluent`",
            ),
            (
                ("years", "3"),
                "unknown setting `years`; there are min_years, max_years, english_levels, require_keyword",
            ),
        ] {
            assert_eq!(parse(&[config]).unwrap_err(), message);
        }
    }
}
