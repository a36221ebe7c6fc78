//! Settings of a plugin, from the configuration.

use std::fmt::Write;
use std::str::FromStr;

/// The settings of a pipeline for this plugin, read by name.
///
/// Each text of the configuration is parsed as the type that the plugin asks for. The message
/// for an invalid one has the setting's name, its value and the valid values. Settings that the
/// plugin never asks for are refused.
#[derive(Debug, Default)]
pub struct Settings {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Settings {
    /// Makes settings of pairs of name and text, for tests.
    #[must_use]
    pub fn new(given: Vec<(String, String)>) -> Self {
        Self {
            given,
            known: Vec::new(),
        }
    }

    /// Returns a text as written in the configuration, if it was given.
    pub fn text(&mut self, name: &'static str) -> Option<&str> {
        self.known.push(name);
        let mut given = self.given.iter().rev();
        given
            .find(|(given, _)| given == name)
            .map(|(_, text)| text.as_str())
    }

    /// Parses a setting, if it was given. `what` completes the sentence "it must be …".
    ///
    /// # Errors
    /// If the text cannot be parsed.
    pub fn parse<T: FromStr>(
        &mut self,
        name: &'static str,
        what: &str,
    ) -> Result<Option<T>, String> {
        self.text(name)
            .map(|text| {
                let wrong = |_| format!("{name} is `{text}`; it must be {what}");
                text.parse().map_err(wrong)
            })
            .transpose()
    }

    /// Reads a whole number.
    ///
    /// # Errors
    /// If the setting is not a whole number.
    pub fn integer(&mut self, name: &'static str, default: i64) -> Result<i64, String> {
        let given = self.parse(name, "a whole number")?;
        Ok(given.unwrap_or(default))
    }

    /// Reads a number.
    ///
    /// # Errors
    /// If the setting is not a number.
    pub fn real(&mut self, name: &'static str, default: f64) -> Result<f64, String> {
        let given = self.parse(name, "a number")?;
        Ok(given.unwrap_or(default))
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// If the setting is neither.
    pub fn boolean(&mut self, name: &'static str, default: bool) -> Result<bool, String> {
        let given = self.parse(name, "`true` or `false`")?;
        Ok(given.unwrap_or(default))
    }

    /// Reads texts separated by commas. Trims white space around them, and skips empty ones.
    pub fn list(&mut self, name: &'static str, default: &str) -> Vec<String> {
        let items = self.text(name).unwrap_or(default).split(',').map(str::trim);
        items
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Refuses settings that were given but not asked for.
    ///
    /// # Errors
    /// If there is such a setting; the message lists the known ones.
    pub fn finish(&self) -> Result<(), String> {
        let unknown = |(name, _): &&(String, String)| !self.known.contains(&name.as_str());
        let Some((name, _)) = self.given.iter().find(unknown) else {
            return Ok(());
        };
        let mut message = format!("unknown setting `{name}`");
        let known = self.known.join(", ");
        // Writing to a `String` cannot fail.
        let _ = match known.as_str() {
            "" => write!(message, ": this plugin has none"),
            known => write!(message, "; there are {known}"),
        };
        Err(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(given: &[(&str, &str)]) -> Settings {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Settings::new(given.iter().map(owned).collect())
    }

    #[test]
    fn settings_are_parsed_as_the_type_asked_for() {
        let mut given = settings(&[
            ("n", "-3"),
            ("x", "0.5"),
            ("on", "true"),
            ("of", " a,, b ,"),
        ]);
        assert_eq!(given.integer("n", 7), Ok(-3));
        assert_eq!(given.integer("m", 7), Ok(7));
        assert_eq!(given.real("x", 1.0), Ok(0.5));
        assert_eq!(given.boolean("on", false), Ok(true));
        assert_eq!(given.list("of", ""), ["a", "b"]);
        assert_eq!(given.list("by", "c, d"), ["c", "d"]);
        assert_eq!(given.text("n"), Some("-3"));
        assert_eq!(given.text("other"), None);
        assert_eq!(given.finish(), Ok(()));
    }

    #[test]
    fn invalid_settings_are_explained() {
        let mut given = settings(&[("n", "ten"), ("x", "much"), ("on", "yes"), ("off", "no")]);
        assert_eq!(
            given.integer("n", 7),
            Err("n is `ten`; it must be a whole number".to_owned())
        );
        assert_eq!(
            given.real("x", 7.0),
            Err("x is `much`; it must be a number".to_owned())
        );
        assert_eq!(
            given.boolean("on", true),
            Err("on is `yes`; it must be `true` or `false`".to_owned())
        );
        assert_eq!(
            given.finish(),
            Err("unknown setting `off`; there are n, x, on".to_owned())
        );
        assert_eq!(
            settings(&[("n", "1")]).finish(),
            Err("unknown setting `n`: this plugin has none".to_owned())
        );
    }
}
