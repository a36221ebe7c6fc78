//! How a method's request is made.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::path::resolve;
use super::problem::Problem;
use crate::config::Method;

/// The request of a method, and its fields for position and number of rows.
#[derive(Debug)]
pub struct Request {
    /// What is the same in each request.
    constants: DynamicMessage,
    position: Vec<FieldDescriptor>,
    chunk_size: Option<Vec<FieldDescriptor>>,
}

impl Request {
    pub(super) fn compile(
        input: &MessageDescriptor,
        method: &Method,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let position = field(input, "position.request", &method.resume, problems);
        let chunk_size = method.chunk_size.as_ref();
        let chunk_size = chunk_size.map(|path| field(input, "chunk_size", path, problems));
        let mut constants = DynamicMessage::new(input.clone());
        for (path, value) in &method.request {
            let key = format!("request.{path}");
            let Some(fields) = field(input, &key, path, problems) else {
                continue;
            };
            let kind = fields.last().map(FieldDescriptor::kind);
            match kind.and_then(|kind| constant(&kind, value)) {
                Some(value) => set(&mut constants, &fields, value),
                None => problems.push(Problem::new(
                    key,
                    format!("{value} is no value of that field"),
                    "write a number, a text, true or false, or the name of an enum's value",
                )),
            }
        }
        let position = position?;
        let is_usable = |path: &[FieldDescriptor]| {
            path.last()
                .is_some_and(|field| !field.is_list() && parsed(&field.kind(), "0").is_some())
        };
        if !is_usable(&position) {
            let hint = "name a field that is a string, bytes or an integer";
            let message = format!("`{}` cannot hold a position", method.resume);
            problems.push(Problem::new("position.request", message, hint));
        }
        let chunk_size = match chunk_size {
            Some(path) => Some(path?),
            None => None,
        };
        let is_number = |path: &Vec<FieldDescriptor>| {
            path.last()
                .is_some_and(|field| !field.is_list() && integer(&field.kind(), 1).is_some())
        };
        if chunk_size.as_ref().is_some_and(|path| !is_number(path)) {
            let hint = "name a field that is an integer";
            problems.push(Problem::new("chunk_size", "is no integer field", hint));
        }
        Some(Self {
            constants,
            position,
            chunk_size,
        })
    }

    /// The encoded request for what comes after `position`, which is empty at the beginning.
    ///
    /// # Errors
    /// If the field cannot hold the position.
    pub fn encode(&self, position: &str, rows: u32) -> Result<Bytes, String> {
        let mut request = self.constants.clone();
        if let Some(path) = &self.chunk_size
            && let Some(field) = path.last()
            && let Some(value) = integer(&field.kind(), i64::from(rows))
        {
            set(&mut request, path, value);
        }
        if !position.is_empty() {
            let kind = self.position.last().map(FieldDescriptor::kind);
            let value = kind.and_then(|kind| parsed(&kind, position));
            let field = || {
                let names: Vec<&str> = self.position.iter().map(FieldDescriptor::name).collect();
                names.join(".")
            };
            let value =
                value.ok_or_else(|| format!("`{position}` does not fit into `{}`", field()))?;
            set(&mut request, &self.position, value);
        }
        Ok(request.encode_to_vec().into())
    }

    /// True if the server is told how many rows to send.
    #[must_use]
    pub fn has_chunk_size(&self) -> bool {
        self.chunk_size.is_some()
    }
}

fn field(
    input: &MessageDescriptor,
    key: &str,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Option<Vec<FieldDescriptor>> {
    match resolve(input, key, path) {
        Ok(path) => Some(path),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

fn set(message: &mut DynamicMessage, path: &[FieldDescriptor], value: Value) {
    match path {
        [] => {}
        [field] => message.set_field(field, value),
        [field, rest @ ..] => {
            if let Some(inner) = message.get_field_mut(field).as_message_mut() {
                set(inner, rest, value);
            }
        }
    }
}

fn integer(kind: &Kind, value: i64) -> Option<Value> {
    Some(match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(value.try_into().ok()?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(value),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(value.try_into().ok()?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(value.try_into().ok()?),
        _ => return None,
    })
}

/// A position as the value of a field. Bytes are positions in hexadecimal.
fn parsed(kind: &Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::String => Some(Value::String(text.to_owned())),
        Kind::Bytes if text == "0" => Some(Value::Bytes(Bytes::new())),
        Kind::Bytes => Some(Value::Bytes(hex::decode(text).ok()?.into())),
        Kind::Uint64 | Kind::Fixed64 => Some(Value::U64(text.parse().ok()?)),
        kind => integer(kind, text.parse().ok()?),
    }
}

fn constant(kind: &Kind, value: &serde_json::Value) -> Option<Value> {
    Some(match kind {
        Kind::Bool => Value::Bool(value.as_bool()?),
        Kind::String => Value::String(value.as_str()?.to_owned()),
        Kind::Bytes => Value::Bytes(value.as_str()?.to_owned().into()),
        #[expect(clippy::cast_possible_truncation, reason = "the field is a float")]
        Kind::Float => Value::F32(value.as_f64()? as f32),
        Kind::Double => Value::F64(value.as_f64()?),
        Kind::Enum(names) => match value.as_str() {
            Some(name) => Value::EnumNumber(names.get_value_by_name(name)?.number()),
            None => Value::EnumNumber(value.as_i64()?.try_into().ok()?),
        },
        kind => integer(kind, value.as_i64()?)?,
    })
}
