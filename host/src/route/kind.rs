//! Wire formats of columns: the server's binary format where it is implemented here, otherwise a
//! text that the server casts. `COPY` cannot cast, so one cast column keeps a whole table from it.

use super::table::Column;
use crate::decode::KeyType;
use crate::row::FieldType;

/// 2000-01-01T00:00:00Z, PostgreSQL's epoch, in microseconds since 1970.
pub(crate) const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Wire format of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// `boolean`
    Boolean,
    /// `smallint`, `integer`, `bigint`: width in bytes.
    Integer(u8),
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`
    Numeric,
    /// `text`, `varchar`, `char`, `name`
    Text,
    /// Enums and `citext`: the text is the binary format.
    Label,
    /// `json`: the text is the binary format.
    Json,
    /// `jsonb`: the text after the format's version.
    Jsonb,
    /// `bytea`
    Bytea,
    /// `uuid`
    Uuid,
    /// `timestamptz`, and `timestamp` in UTC
    Timestamp,
    /// `date`, in UTC
    Date,
    /// `vector`, with its dimensions where declared
    Vector(Option<usize>),
    /// `halfvec`, with its dimensions where declared
    HalfVec(Option<usize>),
    /// `text[]` and `varchar[]`, with the object identifier of the element. Binary in `COPY` only:
    /// a statement's parameter would be an array of arrays, which have to have one length.
    TextArray(u32),
    /// Other arrays: sent as text, and cast by the server.
    Array,
    /// `money` and `oid`, likewise.
    CastNumber,
    /// Everything else, likewise.
    Cast,
}

impl ColumnKind {
    /// The format for a column.
    #[must_use]
    pub fn of(column: &Column) -> Self {
        match (column.type_name.as_str(), column.category.as_str()) {
            ("bool", _) => Self::Boolean,
            ("int2", _) => Self::Integer(2),
            ("int4", _) => Self::Integer(4),
            ("int8", _) => Self::Integer(8),
            ("float4", _) => Self::Float4,
            ("float8", _) => Self::Float8,
            ("numeric", _) => Self::Numeric,
            ("text" | "varchar" | "bpchar" | "name", _) => Self::Text,
            ("json", _) => Self::Json,
            ("jsonb", _) => Self::Jsonb,
            ("bytea", _) => Self::Bytea,
            ("uuid", _) => Self::Uuid,
            ("timestamptz" | "timestamp", _) => Self::Timestamp,
            ("date", _) => Self::Date,
            ("vector", _) => Self::Vector(column.dimensions),
            ("halfvec", _) => Self::HalfVec(column.dimensions),
            ("_text", _) => Self::TextArray(25),
            ("_varchar", _) => Self::TextArray(1043),
            ("citext", _) | (_, "E") => Self::Label,
            (_, "A") => Self::Array,
            (_, "N") => Self::CastNumber,
            _ => Self::Cast,
        }
    }

    /// True if values are sent as text that the server has to cast.
    #[must_use]
    pub fn is_cast(self) -> bool {
        matches!(self, Self::Array | Self::CastNumber | Self::Cast)
    }

    /// The format in a parameter of a statement, where the rows form an array.
    #[must_use]
    pub fn as_parameter(self) -> Self {
        match self {
            Self::TextArray(_) => Self::Array,
            kind => kind,
        }
    }

    /// The type that a row's key needs to feed such a column; `None` if no key can.
    #[must_use]
    pub fn key_type(self) -> Option<KeyType> {
        match self {
            Self::Uuid => Some(KeyType::Uuid),
            Self::Integer(bytes) => Some(KeyType::Integer(u32::from(bytes) * 8)),
            Self::Text => Some(KeyType::Text),
            _ => None,
        }
    }

    /// True if values of a field's type can be written to such a column.
    #[must_use]
    pub fn accepts(self, field_type: FieldType) -> bool {
        use FieldType::{Binary, Boolean, Integer, Json, Real, Text, Texts, Timestamp};
        match self {
            Self::Boolean => field_type == Boolean,
            Self::Integer(_) => field_type == Integer,
            Self::Float4 | Self::Float8 => matches!(field_type, Real | Integer),
            Self::Numeric | Self::CastNumber => matches!(field_type, Real | Integer | Text),
            Self::Text => matches!(field_type, Text | Json),
            Self::Json | Self::Jsonb => !matches!(field_type, Binary | Timestamp),
            Self::Bytea => field_type == Binary,
            Self::Timestamp | Self::Date => field_type == Timestamp,
            Self::TextArray(_) | Self::Array => matches!(field_type, Texts | Text),
            Self::Uuid | Self::Label | Self::Cast => field_type == Text,
            Self::Vector(_) | Self::HalfVec(_) => false,
        }
    }
}
