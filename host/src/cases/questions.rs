//! What a plugin is asked about in a case, rows or failures, and what both have in common.

use super::expect::Answer;
use super::finding::Place;
use super::harness::{Harness, Unanswered};
use super::suite::{CaseFailure, CaseRow};
use super::update;
use crate::plugin::Roles;

/// A row, or a failure for the policy.
pub(super) trait Asked: Sized {
    /// Why a plugin of these roles is not asked about it.
    fn missing_role(roles: Roles) -> Option<&'static str>;

    /// What the plugin says about these in one call.
    fn ask(trial: &mut Harness, these: &[&Self]) -> Result<Vec<Answer>, Unanswered>;

    /// The line it stands in.
    fn line(&self) -> usize;

    /// Its key.
    fn key(&self) -> &str;

    /// What is expected of it, in words; `None`: anything but a failure of the plugin.
    fn expected(&self, answer: &Answer) -> Option<Vec<String>>;

    /// The answer as an expectation in TOML, if it can be one, and where it stands in the case.
    fn fix(&self, at: usize, answer: &Answer) -> (Place, Option<String>);
}

impl Asked for CaseRow {
    fn missing_role(roles: Roles) -> Option<&'static str> {
        let is_asked = roles.transform || roles.validate;
        (!is_asked).then_some("rows are for `transform` or `validate`, and the plugin has neither")
    }

    fn ask(trial: &mut Harness, these: &[&Self]) -> Result<Vec<Answer>, Unanswered> {
        trial.rows(these)
    }

    fn line(&self) -> usize {
        self.line
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn expected(&self, answer: &Answer) -> Option<Vec<String>> {
        self.expect.as_ref().map(|expect| expect.lines(answer))
    }

    fn fix(&self, at: usize, answer: &Answer) -> (Place, Option<String>) {
        let toml = update::of_answer(answer, self.expect.as_ref());
        (Place::Row(at), toml)
    }
}

impl Asked for CaseFailure {
    fn missing_role(roles: Roles) -> Option<&'static str> {
        (!roles.policy).then_some("failures are for a `dead-letter-policy`, and the plugin is none")
    }

    fn ask(trial: &mut Harness, these: &[&Self]) -> Result<Vec<Answer>, Unanswered> {
        Ok(trial.failures(these))
    }

    fn line(&self) -> usize {
        self.line
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn expected(&self, answer: &Answer) -> Option<Vec<String>> {
        self.expect.as_ref().map(|expect| expect.lines(answer))
    }

    fn fix(&self, at: usize, answer: &Answer) -> (Place, Option<String>) {
        (Place::Failure(at), update::of_answer(answer, None))
    }
}
