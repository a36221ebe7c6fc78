//! What must become of a row, and what became of it, as lines that can be compared and read.
//!
//! Both sides are written as lines; they agree when the lines are the same. So whatever a test
//! finds wrong can be seen in the difference. What an expectation leaves open is written as the
//! answer has it.

use super::vectors::NORM_TOLERANCE;
use super::{literal, vectors};
use crate::plugin::{Decision, Rejection};
use crate::row::{Value, Vector};

/// What must become of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    /// It goes on with exactly these fields and embeddings changed.
    Accept {
        /// By column.
        fields: Vec<(String, Value)>,
        /// By name.
        embeddings: Vec<(String, Wanted)>,
    },
    /// It is dropped for this reason.
    Drop(String),
    /// It is rejected for these reasons, in this order.
    Reject(Vec<WantedRejection>),
    /// The plugin fails on it.
    Fails(WantedFault),
}

/// How an embedding must have changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// To this norm, within 1e-4.
    Norm(f64),
    /// To these elements, within 1e-6.
    Elements(Vector),
}

/// A rejection, as far as it is to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRejection {
    /// The whole code.
    pub code: String,
    /// The column.
    pub field: Option<String>,
    /// The whole message.
    pub message: Option<String>,
}

/// A failure of the plugin itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedFault {
    /// Such as `PLUGIN_TRAP`.
    pub code: String,
    /// A part of the message.
    pub message: Option<String>,
}

/// What the policy must say about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A decision.
    Decides(Decision),
    /// The policy fails.
    Fails(WantedFault),
}

/// What became of a row.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It goes on, with these fields and embeddings changed.
    Accepted {
        /// By column.
        fields: Vec<(String, Value)>,
        /// By name.
        embeddings: Vec<(String, Vector)>,
    },
    /// It was dropped, with this reason.
    Dropped(String),
    /// It was rejected, at least once.
    Rejected(Vec<Rejection>),
    /// The plugin failed on it.
    Failed(Fault),
    /// The policy decided about it.
    Decided(Decision),
}

/// How a plugin failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Such as `PLUGIN_TRAP`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Answer {
    /// The answer in words, a line for each part.
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

    /// What is wrong with it by the rules of the interface, whatever is expected; nothing with a
    /// failure of the plugin, which is no answer.
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

    /// Whether it is the plugin that failed.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

impl Expect {
    /// The expectation in words. What agrees with the answer, or is left open, reads as there.
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
    /// As [`Expect::lines`].
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
        "accept, as it came"
    } else {
        "accept, with changes"
    };
    changes.insert(0, first.to_owned());
    changes
}

fn field_line((name, value): &(String, Value)) -> String {
    format!("{name} = {}", literal::of_value(value))
}

/// Short vectors with their elements, long ones by what tells them apart.
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
    is_blank.then(|| format!("rejects with {code} and without a message"))
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
