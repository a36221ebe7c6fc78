//! How single values are encoded, and what type of field they make.

use std::collections::HashMap;
use std::sync::Arc;

use bytestring::ByteString;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use crate::row::{FieldType, Value};

/// A value that a column can hold, by its encoding.
#[derive(Debug, Clone)]
pub enum Scalar {
    /// `bool`.
    Boolean,
    /// `int32`: the lower half of a varint.
    Int32,
    /// `int64`.
    Int64,
    /// `uint32`: the lower half of a varint.
    UInt32,
    /// `uint64`.
    UInt64,
    /// `sint32`.
    SInt32,
    /// `sint64`.
    SInt64,
    /// `fixed32`.
    Fixed32,
    /// `sfixed32`.
    SFixed32,
    /// `fixed64`.
    Fixed64,
    /// `sfixed64`.
    SFixed64,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `string`.
    Text,
    /// `bytes`.
    Binary,
    /// An enum, as the name of its value.
    Enum(Arc<EnumNames>),
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `google.protobuf.Duration`, as a text such as `1.5s`.
    Duration,
    /// A wrapper such as `google.protobuf.StringValue`: null if it is not there.
    Wrapped(Box<Scalar>),
}

/// The names of an enum's values, by number.
#[derive(Debug, Default)]
pub struct EnumNames {
    names: HashMap<i32, ByteString>,
}

impl EnumNames {
    fn of(descriptor: &EnumDescriptor) -> Self {
        let mut names = HashMap::new();
        for value in descriptor.values() {
            // Of several names for a number, the first one is the proper one.
            let name = ByteString::from(value.name());
            names.entry(value.number()).or_insert(name);
        }
        Self { names }
    }

    /// The name; for a number that has none, the number.
    #[must_use]
    pub fn name(&self, number: i32) -> ByteString {
        match self.names.get(&number) {
            Some(name) => name.clone(),
            None => number.to_string().into(),
        }
    }
}

impl Scalar {
    /// The encoding of one value of a field; `None` if it is a message without a form of its own.
    pub(super) fn of(field: &FieldDescriptor) -> Option<Self> {
        Some(match field.kind() {
            Kind::Bool => Self::Boolean,
            Kind::Int32 => Self::Int32,
            Kind::Int64 => Self::Int64,
            Kind::Uint32 => Self::UInt32,
            Kind::Uint64 => Self::UInt64,
            Kind::Sint32 => Self::SInt32,
            Kind::Sint64 => Self::SInt64,
            Kind::Fixed32 => Self::Fixed32,
            Kind::Sfixed32 => Self::SFixed32,
            Kind::Fixed64 => Self::Fixed64,
            Kind::Sfixed64 => Self::SFixed64,
            Kind::Float => Self::Float,
            Kind::Double => Self::Double,
            Kind::String => Self::Text,
            Kind::Bytes => Self::Binary,
            Kind::Enum(descriptor) => Self::Enum(Arc::new(EnumNames::of(&descriptor))),
            Kind::Message(message) => return Self::of_message(&message),
        })
    }

    fn of_message(message: &MessageDescriptor) -> Option<Self> {
        let name = message.full_name().strip_prefix("google.protobuf.")?;
        Some(match name {
            "Timestamp" => Self::Timestamp,
            "Duration" => Self::Duration,
            "BoolValue" | "Int32Value" | "Int64Value" | "UInt32Value" | "UInt64Value"
            | "FloatValue" | "DoubleValue" | "StringValue" | "BytesValue" => {
                Self::Wrapped(Box::new(Self::of(&message.get_field(1)?)?))
            }
            _ => return None,
        })
    }

    /// The type of a field with such a value.
    pub(super) fn field_type(&self) -> FieldType {
        match self {
            Self::Boolean => FieldType::Boolean,
            Self::Int32
            | Self::Int64
            | Self::UInt32
            | Self::UInt64
            | Self::SInt32
            | Self::SInt64
            | Self::Fixed32
            | Self::SFixed32
            | Self::Fixed64
            | Self::SFixed64 => FieldType::Integer,
            Self::Float | Self::Double => FieldType::Real,
            Self::Text | Self::Enum(_) | Self::Duration => FieldType::Text,
            Self::Binary => FieldType::Binary,
            Self::Timestamp => FieldType::Timestamp,
            Self::Wrapped(inner) => inner.field_type(),
        }
    }

    /// True if values can be parts of a key, or a position.
    pub(super) fn is_key(&self) -> bool {
        matches!(self.field_type(), FieldType::Integer | FieldType::Text)
            && !matches!(self, Self::Duration | Self::Wrapped(_))
    }

    /// What a field has that is not encoded since it has no presence: its default. `None` for a
    /// field with presence, which is null then.
    pub(super) fn default_of(&self, field: &FieldDescriptor) -> Option<Value> {
        if field.supports_presence() {
            return None;
        }
        // A field that is a message always has presence.
        Some(self.zero())
    }

    /// The value that is not encoded since it is the default.
    #[must_use]
    pub fn zero(&self) -> Value {
        match self {
            Self::Enum(names) => Value::Text(names.name(0)),
            Self::Wrapped(inner) => inner.zero(),
            Self::Timestamp => Value::Timestamp(0),
            _ => match self.field_type() {
                FieldType::Boolean => Value::Boolean(false),
                FieldType::Integer => Value::Integer(0),
                FieldType::Real => Value::Real(0.0),
                FieldType::Binary => Value::Binary(bytes::Bytes::new()),
                _ => Value::Text(ByteString::new()),
            },
        }
    }

    /// True if a list of such values may be packed.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Enum(_))
    }
}
