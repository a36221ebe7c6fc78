//! Conversions into answers.

use crate::{Decision, Field, Outcome, Rejection, Value};

impl Outcome {
    /// Drops the row; it is counted under this reason, such as `TEST_POSTING`.
    #[must_use]
    pub fn dropped(reason: &str) -> Self {
        Self::Drop(reason.to_owned())
    }
}

/// Collects the fields to set. Without any, the row is unchanged.
impl FromIterator<Field> for Outcome {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        let fields: Vec<Field> = fields.into_iter().collect();
        if fields.is_empty() {
            Self::Unchanged
        } else {
            Self::Set(fields)
        }
    }
}

impl From<Rejection> for Outcome {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}

impl Rejection {
    /// Rejects a row as a whole. [`Cell::reject`](crate::Cell::reject) rejects it because of one
    /// column.
    #[must_use]
    pub fn new(code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
            field: None,
        }
    }
}

impl Decision {
    /// Keeps the row as a dead letter in this queue.
    #[must_use]
    pub fn queue(name: &str) -> Self {
        Self::DeadLetter(name.to_owned())
    }
}

macro_rules! value_from {
    ($($type:ty => $variant:ident),+ $(,)?) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })+
    };
}

value_from! {
    bool => Boolean,
    i64 => Integer,
    f64 => Real,
    &str => Text,
    String => Text,
    std::borrow::Cow<'_, str> => Text,
    Vec<u8> => Binary,
    Vec<String> => Texts,
}

/// `None` becomes null.
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}
