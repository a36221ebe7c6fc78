//! Messages, lists and maps as JSON: as protobuf's own mapping has it, but with the fields' names as
//! in the `.proto` file and 64-bit integers as numbers, since columns are named and typed so.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    SerializeOptions, Value,
};
use serde_json::json;

/// A field that becomes JSON.
#[derive(Debug)]
pub struct JsonField {
    /// The column that gets it.
    pub column: usize,
    /// The message that has the field.
    pub(super) parent: MessageDescriptor,
    pub(super) field: FieldDescriptor,
}

/// A field has more items than there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyItems;

/// Levels of messages within each other that are looked at; prost takes no more either.
const DEPTH: usize = 100;

impl JsonField {
    /// The JSON text of a field, from all its encoded members in the message. `items` is the number
    /// of values that the row may still have in memory, and gets what is left.
    ///
    /// # Errors
    /// The outer one if there are too many items, the inner one if the members are malformed.
    pub fn text(
        &self,
        members: &[u8],
        items: &mut usize,
    ) -> Result<Result<String, String>, TooManyItems> {
        if let Err(error) = count(&self.parent, members, 0, items) {
            return error.map_or(Err(TooManyItems), |error| Ok(Err(error)));
        }
        let message = match DynamicMessage::decode(self.parent.clone(), members) {
            Ok(message) => message,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let value = json_of(&message.get_field(&self.field), &self.field.kind());
        Ok(value.map(|json| json.to_string()))
    }
}

/// Counts the values in an encoded message. The error is `None` if there are too many, or says what
/// is malformed.
fn count(
    message: &MessageDescriptor,
    mut bytes: &[u8],
    depth: usize,
    items: &mut usize,
) -> Result<(), Option<String>> {
    let malformed = |error: prost::DecodeError| Some(error.to_string());
    let take = |items: &mut usize, number: usize| match items.checked_sub(number) {
        Some(left) => {
            *items = left;
            Ok(())
        }
        None => Err(None),
    };
    if depth > DEPTH {
        return Err(Some("messages are too deep within each other".into()));
    }
    while bytes.has_remaining() {
        let (tag, wire_type) = decode_key(&mut bytes).map_err(malformed)?;
        take(items, 1)?;
        let known = message.get_field(tag);
        match (wire_type, known.as_ref().map(FieldDescriptor::kind)) {
            (WireType::LengthDelimited, Some(kind)) => {
                let length = decode_varint(&mut bytes).map_err(malformed)?;
                let length = usize::try_from(length).ok();
                let part = length.and_then(|length| bytes.split_at_checked(length));
                let Some((part, rest)) = part else {
                    return Err(Some("a member is longer than the row".into()));
                };
                bytes = rest;
                match kind {
                    Kind::Message(inner) => count(&inner, part, depth + 1, items)?,
                    Kind::String | Kind::Bytes => {}
                    // Elements that are packed.
                    _ => take(items, part.len())?,
                }
            }
            _ => skip_field(wire_type, tag, &mut bytes, DecodeContext::default())
                .map_err(malformed)?,
        }
    }
    Ok(())
}

fn options() -> SerializeOptions {
    SerializeOptions::new()
        .stringify_64_bit_integers(false)
        .use_proto_field_name(true)
        .skip_default_fields(false)
}

fn json_of(value: &Value, kind: &Kind) -> Result<serde_json::Value, String> {
    Ok(match value {
        Value::Bool(value) => json!(value),
        Value::I32(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::U32(value) => json!(value),
        Value::U64(value) => json!(value),
        Value::F32(value) => real(f64::from(*value)),
        Value::F64(value) => real(*value),
        Value::String(value) => json!(value),
        Value::Bytes(value) => {
            use base64::Engine;
            json!(base64::engine::general_purpose::STANDARD.encode(value))
        }
        Value::EnumNumber(number) => match kind {
            Kind::Enum(names) => match names.get_value(*number) {
                Some(value) => json!(value.name()),
                None => json!(number),
            },
            _ => json!(number),
        },
        Value::Message(message) => message
            .serialize_with_options(serde_json::value::Serializer, &options())
            .map_err(|error| error.to_string())?,
        Value::List(values) => {
            let values = values.iter().map(|value| json_of(value, kind));
            serde_json::Value::Array(values.collect::<Result<_, _>>()?)
        }
        Value::Map(entries) => {
            let value_kind = match kind {
                Kind::Message(entry) if entry.is_map_entry() => {
                    entry.map_entry_value_field().kind()
                }
                other => other.clone(),
            };
            let mut members: Vec<(String, serde_json::Value)> = Vec::new();
            for (key, value) in entries {
                members.push((name_of(key), json_of(value, &value_kind)?));
            }
            // A map has no order, but a row that has not changed has to look the same again.
            members.sort_by(|a, b| a.0.cmp(&b.0));
            serde_json::Value::Object(members.into_iter().collect())
        }
    })
}

fn name_of(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// JSON has no number for these.
fn real(value: f64) -> serde_json::Value {
    if value.is_finite() {
        return json!(value);
    }
    json!(match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    })
}

/// An encoded message to read, by descriptors that were kept.
///
/// # Errors
/// If the descriptors do not have the message, or it cannot be decoded.
pub fn show(
    descriptors: &[u8],
    message: &str,
    encoded: &[u8],
) -> Result<serde_json::Value, String> {
    let pool = DescriptorPool::decode(descriptors).map_err(|error| error.to_string())?;
    let descriptor = pool.get_message_by_name(message);
    let descriptor = descriptor.ok_or_else(|| format!("no message {message}"))?;
    let message = DynamicMessage::decode(descriptor, encoded).map_err(|error| error.to_string())?;
    let options = options().skip_default_fields(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| error.to_string())
}
