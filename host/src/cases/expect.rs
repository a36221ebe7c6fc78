//! Expected and actual outcomes of a row, as lines that can be compared and read.
//!
//! Both sides are written as lines and agree if the lines are equal, so the difference shows every
//! mismatch. Parts that an expectation leaves open are copied from the answer.

use super::vectors::NORM_TOLERANCE;
use super::{literal, vectors};
use crate::plugin::{Decision, Rejection};
use crate::row::{Value, Vector};

/// Expected outcome of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    /// The row is accepted with exactly these fields and embeddings changed.
    Accept {
        /// Changed values by column.
        fields: Vec<(String, Value)>,
        /// Changed embeddings by name.
        embeddings: Vec<(String, Wanted)>,
    },
    /// The row is dropped for this reason.
    Drop(String),
    /// The row is rejected for these reasons, in this order.
    Reject(Vec<WantedRejection>),
    /// The plugin fails on the row.
    Fails(WantedFault),
}

/// Expected new value of an embedding.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Norm, within 1e-4.
    Norm(f64),
    /// Elements, within 1e-6.
    Elements(Vector),
}

/// The parts of a rejection that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRejection {
    /// Complete code.
    pub code: String,
    /// Column, if compared.
    pub field: Option<String>,
    /// Complete message, if compared.
    pub message: Option<String>,
}

/// Expected failure of the plugin itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedFault {
    /// Error code, such as `PLUGIN_TRAP`.
    pub code: String,
    /// Part of the message.
    pub message: Option<String>,
}

/// Expected answer of the policy to a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The policy makes this decision.
    Decides(Decision),
    /// The policy fails.
    Fails(WantedFault),
}

/// Actual outcome of a row.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The row was accepted with these fields and embeddings changed.
    Accepted {
        /// Changed values by column.
        fields: Vec<(String, Value)>,
        /// Changed embeddings by name.
        embeddings: Vec<(String, Vector)>,
    },
    /// The row was dropped for this reason.
    Dropped(String),
    /// The row was rejected for one or more reasons.
    Rejected(Vec<Rejection>),
    /// The plugin failed on the row.
    Failed(Fault),
    /// Decision of the policy.
    Decided(Decision),
}

/// Failure of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Error code, such as `PLUGIN_TRAP`.
    pub code: String,
    /// Error message.
    pub message: String,
}

impl Answer {
    /// The answer as text, one line per part.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Accepted { fields, embeddings } => {
                let fields = fields.iter().map(field_line);
                let embeddings = embeddings
                    .iter()
                    .map(|(name, vector)| embedding_line(name, vector));
                accepted(fields.chain(embeddings).collect())
            }
            Self::Dropped(reason) => vec![drop_line(reason)],
            Self::Rejected(rejections) => rejections.iter().map(rejection_line).collect(),
            Self::Failed(fault) => vec![fault_line(fault)],
            Self::Decided(decision) => vec![decision_line(decision)],
        }
    }

    /// Violation of the interface's rules, regardless of the expectation. `None` for a plugin
    /// failure, which is not an answer.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        match self {
            Self::Dropped(reason) if reason.trim().is_empty() => {
                Some("drops a row without a reason".to_owned())
            }
            Self::Rejected(rejections) => rejections.iter().find_map(wrong_rejection),
            Self::Dropped(_) | Self::Accepted { .. } | Self::Failed(_) | Self::Decided(_) => None,
        }
    }

    /// True if the plugin failed.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

impl Expect {
    /// The expectation as text. Parts that match the answer or are left open read as in the answer.
    #[must_use]
    pub fn lines(&self, answer: &Answer) -> Vec<String> {
        match self {
            Self::Accept { fields, embeddings } => {
                let changed = match answer {
                    Answer::Accepted { embeddings, .. } => embeddings.as_slice(),
                    _ => &[],
                };
                let fields = fields.iter().map(field_line);
                let embeddings = embeddings
                    .iter()
                    .map(|(name, wanted)| wanted.line(name, changed));
                accepted(fields.chain(embeddings).collect())
            }
            Self::Drop(reason) => vec![drop_line(reason)],
            Self::Reject(wanted) => {
                let found = match answer {
                    Answer::Rejected(rejections) => rejections.as_slice(),
                    _ => &[],
                };
                let found = found.iter().map(Some).chain(std::iter::repeat(None));
                wanted
                    .iter()
                    .zip(found)
                    .map(|(wanted, found)| rejection_line(&wanted.filled(found)))
                    .collect()
            }
            Self::Fails(wanted) => wanted.lines(answer),
        }
    }
}

impl Verdict {
    /// Like [`Expect::lines`].
    #[must_use]
    pub fn lines(&self, answer: &Answer) -> Vec<String> {
        match self {
            Self::Decides(decision) => vec![decision_line(decision)],
            Self::Fails(wanted) => wanted.lines(answer),
        }
    }
}

impl Wanted {
    fn line(&self, name: &str, changed: &[(String, Vector)]) -> String {
        let found = changed
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, vector)| vector);
        match (self, found) {
            (Self::Norm(wanted), Some(found))
                if (vectors::norm(found) - wanted).abs() <= NORM_TOLERANCE =>
            {
                embedding_line(name, found)
            }
            (Self::Elements(wanted), Some(found)) if vectors::agree(wanted, found) => {
                embedding_line(name, found)
            }
            (Self::Norm(norm), _) => format!("{name}: norm {norm}"),
            (Self::Elements(wanted), _) => embedding_line(name, wanted),
        }
    }
}

impl WantedRejection {
    fn filled(&self, found: Option<&Rejection>) -> Rejection {
        let message = || found.map_or_else(|| "…".to_owned(), |found| found.message.clone());
        let field = || found.and_then(|found| found.field.clone());
        Rejection {
            code: self.code.clone(),
            message: self.message.clone().unwrap_or_else(message),
            field: self.field.clone().or_else(field),
        }
    }
}

impl WantedFault {
    fn lines(&self, answer: &Answer) -> Vec<String> {
        let found = match answer {
            Answer::Failed(fault) => Some(&fault.message),
            _ => None,
        };
        let message = match (&self.message, found) {
            (None, Some(found)) => found.clone(),
            (Some(part), Some(found)) if found.contains(part.as_str()) => found.clone(),
            (Some(part), _) => format!("…{part}…"),
            (None, None) => "…".to_owned(),
        };
        vec![fault_line(&Fault {
            code: self.code.clone(),
            message,
        })]
    }
}

fn accepted(mut changes: Vec<String>) -> Vec<String> {
    changes.sort();
    let first = if changes.is_empty() {
        "accept, unchanged"
    } else {
        "accept, with changes"
    };
    changes.insert(0, first.to_owned());
    changes
}

fn field_line((name, value): &(String, Value)) -> String {
    format!("{name} = {}", literal::of_value(value))
}

/// Writes all elements of a short vector; for a long one the first elements, norm and digest.
fn embedding_line(name: &str, vector: &Vector) -> String {
    let elements = vectors::elements(vector);
    let shown: Vec<String> = elements.iter().take(8).map(f32::to_string).collect();
    let (shown, norm) = (shown.join(", "), vectors::norm(vector));
    if elements.len() <= 8 {
        format!("{name} = [{shown}]")
    } else {
        let dimensions = elements.len();
        let digest = xxhash_rust::xxh3::xxh3_64(vectors::bytes(vector));
        format!(
            "{name} = [{shown}, …] ({dimensions} elements, norm {norm:.6}, digest {digest:08x})"
        )
    }
}

fn wrong_rejection(rejection: &Rejection) -> Option<String> {
    let code = &rejection.code;
    let is_part = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
    if code.is_empty() || !code.bytes().all(is_part) {
        return Some(format!(
            "rejects with the code {code:?}; codes are upper case with underscores"
        ));
    }
    let is_blank = rejection.message.trim().is_empty();
    is_blank.then(|| format!("rejects with {code} but without a message"))
}

fn drop_line(reason: &str) -> String {
    format!("drop: {reason}")
}

fn rejection_line(rejection: &Rejection) -> String {
    let field = rejection.field.as_deref();
    let field = field.map_or_else(String::new, |field| format!(" {field}"));
    format!("reject {}{field}: {}", rejection.code, rejection.message)
}

fn fault_line(fault: &Fault) -> String {
    format!("fails {}: {}", fault.code, fault.message)
}

fn decision_line(decision: &Decision) -> String {
    match decision {
        Decision::Retry(after) => format!("retry after {} ms", after.as_millis()),
        Decision::DeadLetter(queue) => format!("dead letter in {queue}"),
        Decision::Drop => "drop".to_owned(),
        Decision::Halt(message) => format!("halt: {message}"),
    }
}
