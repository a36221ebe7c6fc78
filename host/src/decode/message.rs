//! The format of protos of others, by a plan of field numbers.
//!
//! As protobuf says, of a field that comes twice the last one counts, messages that come twice are
//! merged (but for those that are one value, such as a time), and lists go on, packed or not. A field without presence that is not encoded has its
//! default, any other is null.

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use prost::encoding::WireType;

use super::fault::{Fault, fault, wrong_type};
use super::scalar::read;
use super::scratch::{Elements, Scratch};
use super::wire::{delimited, member, skip};
use super::{Decoder, Sort, set};
use crate::message::{Cleared, Kind, Mark, Member, Node, Target, Width};
use crate::row::{Batch, Value};

impl Decoder {
    /// Reads a row of one kind into a batch.
    pub(super) fn message(
        &self,
        kind: &Kind,
        (batch, row): (&mut Batch, usize),
        wire: &Bytes,
        scratch: &mut Scratch,
    ) -> Result<Sort, Fault> {
        let columns = self.schema.columns.len();
        self.needs.begin(batch, row, &mut scratch.given);
        scratch.begin(kind, self.max_row_bytes);
        let mut empty = [];
        let values = batch.values.get_mut(row * columns..(row + 1) * columns);
        let values = values.unwrap_or(&mut empty);
        let (first, last) = (kind.first_column, kind.first_column + kind.defaults.len());
        if let Some(own) = values.get_mut(first..last) {
            own.clone_from_slice(&kind.defaults);
        }
        let mut reader = Reader {
            row: wire,
            first_embedding: kind.first_embedding,
            values,
            scratch,
        };
        let read = reader.message(&kind.node, wire);
        set(&mut batch.keys, row, scratch.key(kind));
        if wire.len() > self.max_row_bytes {
            return Err(self.too_large(wire.len()));
        }
        read?;
        let sort = match scratch.deleted {
            true => Sort::Deleted,
            false => Sort::Live,
        };
        if scratch.fault.is_none() && !scratch.deleted {
            scratch.make_json(kind, batch, row * columns)?;
        }
        let width = self.schema.embeddings.len();
        let at = row * width + kind.first_embedding;
        for (vector, at) in scratch.vectors.iter_mut().zip(at..) {
            set(&mut batch.embeddings.vectors, at, vector.take());
        }
        for (column, given) in scratch.given.iter_mut().enumerate() {
            *given = batch.values.get(row * columns + column) != Some(&Value::Null);
        }
        self.check(
            batch,
            row,
            (sort, scratch.fault.take()),
            Some(&scratch.given),
        )
    }
}

/// Reads the fields of one row.
struct Reader<'r> {
    row: &'r Bytes,
    first_embedding: usize,
    /// All columns of the row.
    values: &'r mut [Value],
    scratch: &'r mut Scratch,
}

impl Reader<'_> {
    fn message(&mut self, node: &Node, mut bytes: &[u8]) -> Result<(), Fault> {
        while bytes.has_remaining() {
            let before = bytes;
            let (number, wire_type) = member(&mut bytes)?;
            let Some(known) = node.get(number) else {
                skip(wire_type, number, &mut bytes)?;
                continue;
            };
            if !known.clears.is_empty() {
                self.clear(&known.clears);
            }
            match self.member(known, number, wire_type, &mut bytes) {
                Ok(()) => {}
                Err(error) if error.0 == "ROW_MALFORMED" => return Err(error),
                Err(error) => {
                    self.scratch.fault.get_or_insert(error);
                }
            }
            if let Some(json) = known
                .json
                .and_then(|index| self.scratch.json.get_mut(index))
            {
                let length = before.len() - bytes.len();
                json.extend_from_slice(before.get(..length).unwrap_or_default());
            }
        }
        Ok(())
    }

    fn member(
        &mut self,
        known: &Member,
        number: u32,
        wire_type: WireType,
        bytes: &mut &[u8],
    ) -> Result<(), Fault> {
        match &known.target {
            Target::None => match (&known.key, &known.mark) {
                (Some((_, scalar)), _) | (None, Some((_, scalar))) => {
                    let value = read(self.row, scalar, number, wire_type, bytes)?;
                    self.note(known, &value);
                }
                (None, None) => skip(wire_type, number, bytes)?,
            },
            Target::Value(column, scalar) => {
                let value = read(self.row, scalar, number, wire_type, bytes)?;
                self.note(known, &value);
                set(self.values, *column, value);
            }
            Target::Texts(column, scalar) => {
                if wire_type == WireType::LengthDelimited && scalar.is_number() {
                    let mut packed = delimited(bytes)?;
                    while packed.has_remaining() {
                        let value = read(self.row, scalar, number, WireType::Varint, &mut packed)?;
                        self.push(*column, value)?;
                    }
                } else {
                    let value = read(self.row, scalar, number, wire_type, bytes)?;
                    self.push(*column, value)?;
                }
            }
            Target::Vector(index, width) => {
                self.vector(*index, *width, (number, wire_type), bytes)?;
            }
            Target::Message(node) => {
                let inner = message(number, wire_type, bytes)?;
                for (column, default) in &node.defaults {
                    if let Some(value @ Value::Null) = self.values.get_mut(*column) {
                        *value = default.clone();
                    }
                }
                self.message(node, inner)?;
            }
            Target::Messages(node, pushes) => {
                let inner = message(number, wire_type, bytes)?;
                self.element(node, inner, pushes)?;
            }
        }
        Ok(())
    }

    /// Notes a value that is part of the key, or a mark.
    fn note(&mut self, known: &Member, value: &Value) {
        if let Some((part, _)) = &known.key {
            let text = match value {
                Value::Text(text) => text.clone(),
                Value::Integer(number) => number.to_string().into(),
                _ => ByteString::new(),
            };
            set(&mut self.scratch.key, *part, text);
        }
        if let Some((mark, _)) = &known.mark {
            self.scratch.deleted = match (mark, value) {
                (Mark::True, value) => *value == Value::Boolean(true),
                (Mark::Equals(wanted), Value::Text(text)) => **text == **wanted,
                (Mark::Equals(_), _) => false,
            };
        }
    }

    fn vector(
        &mut self,
        index: usize,
        width: Width,
        (number, wire_type): (u32, WireType),
        bytes: &mut &[u8],
    ) -> Result<(), Fault> {
        let length = match (width, wire_type) {
            (_, WireType::LengthDelimited) => None,
            (Width::Float, WireType::ThirtyTwoBit) => Some(4),
            (Width::Double, WireType::SixtyFourBit) => Some(8),
            _ => return Err(wrong_type(number)),
        };
        let part = match length {
            None => delimited(bytes)?,
            Some(length) => match bytes.split_at_checked(length) {
                Some((part, rest)) => {
                    *bytes = rest;
                    part
                }
                None => return Err(fault("ROW_MALFORMED", "an element is cut off", None)),
            },
        };
        let element = match width {
            Width::Float => 4,
            Width::Double => 8,
            Width::Bytes => 1,
        };
        if part.len() % element != 0 {
            let message = format!("field {number} has a part of an element");
            return Err(fault("ROW_MALFORMED", message, None));
        }
        let at = index.wrapping_sub(self.first_embedding);
        let Some(elements) = self.scratch.vectors.get_mut(at) else {
            return Ok(());
        };
        match width {
            Width::Float => elements.add(self.row, part),
            Width::Bytes => *elements = Elements::Slice(self.row.slice_ref(part)),
            Width::Double => {
                if !elements.narrow(part) {
                    let message = format!("field {number} has an element that f32 cannot hold");
                    return Err(fault("EMBEDDING_RANGE", message, None));
                }
            }
        }
        Ok(())
    }

    fn texts(&self, column: usize) -> usize {
        match self.values.get(column) {
            Some(Value::Texts(list)) => list.len(),
            _ => 0,
        }
    }

    /// Reads a message of a list.
    fn element(
        &mut self,
        node: &Node,
        bytes: &[u8],
        pushes: &[(usize, bool)],
    ) -> Result<(), Fault> {
        let before: Vec<usize> = pushes.iter().map(|(it, _)| self.texts(*it)).collect();
        self.message(node, bytes)?;
        for ((column, has_default), before) in pushes.iter().zip(before) {
            match self.texts(*column).saturating_sub(before) {
                0 if *has_default => {
                    self.push(*column, Value::Text(ByteString::new()))?;
                }
                0 | 1 => {}
                _ => self.keep_last(*column, before),
            }
        }
        Ok(())
    }

    /// Of a field that comes twice in a message, the last one counts.
    fn keep_last(&mut self, column: usize, before: usize) {
        if let Some(Value::Texts(list)) = self.values.get_mut(column) {
            let last = list.len() - 1;
            list.drain(before..last);
        }
    }

    fn push(&mut self, column: usize, value: Value) -> Result<(), Fault> {
        let items = &mut self.scratch.items;
        *items = items
            .checked_sub(1)
            .ok_or_else(super::fields::too_many_items)?;
        let Value::Text(text) = value else {
            return Ok(());
        };
        match self.values.get_mut(column) {
            Some(Value::Texts(list)) => list.push(text),
            Some(other) => *other = Value::Texts(vec![text]),
            None => {}
        }
        Ok(())
    }

    fn clear(&mut self, cleared: &[Cleared]) {
        for target in cleared {
            match target {
                Cleared::Column(column) => set(self.values, *column, Value::Null),
                Cleared::Embedding(index) => {
                    let at = index.wrapping_sub(self.first_embedding);
                    set(&mut self.scratch.vectors, at, Elements::None);
                }
                Cleared::Json(index) => set(&mut self.scratch.json, *index, Vec::new()),
            }
        }
    }
}

/// The bytes of a message.
fn message<'b>(number: u32, wire_type: WireType, bytes: &mut &'b [u8]) -> Result<&'b [u8], Fault> {
    match wire_type {
        WireType::LengthDelimited => delimited(bytes),
        _ => Err(wrong_type(number)),
    }
}

#[cfg(test)]
mod tests;
