//! The questions of a case: rows or failures, and their common interface.

use super::expect::Answer;
use super::finding::Place;
use super::harness::{Harness, Unanswered};
use super::suite::{CaseFailure, CaseRow};
use super::update;
use crate::plugin::Roles;

/// A row, or a failure for the policy.
pub(super) trait Question: Sized {
    /// Reason why a plugin with these roles cannot answer.
    fn missing_role(roles: Roles) -> Option<&'static str>;

    /// Asks the plugin about all of them in one call.
    fn ask(harness: &mut Harness, these: &[&Self]) -> Result<Vec<Answer>, Unanswered>;

    /// Line number in the file.
    fn line(&self) -> usize;

    /// Key of the row.
    fn key(&self) -> &str;

    /// Expected outcome as lines; `None` accepts anything except a plugin failure.
    fn expected(&self, answer: &Answer) -> Option<Vec<String>>;

    /// The answer as an expectation in TOML, if it can be expressed, and its place in the case.
    fn fix(&self, at: usize, answer: &Answer) -> (Place, Option<String>);
}

impl Question for CaseRow {
    fn missing_role(roles: Roles) -> Option<&'static str> {
        let is_asked = roles.transform || roles.validate;
        (!is_asked).then_some("rows need a plugin that exports `transform` or `validate`")
    }

    fn ask(harness: &mut Harness, these: &[&Self]) -> Result<Vec<Answer>, Unanswered> {
        harness.rows(these)
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

impl Question for CaseFailure {
    fn missing_role(roles: Roles) -> Option<&'static str> {
        (!roles.policy).then_some("failures need a plugin that exports `dead-letter-policy`")
    }

    fn ask(harness: &mut Harness, these: &[&Self]) -> Result<Vec<Answer>, Unanswered> {
        Ok(harness.failures(these))
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
