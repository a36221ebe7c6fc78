//! `forebay load`: files into a table, without a configuration.
//!
//! It is the pipeline that a `forebay.toml` would have: what is started again goes on where it was,
//! and what has not changed is not written again.

mod written;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::written::Written;
use super::exit::{Exit, UsageError};
use super::global::Global;
use super::output::print_json;
use super::{mapping, nearest, run, screen, session, stop, summary};
use crate::config::{Config, DatabaseUrl, Sessions, database_url_from_environment};
use crate::files::KeyKind;
use crate::pipeline::Pipeline;
use crate::source::{Dataset, Format, Source};
use crate::store::catalog;
use crate::store::make::NewTable;

#[derive(Debug, clap::Args)]
pub(super) struct Load {
    /// Parquet, Arrow, JSON lines or CSV; also patterns, such as 'data/*.parquet'
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Table that the rows go to
    #[arg(long, value_name = "TABLE")]
    table: String,
    /// Column of the files that identifies a row
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    key: String,
    /// Make the table if it does not exist, with an index
    #[arg(long)]
    create: bool,
    /// Index of embeddings in a table that is made
    #[arg(long, value_enum, default_value_t = Index::Hnsw)]
    index: Index,
    /// Database; default: DATABASE_URL, or else an embedded PostgreSQL under .forebay/
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// A column of the files that has another name in the table
    #[arg(long, value_name = "COLUMN=NAME", value_parser = renamed)]
    rename: Vec<(String, String)>,
    /// Plugins from the directory `plugins`, in this order
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    plugins: Vec<String>,
    /// Write the pipeline to this file as well, for `forebay run` and `serve`
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "forebay.toml")]
    write_config: Option<PathBuf>,
}

/// Index of embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Index {
    /// HNSW for cosine distance, built after the rows are there
    Hnsw,
    /// None
    None,
}

/// What stands on both sides of the equals sign.
fn renamed(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.into(), to.into())),
        _ => Err("write COLUMN=NAME".into()),
    }
}

impl Load {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let written = self.written();
        let config = Arc::new(Config::parse(
            Path::new("forebay.toml"),
            &written.text(),
            &|_| None,
        )?);
        if let Some(path) = &self.write_config {
            written.refuse_existing(path)?;
        }
        let stop = stop::on_signal()?;
        // What is wrong with the files is said before a database is started.
        let dataset = dataset(&config).await?;
        let url = self.database.clone().map(DatabaseUrl::new);
        let database = session::Database::open_url(
            url.or_else(database_url_from_environment),
            &Sessions::default(),
            session::embedded_settings(global, Some(Path::new("."))),
            None,
            &stop,
        )
        .await?;
        let result = self.with(global, &config, &dataset, &database, &stop).await;
        database.close_after(&stop).await?;
        let exit = result?;
        if let Some(path) = &self.write_config {
            written.write(path)?;
            if !global.json {
                println!("  wrote {}", path.display());
            }
        }
        Ok(exit)
    }

    fn written(&self) -> Written<'_> {
        Written {
            files: &self.files,
            table: &self.table,
            key: &self.key,
            database: self.database.as_deref(),
            rename: &self.rename,
            plugins: &self.plugins,
        }
    }

    async fn with(
        &self,
        global: &Global,
        config: &Arc<Config>,
        dataset: &Dataset,
        database: &session::Database,
        stop: &CancellationToken,
    ) -> anyhow::Result<Exit> {
        let host = session::host(config, database).await?;
        self.make_table(global, dataset, database).await?;
        let Some(pipeline) = config.pipelines.first() else {
            return Ok(Exit::Usage);
        };
        let prepared = tokio::select! {
            prepared = Pipeline::prepare(&host, pipeline) => prepared?,
            () = stop.cancelled() => return Ok(Exit::Interrupted),
        };
        if !global.json {
            mapping::print(&prepared.mapping());
        }
        let (report, exit) = run::run_one(&pipeline.name, &prepared, stop).await?;
        if global.json {
            print_json(&report)?;
            return Ok(exit);
        }
        print!("{}", summary::text(&report, screen::columns()));
        if exit == Exit::Done {
            nearest::print_next(&self.table, database.is_embedded());
        }
        Ok(exit)
    }

    /// Makes the table if it is wanted, and says how if it is missing.
    async fn make_table(
        &self,
        global: &Global,
        dataset: &Dataset,
        database: &session::Database,
    ) -> anyhow::Result<()> {
        let names = std::slice::from_ref(&self.table);
        let found = catalog::read(database.store.pool(), names).await?;
        if found.iter().any(Option::is_some) {
            return Ok(());
        }
        let kind = match &dataset.format {
            Format::File(format) => format.key_kind,
            Format::Row | Format::Messages(_) => KeyKind::default(),
        };
        let rename: BTreeMap<String, String> = self.rename.iter().cloned().collect();
        let table = NewTable {
            name: &self.table,
            key: (&self.key, kind),
            schema: &dataset.schema,
            rename: &rename,
            indexed: self.index == Index::Hnsw,
        };
        let statements = table.statements().join(";\n").replace('\n', "\n    ");
        if !self.create {
            let table = &self.table;
            let message =
                format!("there is no table {table}\n  hint: --create makes it:\n    {statements}");
            return Err(UsageError(message).into());
        }
        database.store.make(&table).await?;
        if !global.json {
            println!("made:\n    {statements}");
        }
        Ok(())
    }
}

async fn dataset(config: &Config) -> anyhow::Result<Dataset> {
    let Some(pipeline) = config.pipelines.first() else {
        return Ok(Dataset::default());
    };
    Ok(Source::new(&pipeline.source, config.limits)
        .dataset()
        .await?)
}
