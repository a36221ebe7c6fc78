//! `forebay demo`: a pipeline from source to API server, with all components in one process.
//!
//! Everything except the sample servers is what production uses: the same pipeline, sandbox and
//! writer, and gRPC over a socket. The sample servers run on threads of their own, whose CPU
//! time is not counted in the report.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use pgvector::Vector;
use sqlx::{AssertSqlSafe, Postgres, Transaction};

use super::exit::{Exit, UsageError};
use super::global::Global;
use super::output::{print_json, thousands};
use super::report_file::ReportFile;
use super::session::Database;
use super::table::{Column, Table};
use super::{run, screen, session, stop, summary, words};
use crate::config::{Config, Sessions, database_url_from_environment};
use crate::demo::dataset::Dataset;
use crate::demo::{api_server, embedding_server};
use crate::pipeline::Pipeline;
use crate::proto::InvalidateCacheRequest;
use crate::report::Report;
use crate::store::from_row;

/// SQL of the example's tables.
const TABLES: &str = include_str!("../../../examples/recruit/tables.sql");

/// Key of the advisory lock of a demo at work: any number that no other program locks.
const TURN: i64 = 0x0046_6f72_6544_656d;

/// Any free port on the loopback interface.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Number of rows of the sample server
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = words::rows)]
    rows: u64,
    /// Dimensions of the embeddings, 1 to 16,000
    #[arg(long, default_value_t = 1536, value_name = "N", value_parser = words::dimensions)]
    dimensions: usize,
    /// Write the report to this file as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Directory of the three recruit plugins, which `make plugins` builds
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Start afresh: drop the demo's tables and forget its runs
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
        if let Some(path) = &self.report {
            ReportFile::check(path)?;
        }
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
            &stop,
        )
        .await?;
        let result = self
            .with(global, &database, &dataset, &plugins, &stop, &say)
            .await;
        database.close_after(&stop).await?;
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
        let turn = tokio::select! {
            turn = wait_for_turn(database, say) => turn?,
            () = stop.cancelled() => return Ok(Exit::Interrupted),
        };
        self.make_tables(database).await?;
        let source = embedding_server::start(Arc::clone(dataset), LOOPBACK)?;
        let api = api_server::start(LOOPBACK)?;
        say(format!(
            "source      a sample embedding server at {}:\n            {} job postings with {} dimensions, some of them invalid",
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
        let prepared = tokio::select! {
            prepared = Pipeline::prepare(&host, pipeline) => prepared?,
            () = stop.cancelled() => return Ok(Exit::Interrupted),
        };
        say(format!(
            "plugins     {}, from {}\n",
            names(&prepared).join(" ▸ "),
            plugins.display()
        ));

        let (mut report, exit) = run::run_one(&pipeline.name, &prepared, stop).await?;
        turn.rollback().await.unwrap_or_default();
        let received = api.received();
        api.stop()?;
        let servers = source.stop()?;
        let rows = report.this_start.received.max(1) as f64;
        report.cpu_microseconds_per_row =
            (report.cpu_microseconds_per_row - servers.as_secs_f64() * 1e6 / rows).max(0.0);
        if let Some(path) = &self.report {
            let file = ReportFile::check(path)?;
            file.write(std::slice::from_ref(&report)).await?;
        }
        if global.json {
            print_json(&report)?;
            return Ok(exit);
        }
        show(&report, &received, exit, database).await?;
        Ok(exit)
    }

    /// Creates the example's tables unless they exist.
    async fn make_tables(&self, database: &Database) -> anyhow::Result<()> {
        let pool = database.store.pool();
        database.store.migrate().await?;
        if self.fresh {
            sqlx::raw_sql("drop table if exists recruit_embedding, recruit_metadata")
                .execute(pool)
                .await?;
            database.store.forget("recruit").await?;
        }
        // Vectors that do not fit into a page are stored out of line.
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

    /// The configuration, as a user would write it in `forebay.toml`.
    fn config(&self, plugins: &Path, source: &str, api: &str) -> anyhow::Result<Arc<Config>> {
        let text = format!(
            r#"
[pipelines.recruit]
source = {{ grpc = "{source}", dataset = "recruit" }}
plugins = ["recruit-normalize", "recruit-rules", "recruit-dlq"]
tables = ["recruit_metadata", "recruit_embedding"]
notify = {{ grpc = "{api}", target = "recruit" }}
"#
        );
        let mut config = Config::parse(Path::new("demo.toml"), &text, &|_| None)?;
        // A file holds only paths that are UTF-8.
        config.plugins.directory = std::path::absolute(plugins)?;
        Ok(Arc::new(config))
    }

    /// The directory of `--plugins`, or that of `make plugins`: `target/plugins` in the current
    /// directory, or `plugins` beside the directory of this program.
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
            UsageError("the demo's plugins are not built\n  hint: run `make plugins`, or set their directory with --plugins".into()).into()
        })
    }
}

/// Shows what the demo came to.
async fn show(
    report: &Report,
    received: &[InvalidateCacheRequest],
    exit: Exit,
    database: &Database,
) -> anyhow::Result<()> {
    print!("{}", summary::text(report, screen::columns()));
    for call in received {
        println!(
            "  the API server was told to drop its cache of `{}`: {} rows have changed",
            call.target,
            thousands(call.changed_rows)
        );
    }
    if exit == Exit::Done {
        show_neighbours(database).await?;
        print_next_steps(report, database);
    }
    Ok(())
}

/// Waits until no other demo is at work in the database: the tables and the pipeline are the same.
/// The turn ends with the transaction, however that ends.
async fn wait_for_turn(
    database: &Database,
    say: &impl Fn(String),
) -> anyhow::Result<Transaction<'static, Postgres>> {
    let mut turn = database.store.pool().begin().await?;
    sqlx::raw_sql(
        "set local idle_in_transaction_session_timeout = 0; set local statement_timeout = 0;
         set local lock_timeout = 0",
    )
    .execute(&mut *turn)
    .await?;
    let is_free: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(TURN)
        .fetch_one(&mut *turn)
        .await?;
    if !is_free {
        say("            another demo is at work in this database: waiting for its end".into());
        sqlx::query("select pg_advisory_xact_lock($1)")
            .bind(TURN)
            .execute(&mut *turn)
            .await?;
    }
    Ok(turn)
}

fn names(pipeline: &Pipeline) -> Vec<String> {
    pipeline
        .chain()
        .plugins()
        .map(|plugin| plugin.id().name.clone())
        .collect()
}

struct Posting {
    id: uuid::Uuid,
    company_name: String,
    primary_keyword: Option<String>,
    exp_years: i32,
    english_level: Option<String>,
    vector: Vector,
}

from_row!(Posting {
    id,
    company_name,
    primary_keyword,
    exp_years,
    english_level,
    vector
});

struct Neighbour {
    company_name: String,
    primary_keyword: Option<String>,
    exp_years: i32,
    english_level: Option<String>,
    distance: f64,
}

from_row!(Neighbour {
    company_name,
    primary_keyword,
    exp_years,
    english_level,
    distance
});

/// Shows an example of a query by similarity: the postings nearest to one of them.
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
    println!(
        "\nthe postings nearest to one of {}:\n{}",
        posting.company_name,
        table(&posting, &neighbours)
    );
    Ok(())
}

/// The posting itself, then its neighbours.
fn table(posting: &Posting, neighbours: &[Neighbour]) -> Table<5> {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".into());
    let mut table = Table::new([
        Column::text("company"),
        Column::name("keyword"),
        Column::number("years"),
        Column::name("English"),
        Column::number("cosine distance"),
    ])
    .indented(2);
    table.row([
        posting.company_name.clone(),
        text(&posting.primary_keyword),
        posting.exp_years.to_string(),
        text(&posting.english_level),
        "this one".into(),
    ]);
    for neighbour in neighbours {
        table.row([
            neighbour.company_name.clone(),
            text(&neighbour.primary_keyword),
            neighbour.exp_years.to_string(),
            text(&neighbour.english_level),
            format!("{:.4}", neighbour.distance),
        ]);
    }
    table
}

/// Prints commands to try next, with this program's name as it was called.
fn print_next_steps(report: &Report, database: &Database) {
    let forebay = std::env::args_os().next();
    let forebay = forebay.map_or_else(
        || "forebay".into(),
        |name| name.to_string_lossy().into_owned(),
    );
    println!("\nnext steps:");
    if report.rows.inserted > 0 {
        println!(
            "  {forebay} demo\n      run it again: nothing has changed, so nothing is written"
        );
    }
    println!("  {forebay} dlq list\n      the dead letters; `dlq show ID` shows a row as received");
    println!("  {forebay} checkpoint show recruit\n      the progress of the pipeline");
    if database.is_embedded() {
        println!("  {forebay} db psql\n      query recruit_metadata and recruit_embedding");
    }
    println!("  examples/recruit/README.md\n      the same pipeline with servers of your own");
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn neighbours_fit_the_screen() {
        let neighbour = |company: &str, keyword: Option<&str>, years, distance| Neighbour {
            company_name: company.into(),
            primary_keyword: keyword.map(str::to_owned),
            exp_years: years,
            english_level: Some("C1".into()),
            distance,
        };
        let posting = Posting {
            id: uuid::Uuid::nil(),
            company_name: "Schäfer & Söhne GmbH".into(),
            primary_keyword: Some("firmware".into()),
            exp_years: 6,
            english_level: None,
            vector: Vector::from(vec![0.0]),
        };
        let neighbours = [
            neighbour("株式会社渋谷システムズ", Some("firmware"), 5, 0.012_34),
            neighbour(
                "Société générale de logiciels embarqués et de services",
                Some("machine learning"),
                12,
                0.2,
            ),
            neighbour("Acme", None, 0, 1.0),
        ];
        assert_snapshot!(table(&posting, &neighbours).within(80), @"
        company                      keyword           years  English  cosine distance
        Schäfer & Söhne GmbH         firmware              6  –               this one
        株式会社渋谷システムズ       firmware              5  C1                0.0123
        Société générale de…         machine learning     12  C1                0.2000
        Acme                         –                     0  C1                1.0000
        ");
    }
}
