//! From descriptors and configuration to a plan. All problems are found together.

use prost_reflect::{FieldDescriptor, MessageDescriptor};

use super::descriptors::{Pool, find, full_name};
use super::path::resolve;
use super::plan::Plan;
use super::problem::Problem;
use super::request::Request;
use super::response::{PositionFrom, Response};
use super::row;
use crate::config::{Method, Rows};
use crate::row::Schema;

/// Compiles the plan of a method, and the schema of its rows. An embedding has no dimensions yet
/// unless the configuration says them.
///
/// # Errors
/// Everything that the descriptors do not have, or that cannot be.
pub fn compile(pool: &Pool, method: &Method) -> Result<(Plan, Schema), Vec<Problem>> {
    let found = find(pool, &method.name).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    if found.is_client_streaming() {
        let message = "takes a stream of requests";
        let hint = "name a method that takes one request";
        problems.push(Problem::new("method", message, hint));
    }
    let output = found.output();
    let mut schema = Schema::default();
    let (mut fields, mut kinds) = (Vec::new(), Vec::new());
    for rows in &method.rows {
        match place(&output, rows) {
            Ok((path, message)) => {
                let name = rows.field.as_deref().filter(|_| !rows.tables.is_empty());
                let name = name.unwrap_or_default();
                let kind = row::compile(&message, name, rows, method, &mut schema, &mut problems);
                kinds.push(kind);
                fields.push(path);
            }
            Err(problem) => problems.push(problem),
        }
    }
    check_names(method, &schema, &mut problems);
    let request = Request::compile(&found.input(), method, &mut problems);
    let response = Response::compile(&output, &fields, method, &mut problems);
    let last_key = response.position == PositionFrom::LastKey;
    if last_key && (kinds.len() > 1 || kinds.iter().any(|kind| kind.key_defaults.len() > 1)) {
        let message = "is the key of the last row, but that is not one field of one kind of rows";
        let hint = "name the response's field that says where to go on: position = { field = \"…\", request = \"…\" }";
        problems.push(Problem::new("position", message, hint));
    }
    if method.continues && !found.is_server_streaming() && !last_key {
        let message = "cannot be \"changes\": after its last page there is nowhere to go on";
        let hint = "remove it, or let the position be the key of the last row";
        problems.push(Problem::new("delivery", message, hint));
    }
    match request {
        Some(request) if problems.is_empty() => Ok((
            Plan {
                path: format!("/{}", full_name(&found)),
                streams: found.is_server_streaming(),
                request,
                response,
                kinds,
            },
            schema,
        )),
        _ => Err(problems),
    }
}

/// Where rows of a kind are in a response, and their message.
fn place(
    output: &MessageDescriptor,
    rows: &Rows,
) -> Result<(Vec<FieldDescriptor>, MessageDescriptor), Problem> {
    let Some(path) = &rows.field else {
        let mut lists = lists(output);
        return match (lists.pop(), lists.is_empty()) {
            (None, _) => Ok((Vec::new(), output.clone())),
            (Some((path, message)), true) => Ok((path, message)),
            (Some(last), false) => {
                lists.push(last);
                let names: Vec<String> = lists.iter().map(|(path, _)| dotted(path)).collect();
                let message = format!("is missing: {} has several lists", output.full_name());
                let hint = format!("name one of {}, or each with its table", names.join(", "));
                Err(Problem::new("rows", message, hint))
            }
        };
    };
    let mut fields = resolve(output, "rows", path)?;
    let message = message_of(fields.last());
    let Some(message) = message else {
        let what = format!("`{path}` is no message");
        return Err(Problem::new("rows", what, "name the list of rows"));
    };
    if fields.last().is_some_and(FieldDescriptor::is_list) {
        return Ok((fields, message));
    }
    // A message around the list, as in a `oneof`, may stand for it.
    let mut within = lists(&message);
    match (within.pop(), within.is_empty()) {
        (Some((rest, message)), true) => {
            fields.extend(rest);
            Ok((fields, message))
        }
        _ => Ok((fields, message)),
    }
}

/// The lists of messages of a message, or else of the messages within it.
fn lists(message: &MessageDescriptor) -> Vec<(Vec<FieldDescriptor>, MessageDescriptor)> {
    let direct: Vec<_> = message
        .fields()
        .filter(|field| field.is_list())
        .filter_map(|field| {
            let inner = message_of(Some(&field))?;
            Some((vec![field], inner))
        })
        .collect();
    if !direct.is_empty() {
        return direct;
    }
    let mut within = Vec::new();
    for field in message.fields().filter(|field| !field.is_map()) {
        let Some(inner) = message_of(Some(&field)) else {
            continue;
        };
        let lists = inner.fields().filter(|field| field.is_list());
        within.extend(lists.filter_map(|list| {
            let inner = message_of(Some(&list))?;
            Some((vec![field.clone(), list], inner))
        }));
    }
    within
}

fn message_of(field: Option<&FieldDescriptor>) -> Option<MessageDescriptor> {
    match field?.kind() {
        prost_reflect::Kind::Message(message) if !message.is_map_entry() => {
            (!message.full_name().starts_with("google.protobuf.")).then_some(message)
        }
        _ => None,
    }
}

fn dotted(path: &[FieldDescriptor]) -> String {
    let names: Vec<&str> = path.iter().map(FieldDescriptor::name).collect();
    format!("`{}`", names.join("."))
}

/// Reports names in the configuration that no kind of rows has taken up.
fn check_names(method: &Method, schema: &Schema, problems: &mut Vec<Problem>) {
    let kinds: Vec<String> = method
        .rows
        .iter()
        .filter(|rows| !rows.tables.is_empty())
        .filter_map(|rows| Some(format!("{}.", rows.field.as_deref()?)))
        .collect();
    let names = method.fields.keys().map(|name| ("fields", name));
    let names = names.chain(method.embeddings.keys().map(|name| ("embeddings", name)));
    for (table, name) in names.filter(|_| !kinds.is_empty()) {
        if !kinds.iter().any(|kind| name.starts_with(kind)) {
            let key = format!("{table}.{name}");
            let hint = format!(
                "write \"{}{name}\"",
                kinds.first().map_or("", String::as_str)
            );
            problems.push(Problem::new(key, "does not name a kind of `rows`", hint));
        }
    }
    for (name, dimensions) in &method.dimensions {
        let key = format!("embeddings.{name}");
        if schema.embedding(name).is_none() {
            let names: Vec<&str> = schema
                .embeddings
                .iter()
                .map(|it| it.name.as_str())
                .collect();
            let hint = format!("there are: {}", names.join(", "));
            problems.push(Problem::new(key, "is no embedding of a row", hint));
        } else if !(1..=crate::row::MAX_DIMENSIONS as u32).contains(dimensions) {
            let hint = "write a number from 1 to 16000";
            problems.push(Problem::new(key, format!("cannot be {dimensions}"), hint));
        }
    }
}
