//! `[database]`: the URL, and how the host uses the server.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::defaults;
use super::file;
use super::format::{duration, parse_duration};
use super::problems::Problems;
use super::secret::Secret;

/// Timeouts that the server accepts: whole milliseconds in 32 bits, of which 0 means no limit.
const TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 86_400);

/// How to reach a database. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    url: Secret,
    password: Option<Secret>,
}

/// The secrets of a [`DatabaseUrl`] as they are at a time.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// `postgres://…`
    pub url: String,
    /// In place of a password in `url`; not percent-encoded.
    pub password: Option<String>,
}

impl DatabaseUrl {
    /// The database of this URL.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self::of(Secret::Text(url))
    }

    /// The database of a URL that may be in a file.
    pub(super) fn of(url: Secret) -> Self {
        Self {
            url,
            password: None,
        }
    }

    /// With a password in place of that of the URL.
    pub(super) fn with_password(self, password: Option<Secret>) -> Self {
        Self { password, ..self }
    }

    /// The files that hold secrets, which may be renewed at any time.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let secrets = [Some(&self.url), self.password.as_ref()];
        secrets.into_iter().flatten().filter_map(Secret::file)
    }

    /// URL and password as they are now.
    ///
    /// # Errors
    /// If a file cannot be read; the message names it.
    pub fn read(&self) -> Result<Access, String> {
        let read = |secret: &Secret| match secret.read() {
            Ok(text) => Ok(text.into_owned()),
            Err(error) => {
                let path = secret.file().unwrap_or(Path::new(""));
                Err(format!("cannot read {}: {error}", path.display()))
            }
        };
        Ok(Access {
            url: read(&self.url)?,
            password: self.password.as_ref().map(read).transpose()?,
        })
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.url {
            Secret::Text(url) => f.write_str(&without_password(url)),
            Secret::File(path) => write!(f, "the URL in {}", path.display()),
        }
    }
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "…".to_owned();
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if query.contains('@') {
        // More likely a password that should have been percent-encoded.
        return format!("{scheme}://…");
    }
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user, |(name, _)| name);
            format!("{scheme}://{user}@{host}")
        }
        None => format!("{scheme}://{rest}"),
    }
}

/// What is said of a URL that lists several servers, as libpq takes them; `None` for one server.
#[must_use]
pub fn several_hosts(url: &str) -> Option<(&'static str, &'static str)> {
    let (_, rest) = url.split_once("://")?;
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let hosts = address.rsplit_once('@').map_or(address, |(_, hosts)| hosts);
    let hosts = hosts.split('/').next().unwrap_or_default();
    let has_list = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        matches!(name, "host" | "hostaddr" | "port") && value.replace("%2C", ",").contains(',')
    };
    (hosts.contains(',') || query.split('&').any(has_list)).then_some((
        "lists several servers, but Forebay connects to one",
        "name an address that follows the primary server, such as the writer endpoint of the \
         provider, or a proxy before them; a standby that answers there is waited for",
    ))
}

/// Settings of the host's database sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// Maximum number of connections; 2 or more.
    pub connections: u32,
    /// Maximum time of one statement; whole milliseconds.
    pub statement_timeout: Duration,
    /// Maximum time of waiting for one lock; whole milliseconds, less than `statement_timeout`.
    pub lock_timeout: Duration,
    /// Maximum time without a statement within a transaction; whole milliseconds.
    pub idle_in_transaction_timeout: Duration,
    /// `None` for the name in the URL, or else `forebay`.
    pub application_name: Option<String>,
}

impl Sessions {
    /// Name of the sessions where neither the configuration nor the URL has one.
    pub(crate) const APPLICATION_NAME: &'static str = defaults::APPLICATION_NAME;
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            connections: defaults::CONNECTIONS,
            statement_timeout: defaults::STATEMENT_TIMEOUT,
            lock_timeout: defaults::LOCK_TIMEOUT,
            idle_in_transaction_timeout: defaults::IDLE_IN_TRANSACTION_TIMEOUT,
            application_name: None,
        }
    }
}

/// Checks that the server accepts the timeouts, and that `lock_timeout` is the shorter one:
/// otherwise it would never be reached.
pub(super) fn check_timeouts(document: &Value, problems: &mut Problems<'_>) {
    let default = Sessions::default();
    let mut times = Vec::new();
    for (key, default) in [
        ("lock_timeout", default.lock_timeout),
        ("statement_timeout", default.statement_timeout),
        (
            "idle_in_transaction_timeout",
            default.idle_in_transaction_timeout,
        ),
    ] {
        let time = match document.pointer(&format!("/database/{key}")) {
            Some(value) => value.as_str().and_then(parse_duration),
            None => Some(default),
        };
        match time {
            Some(time) if !TIMEOUTS.contains(&time) => {
                let hint = "from \"1ms\" to \"24days\"";
                problems.add(&["database", key], "is out of range", Some(hint.into()));
                times.push(None);
            }
            time => times.push(time),
        }
    }
    if let [Some(lock), Some(statement), ..] = times.as_slice()
        && lock >= statement
    {
        problems.add(
            &["database", "lock_timeout"],
            "is not shorter than database.statement_timeout",
            Some("otherwise statement_timeout always ends the wait first".into()),
        );
    }
}

/// Checks URL and password against each other.
pub(super) fn check_url(document: &Value, problems: &mut Problems<'_>) {
    let key = |key: &str| document.pointer(&format!("/database/{key}"));
    let hint = || Some("keep one of them".to_owned());
    for name in ["url", "password"] {
        let file = format!("{name}_file");
        if key(name).is_some() && key(&file).is_some() {
            problems.add(
                &["database", &file],
                format!("`{name}` is given as well"),
                hint(),
            );
        }
    }
    let Some(url) = key("url").and_then(Value::as_str) else {
        return;
    };
    if let Some((message, hint)) = several_hosts(url) {
        problems.add(&["database", "url"], message, Some(hint.to_owned()));
    }
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let user = address.rsplit_once('@').map(|(user, _)| user);
    let has_password = user.is_some_and(|user| user.matches(':').count() > 1)
        || query.split('&').any(|it| it.starts_with("password="));
    for name in ["password", "password_file"] {
        if has_password && key(name).is_some() {
            let message = "`url` has a password as well";
            problems.add(&["database", name], message, hint());
        }
    }
}

/// The settings with their defaults.
pub(super) fn sessions(raw: file::Database) -> Sessions {
    let default = Sessions::default();
    Sessions {
        connections: raw.connections.unwrap_or(default.connections),
        statement_timeout: duration(raw.statement_timeout, default.statement_timeout),
        lock_timeout: duration(raw.lock_timeout, default.lock_timeout),
        idle_in_transaction_timeout: duration(
            raw.idle_in_transaction_timeout,
            default.idle_in_transaction_timeout,
        ),
        application_name: raw.application_name,
    }
}
