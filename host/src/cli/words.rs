//! What is said about words of the command line that mean nothing: a name that nobody has, a number
//! that is none. A slip must not look like an empty result.

use super::exit::UsageError;
use super::session::Database;
use crate::config::{Config, closest};
use crate::plugin::line;

/// Maximum number of known names that a message lists.
const MAX_LISTED: usize = 20;
/// Maximum number of characters of a name.
const MAX_NAME: usize = 100;

/// The error for a name that is not among the known ones, with the one that was probably meant.
pub(super) fn unknown<'k>(
    kind: &str,
    name: &str,
    source: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> UsageError {
    let known: Vec<&str> = known.into_iter().collect();
    let listed: Vec<String> = known.iter().take(MAX_LISTED).map(|it| shown(it)).collect();
    let listed = match known.len() {
        0 => "none".to_owned(),
        n if n > MAX_LISTED => format!("{}, and {} more", listed.join(", "), n - MAX_LISTED),
        _ => listed.join(", "),
    };
    let hint = closest(name, known.iter().copied());
    let hint = hint.map(|meant| format!("\n  hint: did you mean `{}`?", shown(meant)));
    let name = shown(name);
    UsageError(format!(
        "unknown {kind} `{name}`; {source}: {listed}{}",
        hint.unwrap_or_default()
    ))
}

fn shown(name: &str) -> String {
    line(name, MAX_NAME)
}

/// Checks the name of a pipeline: it is in the configuration, or the database knows it.
pub(super) async fn known_pipeline(
    name: &str,
    config: Option<&Config>,
    database: &Database,
) -> anyhow::Result<()> {
    let configured = config.iter().flat_map(|config| &config.pipelines);
    let mut known: Vec<String> = configured.map(|it| it.name.clone()).collect();
    if known.iter().any(|it| it == name) {
        return Ok(());
    }
    known.extend(database.store.pipelines().await?);
    known.sort_unstable();
    known.dedup();
    match known.iter().any(|it| it == name) {
        true => Ok(()),
        false => Err(unknown("pipeline", name, "known", known.iter().map(String::as_str)).into()),
    }
}

/// Parses the id of a dead letter.
pub(super) fn id(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| {
        "it is not the number of a dead letter; `forebay dlq list` shows them".to_owned()
    })
}

/// Parses a number of things, of which there must be at least one.
pub(super) fn count(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("it is not a whole number from 1 to {}", u32::MAX))
}

/// Parses a number of rows.
pub(super) fn rows(text: &str) -> Result<u64, String> {
    let number = text.parse();
    number.map_err(|_| "it is not a whole number, such as 10000".to_owned())
}

/// Parses a number of dimensions; the dataset knows its bounds.
pub(super) fn dimensions(text: &str) -> Result<usize, String> {
    let number = text.parse();
    number.map_err(|_| "it is not a whole number, such as 1536".to_owned())
}

/// Parses an address to listen on.
pub(super) fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    let address = text.parse();
    address.map_err(|_| "it is not an IP address and a port, such as 127.0.0.1:9464".to_owned())
}
