//! Says why a `recruit` row must not be written.
//!
//! A row is told all its faults at once. What the tables check themselves, such as the
//! length of a keyword, is not repeated here.

wit_bindgen::generate!({ path: "../../wit", world: "validator" });

use std::sync::OnceLock;

use exports::forebay::plugin::{describe, validate};
use forebay::plugin::log::{self, Level};
use forebay::plugin::types::{Batch, Rejection, Value};

const COMPANY_NAME_CHARS: usize = 200;
const ENGLISH_LEVELS: &str = "no_english, basic, pre_intermediate, intermediate, upper_intermediate, advanced, fluent, native";

/// Set by `configure`, which the host calls on every instance before its first batch.
static RULES: OnceLock<Rules> = OnceLock::new();

#[derive(Debug, PartialEq)]
struct Rules {
    min_years: i64,
    max_years: i64,
    english_levels: Vec<String>,
    require_keyword: bool,
}

struct Plugin;
export!(Plugin);

impl describe::Guest for Plugin {
    fn describe() -> describe::Descriptor {
        let reads = [
            "company_name",
            "exp_years",
            "english_level",
            "primary_keyword",
        ];
        describe::Descriptor {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reads: Some(reads.map(str::to_owned).to_vec()),
        }
    }

    fn configure(config: Vec<(String, String)>) -> Result<(), String> {
        // A panic traps, and its message would be lost.
        std::panic::set_hook(Box::new(|panic| {
            log::log(Level::Error, &panic.to_string().replace('\n', " "));
        }));
        RULES
            .set(Rules::parse(&config)?)
            .map_err(|_| "configured twice".to_owned())
    }
}

impl validate::Guest for Plugin {
    fn validate(batch: Batch) -> Result<Vec<Vec<Rejection>>, String> {
        let rules = RULES.get().ok_or("not configured")?;
        let columns: Vec<&str> = batch.columns.iter().map(String::as_str).collect();
        Ok(batch
            .rows
            .iter()
            .map(|row| rules.judge(&columns, &row.values))
            .collect())
    }
}

impl Rules {
    fn parse(config: &[(String, String)]) -> Result<Self, String> {
        let mut rules = Self {
            min_years: 0,
            max_years: 60,
            english_levels: list(ENGLISH_LEVELS),
            require_keyword: true,
        };
        for (key, value) in config {
            let wrong = |what: &str| format!("{key} is `{value}`; it must be {what}");
            match key.as_str() {
                "min_years" => {
                    rules.min_years = value.parse().map_err(|_| wrong("a whole number"))?
                }
                "max_years" => {
                    rules.max_years = value.parse().map_err(|_| wrong("a whole number"))?
                }
                "english_levels" => rules.english_levels = list(value),
                "require_keyword" => {
                    rules.require_keyword =
                        value.parse().map_err(|_| wrong("`true` or `false`"))?;
                }
                _ => {
                    let known = "min_years, max_years, english_levels, require_keyword";
                    return Err(format!("unknown setting `{key}`; there are {known}"));
                }
            }
        }
        if rules.min_years > rules.max_years {
            let (min, max) = (rules.min_years, rules.max_years);
            return Err(format!(
                "min_years is {min}; it must be at most max_years, which is {max}"
            ));
        }
        if rules.english_levels.is_empty() {
            return Err(
                "english_levels is empty; it must be a list such as `basic, fluent`".to_owned(),
            );
        }
        Ok(rules)
    }

    /// The faults of a row; none if it may pass. A column the pipeline lacks is null.
    fn judge(&self, columns: &[&str], values: &[Value]) -> Vec<Rejection> {
        let value = |name: &str| {
            let mut pairs = columns.iter().zip(values);
            let found = pairs.find(|(column, _)| **column == name);
            found.map_or(&Value::None, |(_, value)| value)
        };
        let faults = [
            ("company_name", company_name(value("company_name"))),
            ("exp_years", self.exp_years(value("exp_years"))),
            ("english_level", self.english_level(value("english_level"))),
            ("primary_keyword", self.keyword(value("primary_keyword"))),
        ];
        let rejections = faults.into_iter().filter_map(|(field, fault)| {
            let (code, detail) = fault?;
            Some(Rejection {
                code: code.to_owned(),
                message: format!("{field} {detail}"),
                field: Some(field.to_owned()),
            })
        });
        rejections.collect()
    }

    fn exp_years(&self, value: &Value) -> Option<Fault> {
        let Value::Integer(years) = value else {
            return missing();
        };
        let (min, max) = (self.min_years, self.max_years);
        if (min..=max).contains(years) {
            return None;
        }
        Some((
            "FIELD_RANGE",
            format!("is {years}; it must be {min} to {max}"),
        ))
    }

    fn english_level(&self, value: &Value) -> Option<Fault> {
        let Value::Text(level) = value else {
            return None;
        };
        if self.english_levels.contains(level) {
            return None;
        }
        let known = self.english_levels.join(", ");
        Some((
            "FIELD_VALUE",
            format!("is `{level}`; it must be one of {known}"),
        ))
    }

    fn keyword(&self, value: &Value) -> Option<Fault> {
        match value {
            Value::Text(keyword) if !keyword.is_empty() => None,
            _ if !self.require_keyword => None,
            _ => missing(),
        }
    }
}

/// A code, and what is wrong with the field.
type Fault = (&'static str, String);

fn missing() -> Option<Fault> {
    Some(("FIELD_REQUIRED", "must be given".to_owned()))
}

fn company_name(value: &Value) -> Option<Fault> {
    match value {
        Value::Text(name) if (1..=COMPANY_NAME_CHARS).contains(&name.chars().count()) => None,
        Value::Text(name) if !name.is_empty() => {
            let length = name.chars().count();
            let detail = format!("has {length} characters, of {COMPANY_NAME_CHARS} at most");
            Some(("FIELD_LENGTH", detail))
        }
        _ => missing(),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(config: &[(&str, &str)]) -> Result<Rules, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Rules::parse(&config.iter().map(owned).collect::<Vec<_>>())
    }

    fn judge(
        config: &[(&str, &str)],
        company: &str,
        years: Option<i64>,
        level: Option<&str>,
        keyword: &str,
    ) -> Vec<String> {
        let columns = [
            "company_name",
            "exp_years",
            "english_level",
            "primary_keyword",
        ];
        let text = |text: &str| Value::Text(text.to_owned());
        let years = years.map_or(Value::None, Value::Integer);
        let values = [
            text(company),
            years,
            level.map_or(Value::None, text),
            text(keyword),
        ];
        let faults = parse(config).unwrap().judge(&columns, &values);
        faults
            .into_iter()
            .map(|fault| format!("{} {}", fault.code, fault.field.unwrap()))
            .collect()
    }

    #[test]
    fn every_fault_is_told() {
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
