//! `forebay dlq list|show`

use std::borrow::Cow;

use prost::Message;
use serde_json::{Value, json};

use super::exit::{Exit, UsageError};
use super::global::Global;
use super::output::{indented_json, print_json, thousands};
use super::session;
use super::table::{Column, Table};
use super::words;
use crate::config::Config;
use crate::message::show;
use crate::plugin::{head, shortened};
use crate::printable::printable;
use crate::proto;
use crate::store::dead_letter::{Entry, Filter};
use crate::store::format::LetterFormat;

/// Stages at which a row can fail, as in `forebay.dead_letter`.
const STAGES: [&str; 4] = ["decode", "transform", "validate", "write"];
/// Statuses of a dead letter, as in `forebay.dead_letter`.
const STATUSES: [&str; 5] = ["open", "resolved", "superseded", "replayed", "discarded"];

/// Maximum number of characters of a text; a plugin's message has no more.
const MAX_SHOWN: usize = 2_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Dlq {
    /// List dead letters, latest first
    List(List),
    /// Show a dead letter with its row as received
    Show {
        /// ID from `forebay dlq list`
        #[arg(value_parser = words::id)]
        id: i64,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only those of this pipeline
    pipeline: Option<String>,
    /// Only those with this code
    #[arg(long)]
    code: Option<String>,
    /// Only those in this queue
    #[arg(long)]
    queue: Option<String>,
    /// Only those that failed at this stage
    #[arg(long, value_parser = STAGES)]
    stage: Option<String>,
    /// Only those with this status
    #[arg(long, value_parser = STATUSES)]
    status: Option<String>,
    /// Maximum number of dead letters
    #[arg(long, default_value_t = 50, value_parser = words::count)]
    limit: u32,
}

impl Dlq {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        session::with_database(global, config.as_ref(), async |database| {
            self.with(global, config.as_ref(), database).await
        })
        .await
    }

    async fn with(
        &self,
        global: &Global,
        config: Option<&Config>,
        database: &session::Database,
    ) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => {
                list.check(config, database).await?;
                let (entries, total) = database.store.dead_letters(&list.filter()).await?;
                if global.json {
                    print_json(&json!({ "total": total, "entries": entries }))?
                } else if entries.is_empty() {
                    println!("{}", list.none(database).await?);
                } else {
                    println!("{}\n{} of {total}", table(&entries), entries.len());
                }
            }
            Self::Show { id } => {
                let Some((entry, wire)) = database.store.dead_letter(*id).await? else {
                    return Err(
                        UsageError(format!("no dead letter {id}; see `forebay dlq list`")).into(),
                    );
                };
                let format = database.store.letter_format(*id).await?;
                let row = match &format {
                    None => row_json(&wire),
                    Some(format) => match show(&format.descriptors, &format.message, &wire) {
                        Ok(row) => short_json(row),
                        Err(error) => json!({ "undecodable": error }),
                    },
                };
                if global.json {
                    let mut value = serde_json::to_value(&entry)?;
                    if let Value::Object(members) = &mut value {
                        members.insert("row".into(), row);
                        if let Some(format) = format {
                            members.insert("message".into(), format.message.into());
                        }
                        members.insert("wire_hex".into(), hex::encode(&wire).into());
                    }
                    print_json(&value)?;
                } else {
                    print_entry(&entry, &wire, format.as_ref(), &row)?;
                }
            }
        }
        Ok(Exit::Done)
    }
}

impl List {
    /// Refuses a pipeline that nobody knows, and a code or queue that no row has ever had.
    async fn check(
        &self,
        config: Option<&Config>,
        database: &session::Database,
    ) -> anyhow::Result<()> {
        if let Some(pipeline) = &self.pipeline {
            words::known_pipeline(pipeline, config, database).await?;
        }
        let store = &database.store;
        if let Some(code) = &self.code {
            let ever = store.dead_letter_codes(code).await?;
            refuse_unless_known("code", code, ever.as_deref())?;
        }
        if let Some(queue) = &self.queue {
            let ever = store.dead_letter_queues(queue).await?;
            refuse_unless_known("queue", queue, ever.as_deref())?;
        }
        Ok(())
    }

    /// What is said where there is nothing to list.
    async fn none(&self, database: &session::Database) -> anyhow::Result<String> {
        let any = Filter {
            limit: 1,
            ..Filter::default()
        };
        let (_, all) = database.store.dead_letters(&any).await?;
        Ok(match all {
            0 => "no dead letters".to_owned(),
            all => format!(
                "no dead letter matches, of {} in all",
                thousands(all.unsigned_abs())
            ),
        })
    }

    fn filter(&self) -> Filter {
        Filter {
            pipeline: self.pipeline.clone(),
            code: self.code.clone(),
            queue: self.queue.clone(),
            stage: self.stage.clone(),
            status: self.status.clone(),
            plugin: None,
            limit: self.limit.into(),
        }
    }
}

/// An error unless a name has occurred; `others` are those that have instead.
fn refuse_unless_known(
    kind: &str,
    name: &str,
    others: Option<&[String]>,
) -> Result<(), UsageError> {
    let Some(others) = others else { return Ok(()) };
    let kind = format!("{kind} of dead letters");
    let others = others.iter().map(String::as_str);
    Err(words::unknown(&kind, name, "so far there were", others))
}

/// The table. What has no room on the screen is shown by `dlq show`.
fn table(entries: &[Entry]) -> Table<9> {
    let mut table = Table::new([
        Column::number("id"),
        Column::name("pipeline"),
        Column::name("stage").optional(),
        Column::name("code"),
        Column::number("seen").optional(),
        Column::text("message"),
        Column::name("key").optional(),
        Column::name("last seen").optional(),
        Column::name("queue").optional(),
    ]);
    for entry in entries {
        table.row([
            entry.id.to_string(),
            entry.pipeline.clone(),
            entry.stage.clone(),
            code(entry),
            thousands(entry.seen.unsigned_abs()),
            entry.message.clone(),
            shown(entry.key.as_deref()),
            entry.last_seen.clone(),
            entry.queue.clone(),
        ]);
    }
    table
}

/// The code, and the status of an entry that is closed.
fn code(entry: &Entry) -> String {
    match entry.status.as_str() {
        "open" => entry.code.clone(),
        status => format!("{} ({status})", entry.code),
    }
}

/// A text that came from the source, which may hold any characters.
fn shown(text: Option<&str>) -> String {
    text.map_or_else(|| "(none)".to_owned(), whole)
}

/// A text on one line, as far as a plugin's message may go.
fn whole(text: &str) -> String {
    printable(head(text, MAX_SHOWN)).into_owned()
}

fn print_entry(
    entry: &Entry,
    wire: &[u8],
    format: Option<&LetterFormat>,
    row: &Value,
) -> anyhow::Result<()> {
    let plugin = match (&entry.plugin, &entry.plugin_digest) {
        (Some(name), Some(digest)) => format!("{name} (sha256 {digest})"),
        _ => "(none)".into(),
    };
    let partition = if entry.partition.is_empty() {
        "(only one)"
    } else {
        &entry.partition
    };
    println!(
        "dead letter {} ({}), queue {}",
        entry.id,
        entry.status,
        whole(&entry.queue)
    );
    let partition = whole(partition);
    println!("  pipeline   {}, partition {partition}", entry.pipeline);
    println!("  key        {}", shown(entry.key.as_deref()));
    let code = whole(&entry.code);
    println!("  failed     at {} with {code}", entry.stage);
    println!("  message    {}", whole(&entry.message));
    println!("  field      {}", shown(entry.field.as_deref()));
    println!("  plugin     {plugin}");
    println!(
        "  seen       {} times, {} to {}",
        entry.seen, entry.first_seen, entry.last_seen
    );
    println!("  attempts   {}", entry.attempts);
    let message = format.map_or_else(String::new, |it| format!(", a {}", it.message));
    println!("  row        {} bytes as received{message}", wire.len());
    println!("{}", indented_json(row)?);
    Ok(())
}

/// A row to read: vectors are shortened to their first elements, texts to 500 characters.
fn row_json(wire: &[u8]) -> Value {
    let row = match proto::Row::decode(wire) {
        Ok(row) => row,
        Err(error) => return json!({ "undecodable": error.to_string() }),
    };
    let mut fields: Vec<(String, Value)> = row
        .fields
        .into_iter()
        .map(|(name, value)| (name, field_json(value)))
        .collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let mut embeddings: Vec<(String, Value)> = row
        .embeddings
        .into_iter()
        .map(|(name, vector)| (name, vector_json(&vector)))
        .collect();
    embeddings.sort_by(|a, b| a.0.cmp(&b.0));
    if row.deleted {
        return json!({ "key": row.key, "deleted": true });
    }
    json!({
        "key": row.key,
        "fields": fields.into_iter().collect::<serde_json::Map<_, _>>(),
        "embeddings": embeddings.into_iter().collect::<serde_json::Map<_, _>>(),
    })
}

fn field_json(value: proto::Value) -> Value {
    use proto::value::Kind;
    match value.kind {
        None => Value::Null,
        Some(Kind::Boolean(boolean)) => boolean.into(),
        Some(Kind::Integer(integer)) => integer.into(),
        Some(Kind::Real(real)) => real.into(),
        Some(Kind::Text(text)) => text_json(&text),
        Some(Kind::Binary(bytes)) => json!({ "binary_bytes": bytes.len() }),
        Some(Kind::Timestamp(time)) => json!({ "seconds": time.seconds, "nanos": time.nanos }),
        Some(Kind::Texts(texts)) => texts.values.into(),
        Some(Kind::Json(text)) => serde_json::from_str(&text).unwrap_or_else(|_| text.into()),
    }
}

/// A message to read: long texts, and lists of numbers, by their beginning.
fn short_json(value: Value) -> Value {
    match value {
        Value::String(text) => text_json(&text),
        Value::Array(items) if items.len() > 8 && items.iter().all(Value::is_number) => {
            let first: Vec<&Value> = items.iter().take(4).collect();
            json!({ "elements": items.len(), "first": first })
        }
        Value::Array(items) => items.into_iter().map(short_json).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, short_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}

fn text_json(text: &str) -> Value {
    match shortened(text, 500) {
        Cow::Owned(short) => format!("{short} ({} bytes)", text.len()).into(),
        Cow::Borrowed(text) => text.into(),
    }
}

fn vector_json(vector: &proto::Vector) -> Value {
    use proto::vector::Elements;
    let (kind, dimensions, first): (&str, usize, Vec<f32>) = match &vector.elements {
        None => return Value::Null,
        Some(Elements::F32(bytes)) => {
            let (elements, _) = bytes.as_chunks::<4>();
            (
                "f32",
                elements.len(),
                elements
                    .iter()
                    .take(4)
                    .map(|element| f32::from_le_bytes(*element))
                    .collect(),
            )
        }
        Some(Elements::F16(bytes)) => {
            let (elements, _) = bytes.as_chunks::<2>();
            (
                "f16",
                elements.len(),
                elements
                    .iter()
                    .take(4)
                    .map(|element| half::f16::from_le_bytes(*element).to_f32())
                    .collect(),
            )
        }
    };
    let first: Vec<String> = first.iter().map(f32::to_string).collect();
    json!({ "type": kind, "dimensions": dimensions, "begins": first.join(", ") })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn dead_letters_fit_the_screen() {
        let entry = |id, stage: &str, code: &str, message: &str, key: Option<&str>| Entry {
            id,
            pipeline: "recruit".into(),
            partition: String::new(),
            key: key.map(str::to_owned),
            queue: "review".into(),
            stage: stage.into(),
            code: code.into(),
            message: message.into(),
            field: None,
            plugin: None,
            plugin_digest: None,
            attempts: 1,
            seen: 1_200,
            run: None,
            status: "open".into(),
            first_seen: "2026-11-27T17:29:59Z".into(),
            last_seen: "2026-11-27T17:29:59Z".into(),
            wire_bytes: 351,
        };
        let key = Some("0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77");
        let range = "exp_years is 120; it must be 0 to 60";
        let short = [
            entry(15, "validate", "FIELD_RANGE", range, key),
            entry(8, "decode", "KEY_MISSING", "the key is empty", None),
        ];
        assert_snapshot!(table(&short).within(80), @"
        id  pipeline  stage     code          seen  message
        15  recruit   validate  FIELD_RANGE  1,200  exp_years is 120; it must be 0 to 60
         8  recruit   decode    KEY_MISSING  1,200  the key is empty
        ");
        assert_snapshot!(table(&short).within(160), @"
        id  pipeline  stage     code          seen  message                               key                                   last seen             queue
        15  recruit   validate  FIELD_RANGE  1,200  exp_years is 120; it must be 0 to 60  0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77  2026-11-27T17:29:59Z  review
         8  recruit   decode    KEY_MISSING  1,200  the key is empty                      (none)                                2026-11-27T17:29:59Z  review
        ");
        let closed = Entry {
            status: "resolved".into(),
            ..entry(7, "write", "SQL_23505", "duplicate key", None)
        };
        assert_snapshot!(table(&[closed]).within(80), @"
        id  pipeline  stage  code                   seen  message        key
         7  recruit   write  SQL_23505 (resolved)  1,200  duplicate key  (none)
        ");
        let trap = "panicked at src/lib.rs:31:9: met row 17 (trapped: wasm trap: wasm \
                    `unreachable` instruction executed)";
        let long = [
            entry(
                123_456,
                "decode",
                "EMBEDDING_DIMENSIONS",
                "`vector` has 60 bytes, 16 dimensions need 64",
                key,
            ),
            entry(9, "transform", "PLUGIN_TRAP", trap, key),
        ];
        assert_snapshot!(table(&long).within(160), @"
            id  pipeline  stage      code                   seen  message                                     key                                   last seen
        123456  recruit   decode     EMBEDDING_DIMENSIONS  1,200  `vector` has 60 bytes, 16 dimensions need…  0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77  2026-11-27T17:29:59Z
             9  recruit   transform  PLUGIN_TRAP           1,200  panicked at src/lib.rs:31:9: met row 17…    0190b6f2-5a55-7cc3-98b3-a5b0ef1d2c77  2026-11-27T17:29:59Z
        ");
        assert_snapshot!(table(&long).within(80), @"
            id  pipeline  code                  message
        123456  recruit   EMBEDDING_DIMENSIONS  `vector` has 60 bytes, 16 dimensions…
             9  recruit   PLUGIN_TRAP           panicked at src/lib.rs:31:9: met row 17…
        ");
    }
}
