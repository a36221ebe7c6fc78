//! `forebay demo`: the whole way, on real parts, in one process.
//!
//! Everything but the sample servers is what production uses: the same pipeline, sandbox and
//! writer, and gRPC over a socket. The sample servers run on threads of their own, whose CPU
//! time is taken out of the report.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use pgvector::Vector;
use sqlx::AssertSqlSafe;

use super::output::{table, thousands};
use super::session::Database;
use super::{Exit, Global, UsageError, print_json, run, session, stop, summary};
use crate::config::{Config, Sessions, database_url_from_environment};
use crate::demo::dataset::Dataset;
use crate::demo::{api_server, embedding_server};
use crate::pipeline::Pipeline;
use crate::report::Report;

/// The tables, as the example has them.
const TABLES: &str = include_str!("../../../examples/recruit/tables.sql");

/// Any free port of this machine.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Rows the sample server has
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    rows: u64,
    /// Elements of each embedding, 1 to 16,000
    #[arg(long, default_value_t = 1536, value_name = "N")]
    dimensions: usize,
    /// Write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Where the three recruit plugins are, as `make plugins` builds them
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Begin anew: drop the demo's tables and forget its runs
    #[arg(long)]
    fresh: bool,
}

impl Demo {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let plugins = self.plugin_directory()?;
        let dataset = Arc::new(
            Dataset::new(self.rows, self.dimensions)
                .map_err(|error| UsageError(error.to_string()))?,
        );
        let stop = stop::on_signal()?;
        let say = |text: String| {
            if !global.json {
                println!("{text}")
            }
        };
        let url = database_url_from_environment();
        say(match &url {
            Some(url) => format!("database    {url}"),
            None => "database    an embedded PostgreSQL with pgvector, under .forebay/".into(),
        });
        let database = Database::open_url(
            url,
            &Sessions::default(),
            session::embedded_settings(global, Some(Path::new("."))),
            None,
        )
        .await?;
        let result = self
            .with(global, &database, &dataset, &plugins, &stop, &say)
            .await;
        database.close().await?;
        result
    }

    async fn with(
        &self,
        global: &Global,
        database: &Database,
        dataset: &Arc<Dataset>,
        plugins: &Path,
        stop: &tokio_util::sync::CancellationToken,
        say: &impl Fn(String),
    ) -> anyhow::Result<Exit> {
        self.make_tables(database).await?;
        let source = embedding_server::start(Arc::clone(dataset), LOOPBACK)?;
        let api = api_server::start(LOOPBACK)?;
        say(format!(
            "source      a sample embedding server at {}: {} job postings of {} dimensions, some of them dirty",
            source.url(),
            thousands(self.rows),
            thousands(self.dimensions as u64)
        ));
        say(format!("cache       a sample API server at {}", api.url()));
        let config = self.config(plugins, &source.url(), &api.url())?;
        let host = session::host(&config, database).await?;
        let pipeline = config
            .pipelines
            .first()
            .context("the demo's configuration has a pipeline")?;
        let prepared = Pipeline::prepare(&host, pipeline).await?;
        say(format!(
            "plugins     {}, from {}\n",
            names(&prepared).join(" ▸ "),
            plugins.display()
        ));

        let (mut report, exit) = run::run_one(&pipeline.name, &prepared, stop).await?;
        let received = api.received();
        api.stop()?;
        let servers = source.stop()?;
        let rows = report.this_start.received.max(1) as f64;
        report.cpu_microseconds_per_row =
            (report.cpu_microseconds_per_row - servers.as_secs_f64() * 1e6 / rows).max(0.0);
        if let Some(path) = &self.report {
            run::write_report(path, std::slice::from_ref(&report))?;
        }
        if global.json {
            print_json(&report)?;
            return Ok(exit);
        }
        print!("{}", summary::text(&report));
        for call in received {
            println!(
                "  the API server was told to drop `{}`: {} rows had changed",
                call.target,
                thousands(call.changed_rows)
            );
        }
        if exit == Exit::Done {
            show_neighbours(database).await?;
            say_what_next(&report, database);
        }
        Ok(exit)
    }

    /// Creates the example's tables where they are not there yet.
    async fn make_tables(&self, database: &Database) -> anyhow::Result<()> {
        let pool = database.store.pool();
        database.store.migrate().await?;
        if self.fresh {
            sqlx::raw_sql("drop table if exists recruit_embedding, recruit_metadata")
                .execute(pool)
                .await?;
            database.store.forget("recruit").await?;
        }
        // What does not fit into a page is left to the server to store elsewhere.
        let storage = if self.dimensions > 1_900 {
            "external"
        } else {
            "plain"
        };
        let column = format!("vector({}) storage {storage}", self.dimensions);
        let tables = TABLES.replace("vector(1536) storage plain", &column);
        sqlx::raw_sql(AssertSqlSafe(tables))
            .execute(pool)
            .await
            .context("cannot create the demo's tables")?;
        Ok(())
    }

    /// What a user would write into `forebay.toml`.
    fn config(&self, plugins: &Path, source: &str, api: &str) -> anyhow::Result<Arc<Config>> {
        let plugins = std::path::absolute(plugins)?;
        let text = format!(
            r#"
[plugins]
directory = {plugins:?}

[pipelines.recruit]
source = {{ grpc = "{source}", dataset = "recruit" }}
plugins = ["recruit-normalize", "recruit-rules", "recruit-dlq"]
tables = ["recruit_metadata", "recruit_embedding"]
notify = {{ grpc = "{api}", target = "recruit" }}
"#
        );
        Ok(Arc::new(Config::parse(
            Path::new("demo.toml"),
            &text,
            &|_| None,
        )?))
    }

    /// The directory given, or where `make plugins` puts them: `target/plugins` here, or beside
    /// the directory of this program.
    fn plugin_directory(&self) -> anyhow::Result<PathBuf> {
        if let Some(directory) = &self.plugins {
            return Ok(directory.clone());
        }
        let here = PathBuf::from("target/plugins");
        let program = std::env::current_exe().ok();
        let beside = program
            .as_deref()
            .and_then(Path::parent)
            .and_then(Path::parent)
            .map(|target| target.join("plugins"));
        [Some(here), beside].into_iter().flatten().find(|directory| directory.join("recruit-rules.wasm").is_file()).ok_or_else(|| {
            UsageError("the demo's plugins are not built\n  hint: run `make plugins`, or name their directory with --plugins".into()).into()
        })
    }
}

fn names(pipeline: &Pipeline) -> Vec<String> {
    pipeline
        .chain()
        .plugins()
        .map(|plugin| plugin.id().name.clone())
        .collect()
}

#[derive(sqlx::FromRow)]
struct Posting {
    id: uuid::Uuid,
    company_name: String,
    primary_keyword: Option<String>,
    exp_years: i32,
    english_level: Option<String>,
    vector: Vector,
}

#[derive(sqlx::FromRow)]
struct Neighbour {
    company_name: String,
    primary_keyword: Option<String>,
    exp_years: i32,
    english_level: Option<String>,
    distance: f64,
}

/// What the embeddings are for: the postings nearest to one.
async fn show_neighbours(database: &Database) -> anyhow::Result<()> {
    let pool = database.store.pool();
    let posting: Option<Posting> = sqlx::query_as(
        "select m.id, company_name, primary_keyword, exp_years, english_level, vector
         from recruit_metadata m join recruit_embedding e using (id)
         where english_level is not null order by m.id limit 1",
    )
    .fetch_optional(pool)
    .await?;
    let Some(posting) = posting else {
        return Ok(());
    };
    let neighbours: Vec<Neighbour> = sqlx::query_as(
        "select company_name, primary_keyword, exp_years, english_level, vector <=> $1 as distance
         from recruit_metadata m join recruit_embedding e using (id)
         where m.id <> $2 order by distance limit 5",
    )
    .bind(&posting.vector)
    .bind(posting.id)
    .fetch_all(pool)
    .await?;
    let mut lines = table(["company", "keyword", "years", "English", "cosine distance"]);
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".into());
    lines.add_row([
        posting.company_name.clone(),
        text(&posting.primary_keyword),
        posting.exp_years.to_string(),
        text(&posting.english_level),
        "this one".into(),
    ]);
    for neighbour in neighbours {
        lines.add_row([
            neighbour.company_name,
            text(&neighbour.primary_keyword),
            neighbour.exp_years.to_string(),
            text(&neighbour.english_level),
            format!("{:.4}", neighbour.distance),
        ]);
    }
    println!(
        "\nthe postings nearest to one of {}:\n{lines}",
        posting.company_name
    );
    Ok(())
}

/// Commands to try, with this program as it was called.
fn say_what_next(report: &Report, database: &Database) {
    let forebay = std::env::args().next().unwrap_or_else(|| "forebay".into());
    println!("\nwhat next:");
    if report.rows.inserted > 0 {
        println!("  {forebay} demo\n      again: nothing has changed, and nothing is written");
    }
    println!("  {forebay} dlq list\n      the dead letters; `dlq show ID` shows a row as it came");
    println!("  {forebay} checkpoint show recruit\n      how far the pipeline has come");
    if database.is_embedded() {
        println!("  {forebay} db psql\n      recruit_metadata and recruit_embedding for yourself");
    }
    println!("  examples/recruit/README.md\n      the same pipeline against servers of your own");
}
