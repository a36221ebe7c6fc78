//! What the configuration has for a plugin.

use std::fmt::Write;
use std::str::FromStr;

/// The settings of a pipeline for this plugin, asked for by name.
///
/// Texts in the configuration are read as what they are asked for; the message for one that
/// cannot be names the setting, what it is and what it must be. What was never asked for is
/// refused.
#[derive(Debug, Default)]
pub struct Settings {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Settings {
    /// Settings as pairs of name and text; for tests.
    #[must_use]
    pub fn new(given: Vec<(String, String)>) -> Self {
        Self {
            given,
            known: Vec::new(),
        }
    }

    /// A text as it was written, if it was given.
    pub fn text(&mut self, name: &'static str) -> Option<&str> {
        self.known.push(name);
        let mut given = self.given.iter().rev();
        given
            .find(|(given, _)| given == name)
            .map(|(_, text)| text.as_str())
    }

    /// A text that is a value of a type, if it was given. `what` completes the sentence "it
    /// must be …".
    ///
    /// # Errors
    ///
    /// When the text is no such value.
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

    /// A whole number.
    ///
    /// # Errors
    ///
    /// When it is not one.
    pub fn integer(&mut self, name: &'static str, default: i64) -> Result<i64, String> {
        let given = self.parse(name, "a whole number")?;
        Ok(given.unwrap_or(default))
    }

    /// A number.
    ///
    /// # Errors
    ///
    /// When it is not one.
    pub fn real(&mut self, name: &'static str, default: f64) -> Result<f64, String> {
        let given = self.parse(name, "a number")?;
        Ok(given.unwrap_or(default))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn boolean(&mut self, name: &'static str, default: bool) -> Result<bool, String> {
        let given = self.parse(name, "`true` or `false`")?;
        Ok(given.unwrap_or(default))
    }

    /// Texts separated by commas, without the white space around them, and without empty ones.
    pub fn list(&mut self, name: &'static str, default: &str) -> Vec<String> {
        let items = self.text(name).unwrap_or(default).split(',').map(str::trim);
        items
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Refuses what was given and not asked for.
    ///
    /// # Errors
    ///
    /// When there is such a setting; says which there are.
    pub fn finish(&self) -> Result<(), String> {
        let unknown = |(name, _): &&(String, String)| !self.known.contains(&name.as_str());
        let Some((name, _)) = self.given.iter().find(unknown) else {
            return Ok(());
        };
        let mut message = format!("unknown setting `{name}`");
        let known = self.known.join(", ");
        // Writing to a text cannot fail.
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
    fn settings_are_read_as_what_is_asked_for() {
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
    fn what_is_wrong_is_said() {
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
