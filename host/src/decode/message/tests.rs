//! Made-up messages, read by the plan and by prost-reflect: both come to the same values. Messages that
//! were cut or changed never panic, and are never taken for something else than prost-reflect takes them for.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage,
};

use crate::config::{Descriptors, Method, Rows};
use crate::decode::{Decoder, KeyType, Need, Needs};
use crate::message::{Plan, compile, pool_of_files};
use crate::row::{Batch, FieldType, Schema, Value, Vector};
use crate::source::{Format, Units};

const PROTO: &str = r#"
syntax = "proto3";
package fuzz;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
service Fuzz { rpc Read(Request) returns (stream Chunk); }
message Request { string after = 1; }
message Chunk { repeated Row rows = 1; }
enum Level { LOW = 0; HIGH = 5; }
message Deep { int32 x = 1; }
message Inner { string lang = 1; Deep deep = 2; repeated string tags = 3; optional string note = 4; }
message Row {
  string id = 1;
  int32 a = 2; int64 b = 3; uint32 c = 4; uint64 d = 5; sint32 e = 6; sint64 f = 7;
  fixed32 g = 8; sfixed32 h = 9; fixed64 i = 10; sfixed64 j = 11;
  float k = 12; double l = 13; bool m = 14; string n = 15; bytes o = 16; Level p = 17;
  optional int32 q = 18; repeated string r = 19; repeated Level s = 20;
  repeated float v = 21; repeated double w = 22; repeated float u = 23 [packed = false];
  Inner inner = 30; map<string, int32> labels = 31; repeated Inner list = 32;
  oneof pick { string one = 33; int64 two = 34; }
  google.protobuf.StringValue wrapped = 35; repeated int32 numbers = 36; Deep whole = 37;
  google.protobuf.Timestamp at = 38; string high = 1000;
}"#;

const MAX_ROW_BYTES: usize = 1 << 20;

struct Fuzz {
    plan: Arc<Plan>,
    message: MessageDescriptor,
    schema: Schema,
    decoder: Decoder,
}

fn method() -> Method {
    let fields = [
        ("lang", "inner.lang"),
        ("note", "inner.note"),
        ("x", "inner.deep.x"),
        ("tags", "inner.tags"),
        ("langs", "list.lang"),
    ];
    Method {
        name: "Read".into(),
        descriptors: Descriptors::Reflection,
        rows: vec![Rows::default()],
        fields: fields.map(|(name, path)| (name.into(), path.into())).into(),
        embeddings: BTreeMap::new(),
        dimensions: [("v", 3), ("w", 2), ("u", 4)]
            .map(|(name, it)| (name.into(), it))
            .into(),
        deleted: None,
        position: None,
        resume: "after".into(),
        chunk_size: None,
        request: BTreeMap::new(),
        continues: false,
    }
}

fn fuzz() -> Fuzz {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fuzz.proto");
    std::fs::write(&file, PROTO).unwrap();
    let pool = pool_of_files(&[file], &[directory.path().to_owned()]).unwrap();
    let (plan, schema) = compile(&pool, &method()).unwrap();
    let plan = Arc::new(plan);
    let decoder = Decoder {
        schema: Arc::new(schema.clone()),
        key_type: KeyType::Text,
        max_row_bytes: MAX_ROW_BYTES,
        needs: Needs {
            embeddings: vec![Need::Optional; schema.embeddings.len()],
            defaulted: Vec::new(),
        },
        format: Format::Messages(Arc::clone(&plan)),
    };
    Fuzz {
        message: plan.kinds[0].message.clone(),
        plan,
        schema,
        decoder,
    }
}

impl Fuzz {
    fn decode(&self, row: Vec<u8>) -> Batch {
        self.decoder.decode(&Units::Messages(vec![row.into()]))
    }

    /// Asserts that a row that was taken has the values that prost-reflect finds. True if a row was
    /// refused that prost-reflect takes.
    fn agrees(&self, bytes: &[u8], batch: &Batch, what: &str) -> bool {
        let oracle = DynamicMessage::decode(self.message.clone(), bytes);
        if batch.live.is_empty() {
            return batch.failures[0].code == "ROW_MALFORMED" && oracle.is_ok();
        }
        // The oracle also looks into what nothing is taken of.
        let Ok(oracle) = oracle else { return false };
        for (index, column) in self.schema.columns.iter().enumerate() {
            let found = &batch.row(0)[index];
            // Of a message that is one value the last one counts; the oracle merges them.
            let is_one_value = ["wrapped", "at"].contains(&column.name.as_str());
            if is_one_value && comes_twice(&self.message, &column.name, bytes) {
                continue;
            }
            let expected = self.expected(&oracle, &column.name, column.field_type);
            assert!(
                found.is_same(&expected),
                "{what}: {}: {found:?} {expected:?}",
                column.name
            );
        }
        assert_eq!(batch.keys[0], text_of(&oracle, "id"), "{what}");
        for (index, embedding) in self.schema.embeddings.iter().enumerate() {
            let found = batch.embeddings.get(0, index).map(|vector| match vector {
                Vector::F32(bytes) => bytes.to_vec(),
                Vector::F16(_) => panic!("no f16"),
            });
            let value = oracle.get_field_by_name(&embedding.name).unwrap();
            let elements = value.as_list().unwrap().iter().map(|it| match it {
                prost_reflect::Value::F32(it) => *it,
                other => other.as_f64().unwrap() as f32,
            });
            let expected: Vec<u8> = elements.flat_map(f32::to_le_bytes).collect();
            let expected = (!expected.is_empty()).then_some(expected);
            assert_eq!(found, expected, "{what}: {}", embedding.name);
        }
        false
    }

    fn expected(&self, row: &DynamicMessage, name: &str, wanted: Option<FieldType>) -> Value {
        let within = |name: &str| row.get_field_by_name(name).unwrap().into_owned();
        match name {
            "lang" | "tags" | "note" if !row.has_field_by_name("inner") => Value::Null,
            "lang" | "tags" | "note" => value(within("inner").as_message().unwrap(), name, wanted),
            "x" => {
                let inner = within("inner");
                let inner = inner.as_message().unwrap();
                let deep = inner.get_field_by_name("deep").unwrap();
                match row.has_field_by_name("inner") && inner.has_field_by_name("deep") {
                    true => value(deep.as_message().unwrap(), "x", wanted),
                    false => Value::Null,
                }
            }
            "langs" => {
                let list = within("list");
                let texts = list.as_list().unwrap().iter();
                Value::Texts(
                    texts
                        .map(|it| text_of(it.as_message().unwrap(), "lang"))
                        .collect(),
                )
            }
            name => value(row, name, wanted),
        }
    }
}

/// True if a field is encoded more than once in a message.
fn comes_twice(message: &MessageDescriptor, name: &str, mut bytes: &[u8]) -> bool {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    let number = message.get_field_by_name(name).unwrap().number();
    let mut times = 0;
    while let Ok((tag, wire_type)) = decode_key(&mut bytes) {
        times += u32::from(tag == number);
        if skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).is_err() {
            break;
        }
    }
    times > 1
}

fn text_of(message: &DynamicMessage, name: &str) -> bytestring::ByteString {
    message
        .get_field_by_name(name)
        .unwrap()
        .as_str()
        .unwrap()
        .into()
}

/// A field as prost-reflect has it.
fn value(message: &DynamicMessage, name: &str, wanted: Option<FieldType>) -> Value {
    use prost_reflect::Value as Found;
    let field = message.descriptor().get_field_by_name(name).unwrap();
    if field.supports_presence() && !message.has_field(&field) {
        return Value::Null;
    }
    let label = |number: i32| match number {
        0 => "LOW".into(),
        5 => "HIGH".into(),
        other => other.to_string().into(),
    };
    let found = message.get_field(&field).into_owned();
    match (found, wanted.unwrap()) {
        (Found::Bool(it), _) => Value::Boolean(it),
        (Found::I32(it), _) => Value::Integer(it.into()),
        (Found::I64(it), _) => Value::Integer(it),
        (Found::U32(it), _) => Value::Integer(it.into()),
        (Found::U64(it), _) => Value::Integer(it.try_into().unwrap()),
        (Found::F32(it), _) => Value::Real(it.into()),
        (Found::F64(it), _) => Value::Real(it),
        (Found::String(it), _) => Value::Text(it.into()),
        (Found::Bytes(it), _) => Value::Binary(it),
        (Found::EnumNumber(it), _) => Value::Text(label(it)),
        (Found::Message(it), FieldType::Text) => Value::Text(text_of(&it, "value")),
        (Found::Message(it), FieldType::Timestamp) => {
            let seconds = it.get_field_by_name("seconds").unwrap().as_i64().unwrap();
            let nanos = it.get_field_by_name("nanos").unwrap().as_i32().unwrap();
            Value::Timestamp(seconds * 1_000_000 + i64::from(nanos) / 1_000)
        }
        (Found::Message(it), _) => {
            let x = it.get_field_by_name("x").unwrap().as_i32().unwrap();
            Value::Json(format!("{{\"x\":{x}}}").into())
        }
        (Found::List(items), FieldType::Texts) => Value::Texts(
            items
                .iter()
                .map(|it| match it {
                    Found::EnumNumber(it) => label(*it),
                    other => other.as_str().unwrap().into(),
                })
                .collect(),
        ),
        (Found::List(items), _) => {
            let items: Vec<String> = items
                .iter()
                .map(|it| it.as_i32().unwrap().to_string())
                .collect();
            Value::Json(format!("[{}]", items.join(",")).into())
        }
        (Found::Map(entries), _) => {
            let sorted: BTreeMap<String, i32> = entries
                .iter()
                .map(|(key, it)| match key {
                    MapKey::String(key) => (key.clone(), it.as_i32().unwrap()),
                    other => panic!("{other:?}"),
                })
                .collect();
            Value::Json(serde_json::to_string(&sorted).unwrap().into())
        }
    }
}

/// A message with some of its fields.
fn made_up(random: &mut fastrand::Rng, message: &MessageDescriptor, depth: u32) -> DynamicMessage {
    let mut made = DynamicMessage::new(message.clone());
    for field in message.fields() {
        if random.bool() || field.name() == "id" {
            let value = made_up_field(random, &field, depth);
            made.set_field(&field, value);
        }
    }
    made
}

fn made_up_field(
    random: &mut fastrand::Rng,
    field: &FieldDescriptor,
    depth: u32,
) -> prost_reflect::Value {
    use prost_reflect::Value as Made;
    let kind = field.kind();
    if field.is_map() {
        let entries = (0..random.usize(..4))
            .map(|it| (MapKey::String(it.to_string()), Made::I32(random.i32(..))));
        return Made::Map(entries.collect());
    }
    if field.is_list() {
        let length = match field.name() {
            "v" => 3,
            "w" => 2,
            "u" => 4,
            _ => random.usize(..4),
        };
        return Made::List((0..length).map(|_| one(random, &kind, depth)).collect());
    }
    if field.name() == "id" {
        return Made::String(format!("key {}", random.u32(..)));
    }
    one(random, &kind, depth)
}

fn one(random: &mut fastrand::Rng, kind: &Kind, depth: u32) -> prost_reflect::Value {
    use prost_reflect::Value as Made;
    match kind {
        Kind::Bool => Made::Bool(random.bool()),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Made::I32(random.i32(..)),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            Made::I64(random.i64(..) >> random.u32(..60))
        }
        Kind::Uint32 | Kind::Fixed32 => Made::U32(random.u32(..)),
        Kind::Uint64 | Kind::Fixed64 => Made::U64(random.u64(..) >> random.u32(1..60)),
        Kind::Float => Made::F32(random.f32() - 0.5),
        Kind::Double => Made::F64(random.f64() - 0.5),
        Kind::String => Made::String(["", "ä", "text", "~/"][random.usize(..4)].into()),
        Kind::Bytes => Made::Bytes(Bytes::from(vec![random.u8(..); random.usize(..5)])),
        Kind::Enum(_) => Made::EnumNumber([0, 5, 7, -1][random.usize(..4)]),
        Kind::Message(inner) if inner.name() == "Timestamp" => {
            let mut made = DynamicMessage::new(inner.clone());
            made.set_field_by_name("seconds", Made::I64(random.i64(-1_000_000..1_000_000)));
            made.set_field_by_name("nanos", Made::I32(random.i32(0..1_000_000_000)));
            Made::Message(made)
        }
        Kind::Message(inner) => Made::Message(made_up(random, inner, depth + 1)),
    }
}

fn seed() -> u64 {
    let seed = match std::env::var("FOREBAY_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    println!("FOREBAY_TEST_SEED={seed}");
    seed
}

#[test]
fn valid_messages_have_the_values_that_prost_reflect_finds() {
    let (fuzz, seed) = (fuzz(), seed());
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 0..2_000 {
        let mut bytes = made_up(&mut random, &fuzz.message, 0).encode_to_vec();
        // Two messages one after the other are one: values are replaced, messages merged, lists go on.
        if random.u8(..4) == 0 {
            let mut more = made_up(&mut random, &fuzz.message, 0);
            // Of a message that is a value, such as a time, the last one counts as it is.
            for list in ["v", "w", "u", "wrapped", "at"] {
                more.clear_field_by_name(list);
            }
            bytes.extend(more.encode_to_vec());
        }
        let batch = fuzz.decode(bytes.clone());
        let what = format!("seed {seed}, message {number}");
        assert_eq!(batch.live.len(), 1, "{what}: {:?}", batch.failures);
        assert!(!fuzz.agrees(&bytes, &batch, &what), "{what}");
    }
}

#[test]
fn hostile_messages_are_refused_or_read_as_prost_reflect_reads_them() {
    let (fuzz, seed) = (fuzz(), seed());
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut taken, mut stricter) = (0, 0);
    for number in 0..20_000 {
        let mut bytes = made_up(&mut random, &fuzz.message, 0).encode_to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes[at] = random.u8(..),
                1 => bytes[at] ^= 1 << random.u8(..8),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random.u8(..)),
            }
        }
        let batch = fuzz.decode(bytes.clone());
        assert_eq!(batch.live.len() + batch.failures.len(), 1);
        taken += batch.live.len();
        let what = format!("seed {seed}, message {number}");
        stricter += u32::from(fuzz.agrees(&bytes, &batch, &what));
    }
    // Some changes are in values; else nothing would have been compared.
    assert!(taken > 1_000, "{taken}");
    // A wrong field in what is nearly a value may be refused where prost-reflect skips it.
    assert!(stricter < 20, "seed {seed}: {stricter}");
}

#[test]
fn depth_and_numbers_of_items_are_bounded() {
    let fuzz = fuzz();
    let field = |number: u32, inner: &[u8]| {
        let mut bytes = Vec::new();
        prost::encoding::encode_key(
            number,
            prost::encoding::WireType::LengthDelimited,
            &mut bytes,
        );
        prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend_from_slice(inner);
        bytes
    };
    let key = field(1, b"k");
    // Messages within each other, in a field that nobody knows and in one that is known.
    for number in [99, 30] {
        let mut deep = Vec::new();
        for _ in 0..10_000 {
            deep = field(number, &deep);
        }
        let batch = fuzz.decode([key.clone(), deep].concat());
        assert_eq!(batch.live.len() + batch.failures.len(), 1);
    }
    for (number, item) in [(36, vec![0; 40_000]), (19, Vec::new())] {
        let items = match number {
            36 => field(number, &item),
            _ => field(number, &item).repeat(40_000),
        };
        let batch = fuzz.decode([key.clone(), items].concat());
        assert_eq!(batch.failures[0].code, "ROW_TOO_LARGE", "{number}");
    }
}

#[test]
fn a_response_is_scanned_in_any_pieces() {
    let fuzz = fuzz();
    let mut random = fastrand::Rng::with_seed(7);
    let rows: Vec<Vec<u8>> = (0..5)
        .map(|_| made_up(&mut random, &fuzz.message, 0).encode_to_vec())
        .collect();
    let mut response = Vec::new();
    for row in &rows {
        prost::encoding::encode_key(1, prost::encoding::WireType::LengthDelimited, &mut response);
        prost::encoding::encode_varint(row.len() as u64, &mut response);
        response.extend_from_slice(row);
    }
    for size in [1, 2, 3, 7, response.len()] {
        let mut pieces = bytes_utils::SegmentedBuf::new();
        for piece in response.chunks(size) {
            pieces.push(Bytes::copy_from_slice(piece));
        }
        let found = fuzz.plan.response.scan(&mut pieces, 1).unwrap();
        assert_eq!(found.rows[0], rows);
    }
    for length in 0..response.len() {
        // Cut between two rows it is a shorter response, and otherwise none.
        let cut = Bytes::copy_from_slice(&response[..length]);
        if let Ok(found) = fuzz.plan.response.scan(cut, 1) {
            assert_eq!(found.rows[0], rows[..found.rows[0].len()]);
        }
    }
}
