//! Reads and writes values and vectors of case files. Written values read back bit for bit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use bytestring::ByteString;
use chrono::{DateTime, SecondsFormat, Utc};
use half::f16;
use toml::de::{DeTable, DeValue};

use super::reader::{Entries, Node, Reader};
use super::vectors;
use crate::row::{FieldType, MAX_DIMENSIONS, Value, Vector};

/// Maximum number of elements written as numbers; a longer vector is written as base64.
const MAX_LISTED: usize = 16;

/// The kinds of embeddings, and the keys that each allows.
const FORMS: [(&str, &[&str]); 4] = [
    ("f16", &["f16"]),
    ("f32", &["f32"]),
    ("fill", &["fill", "dimensions"]),
    ("random", &["random", "dimensions", "norm"]),
];

/// Names of the types in `[columns]`.
pub(super) const TYPES: [(&str, FieldType); 8] = [
    ("boolean", FieldType::Boolean),
    ("integer", FieldType::Integer),
    ("real", FieldType::Real),
    ("text", FieldType::Text),
    ("binary", FieldType::Binary),
    ("timestamp", FieldType::Timestamp),
    ("texts", FieldType::Texts),
    ("json", FieldType::Json),
];

/// The type of a value; `None` for null.
pub(super) fn type_of(value: &Value) -> Option<FieldType> {
    match value {
        Value::Null => None,
        Value::Boolean(_) => Some(FieldType::Boolean),
        Value::Integer(_) => Some(FieldType::Integer),
        Value::Real(_) => Some(FieldType::Real),
        Value::Text(_) => Some(FieldType::Text),
        Value::Binary(_) => Some(FieldType::Binary),
        Value::Timestamp(_) => Some(FieldType::Timestamp),
        Value::Json(_) => Some(FieldType::Json),
        Value::Texts(_) => Some(FieldType::Texts),
    }
}

/// Writes a value as TOML.
pub(super) fn of_value(value: &Value) -> String {
    match value {
        Value::Null => "{ none = true }".to_owned(),
        Value::Boolean(x) => x.to_string(),
        Value::Integer(x) => x.to_string(),
        Value::Real(x) => of_real(*x),
        Value::Text(x) => of_text(x),
        Value::Binary(x) => format!("{{ binary = \"{}\" }}", BASE64.encode(x)),
        Value::Timestamp(micros) => of_timestamp(*micros),
        Value::Json(x) => format!("{{ json = {} }}", of_text(x)),
        Value::Texts(items) => {
            let items: Vec<_> = items.iter().map(|item| of_text(item)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// Writes a vector as TOML.
pub(super) fn of_vector(vector: &Vector) -> String {
    let name = match vector {
        Vector::F32(_) => "f32",
        Vector::F16(_) => "f16",
    };
    if vector.dimensions() <= MAX_LISTED {
        let elements = vectors::elements(vector);
        let listed: Vec<String> = elements.iter().copied().map(of_element).collect();
        let listed = format!("[{}]", listed.join(", "));
        // A NaN may have a payload, and the bytes may not be a multiple of the element size.
        let again = match vector {
            Vector::F32(_) => vectors::f32s(&elements),
            Vector::F16(_) => vectors::f16s(&elements),
        };
        let says_all = again == *vector && elements.iter().all(|x| !x.is_nan() || is_plain_nan(*x));
        match vector {
            Vector::F32(_) if says_all => return listed,
            Vector::F16(_) if says_all => return format!("{{ f16 = {listed} }}"),
            Vector::F32(_) | Vector::F16(_) => {}
        }
    }
    format!(
        "{{ {name} = \"{}\" }}",
        BASE64.encode(vectors::bytes(vector))
    )
}

/// True if reading `nan` or `-nan` gives exactly this number.
fn is_plain_nan(x: f32) -> bool {
    let read = vectors::narrowed(f64::NAN.copysign(f64::from(x)));
    read.to_bits() == x.to_bits()
}

fn of_real(x: f64) -> String {
    if x.is_nan() {
        return if x.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    // TOML reads back `inf`, `-inf`, and digits with a point or an exponent.
    format!("{x:?}")
}

fn of_element(x: f32) -> String {
    if x.is_nan() {
        return of_real(f64::from(x));
    }
    let short = format!("{x:?}");
    match short.parse::<f64>() {
        Ok(read) if vectors::narrowed(read).to_bits() == x.to_bits() => short,
        _ => of_real(f64::from(x)),
    }
}

fn of_timestamp(micros: i64) -> String {
    let years = DateTime::<Utc>::MIN_UTC..DateTime::<Utc>::MAX_UTC;
    let text = DateTime::from_timestamp_micros(micros)
        .filter(|time| years.contains(time))
        .map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    match text {
        // TOML's years have four digits.
        Some(text) if text.len() >= 20 && text.as_bytes().get(4) == Some(&b'-') => text,
        _ => format!("{{ timestamp = {micros} }}"),
    }
}

/// Writes a text as a basic string of TOML; invisible characters are escaped.
pub(super) fn of_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\'' | ' ' => out.push(c),
            c if c.escape_debug().count() == 1 && !c.is_whitespace() => out.push(c),
            c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

impl Reader<'_> {
    /// Reads a value.
    pub(super) fn value(&mut self, node: &Node<'_>, key: &str) -> Option<Value> {
        match node.get_ref() {
            DeValue::Boolean(x) => Some(Value::Boolean(*x)),
            DeValue::Integer(_) => self.integer(node, key).map(Value::Integer),
            DeValue::Float(_) => self.real(node, key).map(Value::Real),
            DeValue::String(x) => Some(Value::Text(ByteString::from(x.as_ref()))),
            DeValue::Datetime(x) => {
                let time = DateTime::parse_from_rfc3339(&x.to_string());
                if let Ok(time) = time {
                    return Some(Value::Timestamp(time.timestamp_micros()));
                }
                let message = "a timestamp must have a date, a time and an offset, such as 2026-01-31T12:00:00Z";
                self.wrong(node, key, message)
            }
            DeValue::Array(items) => {
                let texts = items.iter().map(|item| item.get_ref().as_str());
                match texts.map(|text| text.map(ByteString::from)).collect() {
                    Some(texts) => Some(Value::Texts(texts)),
                    None => self.wrong(
                        node,
                        key,
                        "a list must contain only texts; write any other list as JSON: { json = \"[1, 2]\" }",
                    ),
                }
            }
            DeValue::Table(table) => self.tagged(node, table, key),
        }
    }

    fn tagged(&mut self, node: &Node<'_>, table: &DeTable<'_>, key: &str) -> Option<Value> {
        let mut members = table.iter();
        let (Some((tag, member)), None) = (members.next(), members.next()) else {
            return self.wrong(node, key, "a table must be one of { json = \"…\" }, { binary = \"…\" }, { timestamp = 0 }, { none = true }");
        };
        match tag.get_ref().as_ref() {
            "json" => {
                let text = self.text(member, key)?;
                match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
                    Ok(_) => Some(Value::Json(ByteString::from(text))),
                    Err(error) => self.wrong(member, key, format!("invalid JSON: {error}")),
                }
            }
            "binary" => self.base64(member, key).map(Value::Binary),
            "timestamp" => self.integer(member, key).map(Value::Timestamp),
            "none" if member.get_ref().as_bool() == Some(true) => Some(Value::Null),
            "none" => self.wrong(member, key, "write null as { none = true }"),
            other => self.wrong(
                node,
                key,
                format!(
                    "unknown kind of value `{other}`; valid kinds are json, binary, timestamp, none"
                ),
            ),
        }
    }

    fn base64(&mut self, node: &Node<'_>, key: &str) -> Option<Bytes> {
        let text = self.text(node, key)?;
        match BASE64.decode(text) {
            Ok(bytes) => Some(Bytes::from(bytes)),
            Err(error) => self.wrong(node, key, format!("invalid base64: {error}")),
        }
    }

    /// Reads an embedding.
    pub(super) fn vector(&mut self, node: &Node<'_>, key: &str) -> Option<Vector> {
        if node.get_ref().is_array() {
            return self
                .elements(node, key, f32::is_infinite)
                .map(|it| vectors::f32s(&it));
        }
        let known = ["random", "dimensions", "norm", "fill", "f32", "f16"];
        let entries = self.entries(node, key, &known)?;
        let mut forms = FORMS.iter();
        let form = forms.find_map(|(kind, keys)| Some((*kind, keys, entries.get(kind)?)));
        let Some((kind, keys, member)) = form else {
            return self.wrong(
                node,
                key,
                "an embedding must be a list of numbers, or have `random`, `fill`, `f32` or `f16`",
            );
        };
        let mut others = entries.iter().filter(|(name, _)| known.contains(name));
        if let Some((name, other)) = others.find(|(name, _)| !keys.contains(name)) {
            return self.wrong(
                other,
                key,
                format!("`{name}` cannot be combined with `{kind}`"),
            );
        }
        match kind {
            "f16" if member.get_ref().is_str() => self.bytes(member, key, 2).map(Vector::F16),
            "f16" => self
                .elements(member, key, is_over_f16)
                .map(|it| vectors::f16s(&it)),
            "f32" if member.get_ref().is_str() => self.bytes(member, key, 4).map(Vector::F32),
            "f32" => self
                .elements(member, key, f32::is_infinite)
                .map(|it| vectors::f32s(&it)),
            "fill" => {
                let dimensions = self.dimensions(node, &entries, key)?;
                let element = self.element(member, key, f32::is_infinite)?;
                Some(vectors::f32s(&vec![element; dimensions]))
            }
            _ => {
                let dimensions = self.dimensions(node, &entries, key)?;
                let seed = self.integer(member, key)?.cast_unsigned();
                let norm = match entries.get("norm") {
                    Some(norm) => Some(self.norm(norm, key)?),
                    None => None,
                };
                Some(vectors::random(seed, dimensions, norm))
            }
        }
    }

    fn dimensions(&mut self, node: &Node<'_>, entries: &Entries<'_>, key: &str) -> Option<usize> {
        let Some(member) = entries.get("dimensions") else {
            return self.wrong(node, key, "`dimensions` is missing");
        };
        let dimensions = self.integer(member, key)?;
        match usize::try_from(dimensions) {
            Ok(fitting) if fitting <= MAX_DIMENSIONS => Some(fitting),
            _ => self.wrong(
                member,
                key,
                format!("`dimensions` is {dimensions}; it must be 0 to {MAX_DIMENSIONS}"),
            ),
        }
    }

    fn norm(&mut self, node: &Node<'_>, key: &str) -> Option<f64> {
        let norm = self.real(node, key)?;
        // No element exceeds the norm.
        if (0.0..=f64::from(f32::MAX)).contains(&norm) {
            return Some(norm);
        }
        let message = format!("`norm` is {norm:?}; it must be 0 to {:e}", f32::MAX);
        self.wrong(node, key, message)
    }

    /// Reads the encoded elements of a vector, each `size` bytes long.
    fn bytes(&mut self, node: &Node<'_>, key: &str, size: usize) -> Option<Bytes> {
        let bytes = self.base64(node, key)?;
        self.check_listed(node, key, bytes.len() / size)?;
        Some(bytes)
    }

    fn elements(
        &mut self,
        node: &Node<'_>,
        key: &str,
        is_over: fn(f32) -> bool,
    ) -> Option<Vec<f32>> {
        let Some(items) = node.get_ref().as_array() else {
            return self.wrong(node, key, "must be a list of numbers");
        };
        self.check_listed(node, key, items.len())?;
        items
            .iter()
            .map(|item| self.element(item, key, is_over))
            .collect()
    }

    fn check_listed(&mut self, node: &Node<'_>, key: &str, dimensions: usize) -> Option<()> {
        if dimensions <= MAX_DIMENSIONS {
            return Some(());
        }
        let message = format!("has {dimensions} elements; the maximum is {MAX_DIMENSIONS}");
        self.wrong(node, key, message)
    }

    /// Reads an element, which may be infinite only if the file says so.
    fn element(&mut self, node: &Node<'_>, key: &str, is_over: fn(f32) -> bool) -> Option<f32> {
        let real = self.real(node, key)?;
        let element = vectors::narrowed(real);
        if real.is_finite() && is_over(element) {
            return self.wrong(node, key, format!("{real:?} is too large for an element"));
        }
        Some(element)
    }
}

fn is_over_f16(x: f32) -> bool {
    f16::from_f32(x).is_infinite()
}

#[cfg(test)]
#[path = "literal/tests.rs"]
mod tests;
