//! What the fields of a kind of rows mean, from their descriptors and the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;
use prost_reflect::{FieldDescriptor, MessageDescriptor};

use super::json::JsonField;
use super::path::resolve;
use super::plan::{Cleared, Encoding, Kind, Mark, Member, Node, Target, Width};
use super::problem::Problem;
use super::scalar::Scalar;
use crate::config::{Method, Rows};
use crate::row::{Column, EmbeddingColumn, FieldType, Schema, Value};

/// Key of a row where none is configured.
const KEY: &str = "id";

/// A kind of rows while it is compiled.
struct Compiler<'c> {
    message: &'c MessageDescriptor,
    /// Name of the kind and a dot, before all names in the configuration and the schema.
    prefix: String,
    node: Node,
    columns: Vec<Column>,
    defaults: Vec<Value>,
    embeddings: Vec<EmbeddingColumn>,
    json: Vec<JsonField>,
    numbers: Vec<(String, Vec<u32>)>,
    first_column: usize,
    first_embedding: usize,
    problems: &'c mut Vec<Problem>,
}

/// Compiles a kind of rows, and appends its columns and embeddings to a schema.
pub(super) fn compile(
    message: &MessageDescriptor,
    name: &str,
    rows: &Rows,
    method: &Method,
    schema: &mut Schema,
    problems: &mut Vec<Problem>,
) -> Kind {
    let prefix = match name {
        "" => String::new(),
        name => format!("{name}."),
    };
    let mut compiler = Compiler {
        message,
        prefix,
        node: Node::default(),
        columns: Vec::new(),
        defaults: Vec::new(),
        embeddings: Vec::new(),
        json: Vec::new(),
        numbers: Vec::new(),
        first_column: schema.columns.len(),
        first_embedding: schema.embeddings.len(),
        problems,
    };
    let key = compiler.key(rows);
    compiler.mark(method.deleted.as_deref());
    for (name, path) in compiler.own(&method.embeddings) {
        compiler.embedding(&name, &path);
    }
    for (name, path) in compiler.own(&method.fields) {
        compiler.field(&name, &path);
    }
    compiler.others(key.len() == 1 && compiler.prefix.is_empty());
    compiler.dimensions(&method.dimensions);
    compiler.unique();
    clears(&mut compiler.node, message);
    schema.columns.append(&mut compiler.columns);
    schema.embeddings.append(&mut compiler.embeddings);
    let first = key.first();
    let scalar = first.and_then(|path| path.last()).and_then(Scalar::of);
    Kind {
        name: name.to_owned(),
        tables: rows.tables.clone(),
        message: message.clone(),
        node: compiler.node,
        key_defaults: key.iter().map(|path| key_default(path)).collect(),
        key_path: (first.map(|path| numbers(path)).unwrap_or_default(), scalar),
        defaults: compiler.defaults,
        first_column: compiler.first_column,
        first_embedding: compiler.first_embedding,
        embeddings: schema.embeddings.len() - compiler.first_embedding,
        encoding: Arc::new(Encoding::of(message, name)),
        json: compiler.json,
        numbers: compiler.numbers,
    }
}

/// The text of a part of a key that is not encoded: that of its default, and none for what has to
/// be there.
fn key_default(path: &[FieldDescriptor]) -> ByteString {
    let [field] = path else {
        return ByteString::new();
    };
    match Scalar::of(field).and_then(|scalar| scalar.default_of(field)) {
        Some(Value::Integer(number)) => number.to_string().into(),
        Some(Value::Text(name)) => name,
        _ => ByteString::new(),
    }
}

fn numbers(path: &[FieldDescriptor]) -> Vec<u32> {
    path.iter().map(FieldDescriptor::number).collect()
}

impl Compiler<'_> {
    fn problem(&mut self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem::new(key, message, hint));
    }

    /// The entries of a table of the configuration that concern this kind, without its name.
    fn own(&self, all: &BTreeMap<String, String>) -> Vec<(String, String)> {
        let mine = all.iter().filter_map(|(name, path)| {
            Some((name.strip_prefix(&self.prefix)?.to_owned(), path.clone()))
        });
        mine.collect()
    }

    /// The fields of the key.
    fn key(&mut self, rows: &Rows) -> Vec<Vec<FieldDescriptor>> {
        let default = [KEY.to_owned()];
        let paths: &[String] = match rows.key.as_slice() {
            [] => &default,
            paths => paths,
        };
        let mut key = Vec::new();
        for (part, path) in paths.iter().enumerate() {
            let fields = match resolve(self.message, "key", path) {
                Ok(fields) => fields,
                Err(problem) => {
                    self.problems.push(problem);
                    continue;
                }
            };
            let scalar = fields.last().and_then(Scalar::of);
            let is_single = fields
                .iter()
                .all(|field| !field.is_list() && !field.is_map());
            match scalar.filter(|it| it.is_key() && is_single) {
                Some(scalar) => {
                    if let Some(member) = self.member(&fields) {
                        member.key = Some((part, scalar));
                    }
                    key.push(fields);
                }
                None => self.problem(
                    "key",
                    format!("`{path}` is no text, enum or integer"),
                    "name the field that tells rows apart",
                ),
            }
        }
        key
    }

    /// The mark of a deleted row.
    fn mark(&mut self, configured: Option<&str>) {
        let Some(configured) = configured else { return };
        let (path, value) = match configured.split_once('=') {
            Some((path, value)) => (path.trim(), Some(value.trim())),
            None => (configured, None),
        };
        let fields = match resolve(self.message, "deleted", path) {
            Ok(fields) => fields,
            Err(problem) => return self.problems.push(problem),
        };
        let scalar = fields
            .last()
            .filter(|it| !it.is_list())
            .and_then(Scalar::of);
        let mark = match (&scalar, value) {
            (Some(Scalar::Boolean), None) => Some(Mark::True),
            (Some(Scalar::Text | Scalar::Enum(_)), Some(value)) => {
                Some(Mark::Equals(value.to_owned()))
            }
            _ => None,
        };
        match mark.zip(scalar) {
            Some(mark) => {
                if let Some(member) = self.member(&fields) {
                    member.mark = Some(mark);
                }
            }
            None => self.problem(
                "deleted",
                format!("`{configured}` cannot mark a row as deleted"),
                "name a `bool` field, or write \"FIELD=VALUE\" for a text or an enum",
            ),
        }
    }

    /// The member at a path, below messages that are entered; `None` if the path passes a list.
    fn member(&mut self, path: &[FieldDescriptor]) -> Option<&mut Member> {
        let (last, before) = path.split_last()?;
        let mut node = &mut self.node;
        for field in before {
            let member = node.at(field.number());
            if field.is_list() {
                return None;
            }
            if let Target::None = member.target {
                member.target = Target::Message(Box::default());
            }
            node = match &mut member.target {
                Target::Message(inner) => inner,
                _ => return None,
            };
        }
        Some(node.at(last.number()))
    }

    fn column(&mut self, name: &str, field_type: FieldType, path: &[FieldDescriptor]) -> usize {
        let name = format!("{}{name}", self.prefix);
        self.numbers.push((name.clone(), numbers(path)));
        self.columns.push(Column {
            name,
            field_type: Some(field_type),
        });
        self.defaults.push(Value::Null);
        self.first_column + self.columns.len() - 1
    }

    /// What a column has unless its field is encoded, where the message that has it is there.
    fn default(&mut self, path: &[FieldDescriptor], column: usize, value: Option<Value>) {
        let Some(value) = value else { return };
        let within = path.split_last().map(|(_, before)| before);
        if within.is_some_and(<[_]>::is_empty) {
            let local = column - self.first_column;
            if let Some(default) = self.defaults.get_mut(local) {
                *default = value;
            }
            return;
        }
        let mut node = &mut self.node;
        for field in within.into_iter().flatten() {
            node = match &mut node.at(field.number()).target {
                Target::Message(inner) => inner,
                _ => return,
            };
        }
        node.defaults.push((column, value));
    }

    /// An embedding that the configuration names.
    fn embedding(&mut self, name: &str, path: &str) {
        let key = format!("embeddings.{}{name}", self.prefix);
        let fields = match resolve(self.message, &key, path) {
            Ok(fields) => fields,
            Err(problem) => return self.problems.push(problem),
        };
        let width = fields.last().and_then(width);
        match width {
            Some(width) if self.vector(name, &fields, width) => {}
            _ => self.problem(
                &key,
                format!("`{path}` is no `repeated float`, `repeated double` or `bytes` of a row"),
                "name the field that holds the elements of the vector",
            ),
        }
    }

    fn vector(&mut self, name: &str, path: &[FieldDescriptor], width: Width) -> bool {
        let index = self.first_embedding + self.embeddings.len();
        let Some(member) = self.member(path) else {
            return false;
        };
        member.target = Target::Vector(index, width);
        let name = format!("{}{name}", self.prefix);
        self.numbers.push((name.clone(), numbers(path)));
        self.embeddings.push(EmbeddingColumn {
            name,
            dimensions: 0,
        });
        true
    }

    /// A field that the configuration names.
    fn field(&mut self, name: &str, path: &str) {
        let key = format!("fields.{}{name}", self.prefix);
        let fields = match resolve(self.message, &key, path) {
            Ok(fields) => fields,
            Err(problem) => return self.problems.push(problem),
        };
        if let Some((last, [.., list])) = fields.split_last()
            && list.is_list()
        {
            return self.texts_within(&key, name, path, (list, last), &fields);
        }
        let taken = self
            .member(&fields)
            .is_none_or(|member| member.json.is_some() || !matches!(member.target, Target::None));
        if taken {
            let hint = "name each field once, and of lists of messages only fields of their own";
            return self.problem(&key, format!("`{path}` cannot be taken so"), hint);
        }
        self.take(name, &fields);
    }

    /// A text of each message of a list, as a list.
    fn texts_within(
        &mut self,
        key: &str,
        name: &str,
        path: &str,
        (list, last): (&FieldDescriptor, &FieldDescriptor),
        fields: &[FieldDescriptor],
    ) {
        let scalar = Scalar::of(last).filter(|_| !last.is_map());
        let Some(scalar) = scalar.filter(|it| matches!(it, Scalar::Text | Scalar::Enum(_))) else {
            let message = format!("`{path}`: of a list of messages, only texts make a list");
            let hint = format!(
                "take the whole list as JSON: it is there as `{}`",
                list.name()
            );
            return self.problem(key, message, hint);
        };
        let column = self.column(name, FieldType::Texts, fields);
        let list_path = fields.split_last().map(|(_, before)| before);
        self.default(
            list_path.unwrap_or_default(),
            column,
            Some(Value::Texts(Vec::new())),
        );
        let Some(member) = list_path.and_then(|path| self.member(path)) else {
            let hint = "name a list of the row, or of a single message within it";
            return self.problem(key, format!("`{path}` passes two lists"), hint);
        };
        if let Target::None = member.target {
            member.target = Target::Messages(Box::default(), Vec::new());
        }
        if let Target::Messages(node, pushes) = &mut member.target {
            if !last.is_list() {
                pushes.push((column, !last.supports_presence()));
            }
            node.at(last.number()).target = Target::Texts(column, scalar);
        }
    }

    /// Takes a field as what it is: a value, a list of texts, or JSON.
    fn take(&mut self, name: &str, path: &[FieldDescriptor]) {
        let Some(field) = path.last() else { return };
        let scalar = Scalar::of(field).filter(|_| !field.is_map());
        match scalar {
            Some(scalar) if !field.is_list() => {
                let column = self.column(name, scalar.field_type(), path);
                self.default(path, column, scalar.default_of(field));
                if let Some(member) = self.member(path) {
                    member.target = Target::Value(column, scalar);
                }
            }
            Some(scalar @ (Scalar::Text | Scalar::Enum(_))) => {
                let column = self.column(name, FieldType::Texts, path);
                self.default(path, column, Some(Value::Texts(Vec::new())));
                if let Some(member) = self.member(path) {
                    member.target = Target::Texts(column, scalar);
                }
            }
            _ => self.take_json(name, path, field),
        }
    }

    fn take_json(&mut self, name: &str, path: &[FieldDescriptor], field: &FieldDescriptor) {
        let column = self.column(name, FieldType::Json, path);
        let empty = match (field.is_map(), field.is_list()) {
            (true, _) => Some("{}"),
            (false, true) => Some("[]"),
            (false, false) => None,
        };
        let empty = empty.map(|text| Value::Json(ByteString::from_static(text)));
        self.default(path, column, empty);
        let index = self.json.len();
        if let Some(member) = self.member(path) {
            member.json = Some(index);
            self.json.push(JsonField {
                column,
                parent: field.parent_message().clone(),
                field: field.clone(),
            });
        }
    }

    /// Takes all fields of the row that the configuration does not name, under their names. The key
    /// is a field too, unless it is the row's key alone.
    fn others(&mut self, key_is_apart: bool) {
        for field in self.message.fields().filter(|field| !field.is_group()) {
            let member = self.node.at(field.number());
            let is_named = !matches!(member.target, Target::None) || member.mark.is_some();
            if is_named || (member.key.is_some() && key_is_apart) {
                continue;
            }
            let (name, path) = (field.name().to_owned(), std::slice::from_ref(&field));
            match width(&field).filter(|width| *width != Width::Bytes) {
                Some(width) => {
                    self.vector(&name, path, width);
                }
                None => self.take(&name, path),
            }
        }
    }

    /// Gives embeddings the dimensions that the configuration says.
    fn dimensions(&mut self, configured: &BTreeMap<String, u32>) {
        for embedding in &mut self.embeddings {
            if let Some(dimensions) = configured.get(&embedding.name) {
                embedding.dimensions = *dimensions as usize;
            }
        }
    }

    /// Reports names that are used twice.
    fn unique(&mut self) {
        let names = self.columns.iter().map(|column| &column.name);
        let names = names.chain(self.embeddings.iter().map(|embedding| &embedding.name));
        let mut names: Vec<&String> = names.collect();
        names.sort_unstable();
        let twice: Vec<String> = names
            .windows(2)
            .filter_map(|pair| match pair {
                [one, other] if one == other => Some((*one).clone()),
                _ => None,
            })
            .collect();
        for name in twice {
            let message = format!("has the name `{name}` for two things");
            self.problem("fields", message, "give one of them another name");
        }
    }
}

fn width(field: &FieldDescriptor) -> Option<Width> {
    match (field.kind(), field.is_list()) {
        (prost_reflect::Kind::Float, true) => Some(Width::Float),
        (prost_reflect::Kind::Double, true) => Some(Width::Double),
        (prost_reflect::Kind::Bytes, false) => Some(Width::Bytes),
        _ => None,
    }
}

/// Notes for each field of a `oneof` what the others feed: the last one that is encoded counts.
fn clears(node: &mut Node, message: &MessageDescriptor) {
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let fields: Vec<u32> = oneof.fields().map(|field| field.number()).collect();
        let mut targets: Vec<(u32, Vec<Cleared>)> = Vec::new();
        for number in &fields {
            let mut of_field = Vec::new();
            if let Some(member) = node.get(*number) {
                member.targets(&mut of_field);
            }
            targets.push((*number, of_field));
        }
        for number in fields {
            let others = targets.iter().filter(|(other, _)| *other != number);
            let others: Vec<Cleared> = others.flat_map(|(_, targets)| targets.clone()).collect();
            if !others.is_empty() {
                node.at(number).clears = others;
            }
        }
    }
    for field in message.fields() {
        let prost_reflect::Kind::Message(inner) = field.kind() else {
            continue;
        };
        if node.get(field.number()).is_some() {
            // A message of a list empties nothing that another one has added.
            if let Target::Message(node) = &mut node.at(field.number()).target {
                clears(node, &inner);
            }
        }
    }
}
