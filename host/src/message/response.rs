//! Where rows and position are in a response.
//!
//! A response is scanned once, by field numbers, in the pieces in which it came: rows become slices
//! of them, and nothing else of it is kept but the position.

use bytes::{Buf, Bytes};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::{FieldDescriptor, MessageDescriptor};

use super::path::resolve;
use super::problem::Problem;
use super::scalar::Scalar;
use crate::config::Method;

/// Where rows and position are.
#[derive(Debug)]
pub struct Response {
    /// Index of the kind that the response itself is a row of.
    whole: Option<usize>,
    root: Scan,
    /// Where the position comes from.
    pub position: PositionFrom,
}

/// Where a position comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionFrom {
    /// A field of the response.
    Field,
    /// The key of its last row.
    LastKey,
}

/// The fields of a message that are looked at.
#[derive(Debug, Default)]
struct Scan(Vec<(u32, Seen)>);

#[derive(Debug)]
enum Seen {
    /// Rows of a kind.
    Rows(usize),
    Position(Scalar),
    Within(Scan),
}

/// What was found in a response.
#[derive(Debug, Default)]
pub struct Found {
    /// The rows of each kind, by its index.
    pub rows: Vec<Vec<Bytes>>,
    /// The position in it; empty if there is none.
    pub position: String,
}

/// A response that is no message, or has too many rows.
#[derive(Debug)]
pub struct Garbled(pub String);

impl From<DecodeError> for Garbled {
    fn from(error: DecodeError) -> Self {
        Self(error.to_string())
    }
}

/// Maximum number of rows of a response: a row of two bytes takes sixteen times as much in memory.
const MAX_ROWS: usize = 100_000;

/// Levels of messages that are scanned; no path in a configuration is as long.
const DEPTH: usize = 16;

impl Response {
    /// Where the rows of `fields` are, by the index of their kind, and the position.
    pub(super) fn compile(
        output: &MessageDescriptor,
        fields: &[Vec<FieldDescriptor>],
        method: &Method,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut response = Self {
            whole: None,
            root: Scan::default(),
            position: PositionFrom::LastKey,
        };
        for (kind, path) in fields.iter().enumerate() {
            match path.as_slice() {
                [] => response.whole = Some(kind),
                path => response.root.add(path, Seen::Rows(kind)),
            }
        }
        if let Some(path) = &method.position {
            response.position = PositionFrom::Field;
            match resolve(output, "position.field", path) {
                Ok(fields) => {
                    let last = fields.last();
                    let scalar = last.filter(|it| !it.is_list()).and_then(Scalar::of);
                    let scalar = scalar.filter(|it| it.is_key() || matches!(it, Scalar::Binary));
                    match scalar {
                        Some(scalar) => response.root.add(&fields, Seen::Position(scalar)),
                        None => problems.push(Problem::new(
                            "position.field",
                            format!("`{path}` is no text, bytes or integer"),
                            "name the field that says where to go on",
                        )),
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        response
    }

    /// Scans a response. `kinds` is the number of kinds of rows.
    ///
    /// # Errors
    /// If it is no message, or has too many rows.
    pub fn scan(&self, mut bytes: impl Buf, kinds: usize) -> Result<Found, Garbled> {
        let mut found = Found {
            rows: vec![Vec::new(); kinds],
            position: String::new(),
        };
        if let Some(kind) = self.whole {
            let length = bytes.remaining();
            let whole = bytes.copy_to_bytes(length);
            self.root.scan(&mut whole.clone(), 0, 0, &mut found)?;
            if let Some(rows) = found.rows.get_mut(kind) {
                rows.push(whole);
            }
            return Ok(found);
        }
        self.root.scan(&mut bytes, 0, 0, &mut found)?;
        Ok(found)
    }
}

impl Scan {
    fn add(&mut self, path: &[FieldDescriptor], seen: Seen) {
        let Some((field, rest)) = path.split_first() else {
            return;
        };
        let number = field.number();
        if rest.is_empty() {
            self.0.push((number, seen));
            return;
        }
        let known = self.0.iter_mut().find_map(|(known, seen)| match seen {
            Seen::Within(scan) if *known == number => Some(scan),
            _ => None,
        });
        if let Some(scan) = known {
            return scan.add(rest, seen);
        }
        let mut scan = Self::default();
        scan.add(rest, seen);
        self.0.push((number, Seen::Within(scan)));
    }

    /// Scans until `end` bytes are left.
    fn scan(
        &self,
        mut bytes: &mut dyn Buf,
        end: usize,
        depth: usize,
        found: &mut Found,
    ) -> Result<(), Garbled> {
        let garbled = |what: &str| Err(Garbled(what.to_owned()));
        if depth > DEPTH {
            return garbled("messages are too deep within each other");
        }
        while bytes.remaining() > end {
            let (tag, wire_type) = decode_key(&mut bytes)?;
            let seen = self.0.iter().find(|(number, _)| *number == tag);
            match (seen.map(|(_, seen)| seen), wire_type) {
                (Some(Seen::Rows(kind)), WireType::LengthDelimited) => {
                    let length = length(&mut *bytes, end)?;
                    let row = bytes.copy_to_bytes(length);
                    if let Some(rows) = found.rows.get_mut(*kind) {
                        if rows.len() >= MAX_ROWS {
                            return garbled("it has more than 100,000 rows");
                        }
                        rows.push(row);
                    }
                }
                (Some(Seen::Within(scan)), WireType::LengthDelimited) => {
                    let length = length(&mut *bytes, end)?;
                    let inner = bytes.remaining() - length;
                    scan.scan(&mut *bytes, inner, depth + 1, found)?;
                }
                (Some(Seen::Position(scalar)), _) => {
                    found.position = position(scalar, wire_type, &mut *bytes, end)?;
                }
                (Some(_), _) => return garbled("a field of rows has the wrong wire type"),
                (None, _) => skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?,
            }
            if bytes.remaining() < end {
                return garbled("a length is beyond the end");
            }
        }
        Ok(())
    }
}

/// The length of what follows, all of which is there.
fn length(mut bytes: &mut dyn Buf, end: usize) -> Result<usize, Garbled> {
    let length = usize::try_from(decode_varint(&mut bytes)?).unwrap_or(usize::MAX);
    let there = bytes.remaining().saturating_sub(end);
    if length > there {
        return Err(Garbled("a length is beyond the end".into()));
    }
    Ok(length)
}

/// A position as text: an integer in decimal, bytes in hexadecimal, and nothing for what is empty.
fn position(
    scalar: &Scalar,
    wire_type: WireType,
    bytes: &mut dyn Buf,
    end: usize,
) -> Result<String, Garbled> {
    match scalar {
        Scalar::Text | Scalar::Binary if wire_type == WireType::LengthDelimited => {
            let length = length(bytes, end)?;
            let text = bytes.copy_to_bytes(length);
            if let Scalar::Binary = scalar {
                return Ok(hex::encode(text));
            }
            let text = String::from_utf8(text.to_vec());
            text.map_err(|_| Garbled("the position is not UTF-8".into()))
        }
        _ => match (number(scalar, wire_type, bytes)?, scalar) {
            (0, _) => Ok(String::new()),
            (number, Scalar::UInt64 | Scalar::Fixed64) => Ok(number.cast_unsigned().to_string()),
            (number, _) => Ok(number.to_string()),
        },
    }
}

/// An integer in any of its encodings.
fn number(scalar: &Scalar, wire_type: WireType, mut bytes: &mut dyn Buf) -> Result<i64, Garbled> {
    let zigzag = |value: u64| (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
    let cut = |_| Garbled("a number is cut off".into());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "protobuf takes the lower half"
    )]
    Ok(match (scalar, wire_type) {
        (Scalar::Int32 | Scalar::Enum(_), WireType::Varint) => {
            i64::from(decode_varint(&mut bytes)? as i32)
        }
        (Scalar::UInt32, WireType::Varint) => i64::from(decode_varint(&mut bytes)? as u32),
        (Scalar::Int64 | Scalar::UInt64, WireType::Varint) => {
            decode_varint(&mut bytes)?.cast_signed()
        }
        (Scalar::SInt32, WireType::Varint) => zigzag(u64::from(decode_varint(&mut bytes)? as u32)),
        (Scalar::SInt64, WireType::Varint) => zigzag(decode_varint(&mut bytes)?),
        (Scalar::Fixed32, WireType::ThirtyTwoBit) => {
            i64::from(bytes.try_get_u32_le().map_err(cut)?)
        }
        (Scalar::SFixed32, WireType::ThirtyTwoBit) => {
            i64::from(bytes.try_get_i32_le().map_err(cut)?)
        }
        (Scalar::Fixed64 | Scalar::SFixed64, WireType::SixtyFourBit) => {
            bytes.try_get_i64_le().map_err(cut)?
        }
        _ => return Err(Garbled("the position has the wrong wire type".into())),
    })
}

/// The value of the field at `path` in an encoded row as a position, if the row has it.
pub(super) fn key_of(path: &[u32], scalar: &Scalar, row: &Bytes) -> Option<String> {
    let (number, rest) = path.split_first()?;
    let mut bytes = row.as_ref();
    let mut found = None;
    while bytes.has_remaining() {
        let (tag, wire_type) = decode_key(&mut bytes).ok()?;
        if tag != *number {
            skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).ok()?;
        } else if rest.is_empty() {
            found = Some(position(scalar, wire_type, &mut bytes, 0).ok()?);
        } else if wire_type == WireType::LengthDelimited {
            let length = length(&mut bytes, 0).ok()?;
            let (inner, after) = bytes.split_at_checked(length)?;
            found = key_of(rest, scalar, &row.slice_ref(inner)).or(found);
            bytes = after;
        } else {
            return None;
        }
    }
    found.filter(|it| !it.is_empty())
}
