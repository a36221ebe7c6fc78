//! The configuration with its defaults, from a file that has been checked.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::check::{CHUNK_ROWS, duration, size};
use super::file::File;
use super::{
    Canary, Config, DatabaseUrl, IndexMode, Limits, Notify, Pipeline, Plugins, Serve, Shadow,
    Source, database, file, missing, plugins,
};

/// The default of `index_memory`. An HNSW graph of 140,000 rows with 1,536 dimensions fits.
const INDEX_MEMORY: usize = 1 << 30;

/// The file with its defaults. The schema has accepted every text that is parsed here.
pub(super) fn build(path: &Path, file: File) -> Config {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let default = Limits::default();
    Config {
        directory: directory.into(),
        database: file.database.url.clone().map(DatabaseUrl),
        sessions: database::sessions(file.database),
        plugins: Plugins {
            directory: directory.join(file.plugins.directory.as_deref().unwrap_or("plugins")),
            limits: plugins::limits(file.plugins.limits),
            permissions: plugins::permissions(file.plugins.wasi, file.plugins.grants),
            canary: Canary {
                chunks: file.plugins.canary.chunks.unwrap_or(20),
                faults: file.plugins.canary.faults.unwrap_or(0.05),
            },
            shadow: file.plugins.shadow.map(|raw| Shadow {
                plugins: raw.plugins,
                promote_after: raw.promote_after,
                differences: raw.differences.unwrap_or_default(),
            }),
        },
        limits: Limits {
            row: size(file.limits.row, default.row),
            chunk: size(file.limits.chunk, default.chunk),
            in_flight: size(file.limits.in_flight, default.in_flight),
        },
        give_up_after: duration(file.retry.give_up_after, Duration::from_secs(300)),
        serve: Serve {
            listen: parsed(file.serve.listen),
        },
        pipelines: file
            .pipelines
            .into_iter()
            .map(|(name, raw)| pipeline(name, raw))
            .collect(),
    }
}

fn parsed<T: FromStr>(text: Option<String>) -> Option<T> {
    text.and_then(|text| text.parse().ok())
}

fn pipeline(name: String, raw: super::file::Pipeline) -> Pipeline {
    // One number alone pins.
    let chunk_rows = raw.source.chunk_rows.unwrap_or(CHUNK_ROWS);
    let joined = raw.source.chunk_rows.unwrap_or(4 * CHUNK_ROWS);
    let writers = raw.writers.unwrap_or(1);
    let max_writers = raw.max_writers.or(raw.writers).unwrap_or(4);
    Pipeline {
        name,
        source: Source {
            grpc: raw.source.grpc,
            dataset: raw.source.dataset,
            chunk_rows,
            max_chunk_rows: raw.source.max_chunk_rows.unwrap_or(joined),
        },
        plugins: raw.plugins,
        tables: raw.tables,
        rename: raw.rename,
        writers: writers as usize..=max_writers as usize,
        notify: raw.notify.map(|raw| Notify {
            grpc: raw.grpc,
            target: raw.target,
        }),
        missing: missing::missing(raw.missing, raw.missing_limit.as_deref()),
        index: match raw.index {
            None | Some(file::Index::Keep) => IndexMode::Keep,
            Some(file::Index::Defer) => IndexMode::Defer,
            Some(file::Index::DeferAlways) => IndexMode::DeferAlways,
            Some(file::Index::Rebuild) => IndexMode::Rebuild,
        },
        index_memory: size(raw.index_memory, INDEX_MEMORY),
        schedule: parsed(raw.schedule),
        settings: raw
            .settings
            .into_iter()
            .map(|(plugin, map)| (plugin, map.into_iter().collect()))
            .collect(),
    }
}
