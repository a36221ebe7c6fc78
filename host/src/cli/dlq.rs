//! `forebay dlq list|show`

use prost::Message;
use serde_json::{Value, json};

use super::output::table;
use super::{Exit, Global, UsageError, print_json, session};
use crate::plugin::{head, line};
use crate::proto;
use crate::store::dead_letter::{Entry, Filter};

/// Characters of a text; a plugin's message has no more.
const MAX_SHOWN: usize = 2_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Dlq {
    /// List dead letters, the latest first
    List(List),
    /// Show one with its row as it came
    Show {
        /// From `forebay dlq list`
        id: i64,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Of this pipeline only
    pipeline: Option<String>,
    /// With this code only
    #[arg(long)]
    code: Option<String>,
    /// In this queue only
    #[arg(long)]
    queue: Option<String>,
    /// At this stage only: decode, transform, validate or write
    #[arg(long)]
    stage: Option<String>,
    /// With this status only: open, replayed or discarded
    #[arg(long)]
    status: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

impl Dlq {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        session::with_database(global, config.as_ref(), async |database| {
            self.with(global, database).await
        })
        .await
    }

    async fn with(&self, global: &Global, database: &session::Database) -> anyhow::Result<Exit> {
        match self {
            Self::List(list) => {
                let (entries, total) = database.store.dead_letters(&list.filter()).await?;
                if global.json {
                    print_json(&json!({ "total": total, "entries": entries }))?
                } else {
                    print_list(&entries, total)
                }
            }
            Self::Show { id } => {
                let Some((entry, wire)) = database.store.dead_letter(*id).await? else {
                    return Err(
                        UsageError(format!("no dead letter {id}; see `forebay dlq list`")).into(),
                    );
                };
                if global.json {
                    let mut value = serde_json::to_value(&entry)?;
                    if let Value::Object(members) = &mut value {
                        members.insert("row".into(), row_json(&wire));
                        members.insert("wire_hex".into(), hex(&wire).into());
                    }
                    print_json(&value)?;
                } else {
                    print_entry(&entry, &wire)?;
                }
            }
        }
        Ok(Exit::Done)
    }
}

impl List {
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

fn print_list(entries: &[Entry], total: i64) {
    if entries.is_empty() {
        println!("no dead letters");
        return;
    }
    let mut table = table([
        "id",
        "pipeline",
        "key",
        "queue",
        "stage",
        "code",
        "message",
        "seen",
        "last seen",
    ]);
    for entry in entries {
        table.add_row([
            entry.id.to_string(),
            entry.pipeline.clone(),
            shown(entry.key.as_deref()),
            line(&entry.queue, MAX_SHOWN),
            entry.stage.clone(),
            line(&entry.code, MAX_SHOWN),
            line(&entry.message, 80),
            entry.seen.to_string(),
            entry.last_seen.clone(),
        ]);
    }
    println!("{table}\n{} of {total}", entries.len());
}

/// Keys are the source's, and whatever it sends.
fn shown(text: Option<&str>) -> String {
    text.map_or_else(|| "(none)".to_owned(), |text| line(text, MAX_SHOWN))
}

fn print_entry(entry: &Entry, wire: &[u8]) -> anyhow::Result<()> {
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
        line(&entry.queue, MAX_SHOWN)
    );
    println!("  pipeline   {}, partition {partition}", entry.pipeline);
    println!("  key        {}", shown(entry.key.as_deref()));
    let code = line(&entry.code, MAX_SHOWN);
    println!("  failed     at {} with {code}", entry.stage);
    println!("  message    {}", line(&entry.message, MAX_SHOWN));
    println!("  field      {}", shown(entry.field.as_deref()));
    println!("  plugin     {plugin}");
    println!(
        "  seen       {} times, {} to {}",
        entry.seen, entry.first_seen, entry.last_seen
    );
    println!("  attempts   {}", entry.attempts);
    println!("  row        {} bytes as they came", wire.len());
    println!("{}", serde_json::to_string_pretty(&row_json(wire))?);
    Ok(())
}

/// A row for reading: vectors shortened to their first elements, texts to 500 characters.
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
        Some(Kind::Text(text)) => shortened(&text).into(),
        Some(Kind::Binary(bytes)) => json!({ "binary_bytes": bytes.len() }),
        Some(Kind::Timestamp(time)) => json!({ "seconds": time.seconds, "nanos": time.nanos }),
        Some(Kind::Texts(texts)) => texts.values.into(),
        Some(Kind::Json(text)) => serde_json::from_str(&text).unwrap_or_else(|_| text.into()),
    }
}

fn shortened(text: &str) -> String {
    match head(text, 500) {
        head if head.len() < text.len() => format!("{head}… ({} bytes)", text.len()),
        _ => text.to_owned(),
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
