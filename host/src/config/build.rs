//! The configuration with its defaults, from a file that has been checked.

use std::path::Path;
use std::str::FromStr;

use super::checked::{Config, IndexMode, Limits, Notify, Pipeline, Serve};
use super::database::DatabaseUrl;
use super::file::File;
use super::format::{duration, parse_duration, parse_percent, size};
use super::secret::secret;
use super::{auth, database, defaults, file, key, method, missing, plugins, roll_over, source};

/// The file with its defaults. The schema has accepted every text that is parsed here.
pub(super) fn build(path: &Path, file: File) -> Config {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let default = Limits::default();
    let database = &file.database;
    let (url, password) = (database.url.clone(), database.password.clone());
    let url = secret(directory, url, database.url_file.clone());
    Config {
        directory: directory.into(),
        database: url.map(DatabaseUrl::of),
        database_password: secret(directory, password, database.password_file.clone()),
        sessions: database::sessions(file.database),
        plugins: plugins::plugins(directory, file.plugins),
        limits: Limits {
            row: size(file.limits.row, default.row),
            chunk: size(file.limits.chunk, default.chunk),
            in_flight: size(file.limits.in_flight, default.in_flight),
            fields: file.limits.fields.map_or(default.fields, |it| it as usize),
            partitions: file
                .limits
                .partitions
                .map_or(default.partitions, |it| it as usize),
        },
        give_up_after: duration(file.retry.give_up_after, defaults::GIVE_UP_AFTER),
        stop_timeout: duration(file.retry.stop_timeout, defaults::STOP_TIMEOUT),
        serve: Serve {
            listen: parsed(file.serve.listen),
        },
        pipelines: file
            .pipelines
            .into_iter()
            .map(|(name, raw)| pipeline(directory, name, raw))
            .collect(),
    }
}

fn parsed<T: FromStr>(text: Option<String>) -> Option<T> {
    text.and_then(|text| text.parse().ok())
}

fn pipeline(directory: &Path, name: String, raw: file::Pipeline) -> Pipeline {
    // A minimum that stands alone is the maximum too.
    let writers = raw.writers.unwrap_or(defaults::WRITERS);
    let max_writers = raw
        .max_writers
        .or(raw.writers)
        .unwrap_or(defaults::MAX_WRITERS);
    let key = key::key(raw.key);
    let tables = raw.tables.or_else(|| method::tables(&raw.source));
    let tables = tables.unwrap_or_default();
    Pipeline {
        name,
        source: source::source(directory, raw.source, &key),
        plugins: raw.plugins,
        tables,
        rename: raw.rename,
        key,
        writers: writers as usize..=max_writers as usize,
        notify: raw.notify.map(|raw| Notify {
            grpc: raw.grpc,
            target: raw.target,
            every: raw.every.as_deref().and_then(parse_duration),
            auth: auth::auth(directory, raw.auth),
        }),
        missing: missing::missing(raw.missing, raw.missing_limit.as_deref()),
        dead_letter_limit_percent: raw
            .dead_letter_limit
            .as_deref()
            .and_then(parse_percent)
            .unwrap_or(defaults::DEAD_LETTER_LIMIT_PERCENT),
        index: match raw.index {
            None | Some(file::Index::Keep) => IndexMode::Keep,
            Some(file::Index::Defer) => IndexMode::Defer,
            Some(file::Index::DeferAlways) => IndexMode::DeferAlways,
            Some(file::Index::Rebuild) => IndexMode::Rebuild,
            Some(file::Index::RebuildFrozen) => IndexMode::RebuildFrozen,
        },
        index_memory: size(raw.index_memory, defaults::INDEX_MEMORY),
        roll_over: raw.roll_over.map(roll_over::roll_over),
        schedule: parsed(raw.schedule),
        settings: raw
            .settings
            .into_iter()
            .map(|(plugin, map)| (plugin, map.into_iter().collect()))
            .collect(),
    }
}
