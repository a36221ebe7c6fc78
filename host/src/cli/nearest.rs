//! `forebay nearest`: a query by similarity, to try what was loaded.

use super::exit::{Exit, UsageError};
use super::global::Global;
use super::output::print_json;
use super::table::{Column, Table};
use super::{session, stop, words};
use crate::config::{DatabaseUrl, Sessions, database_url_from_environment};
use crate::plugin::{line, shortened};
use crate::route;
use crate::store::catalog;
use crate::store::nearest::{Neighbour, Search};

/// Maximum number of characters of a value of a row.
const MAX_VALUE: usize = 60;
/// Maximum number of characters of a row.
const MAX_ROW: usize = 400;

#[derive(Debug, clap::Args)]
pub(super) struct Nearest {
    /// Table of the rows
    #[arg(long, value_name = "TABLE")]
    table: String,
    /// Key of the row whose neighbours are wanted; default: the first one
    #[arg(long, value_name = "KEY")]
    of: Option<String>,
    /// Column of the vectors, if there are several
    #[arg(long, value_name = "COLUMN")]
    column: Option<String>,
    /// Maximum number of neighbours
    #[arg(long, default_value_t = 5, value_parser = words::count)]
    limit: u32,
    /// Database; default: DATABASE_URL, or else an embedded PostgreSQL under .forebay/
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

impl Nearest {
    pub(super) async fn execute(&self, global: &Global) -> anyhow::Result<Exit> {
        let config = session::config_if_any(global)?;
        let configured = match &config {
            Some(config) => config.database_url(),
            None => database_url_from_environment(),
        };
        let stop = stop::quietly()?;
        let directory = config.as_ref().map(|config| config.directory.as_path());
        let database = session::Database::open_url(
            self.database.clone().map(DatabaseUrl::new).or(configured),
            &Sessions::default(),
            session::embedded_settings(global, directory),
            None,
            &stop,
        )
        .await?;
        let result = tokio::select! {
            result = self.with(global, &database) => result,
            () = stop.cancelled() => Ok(Exit::Interrupted),
        };
        database.close_after(&stop).await?;
        result
    }

    async fn with(&self, global: &Global, database: &session::Database) -> anyhow::Result<Exit> {
        let store = &database.store;
        let names = std::slice::from_ref(&self.table);
        let tables = catalog::read(store.pool(), names).await?;
        let Some(table) = tables.into_iter().flatten().next() else {
            return Err(UsageError(format!("there is no table {}", self.table)).into());
        };
        let key = self.key(&table)?;
        let vector = self.vector(&table)?;
        let of = match &self.of {
            Some(of) => Some(of.clone()),
            None => store.any_key(&table, key, vector).await?,
        };
        let Some(of) = of else {
            return Err(UsageError(format!("{} has no vectors yet", self.table)).into());
        };
        let search = Search {
            table: &table,
            key,
            vector,
            of: &of,
            limit: self.limit,
        };
        let Some(neighbours) = store.nearest(&search).await? else {
            let message = format!("no row of {} has the key `{of}` and a vector", self.table);
            return Err(UsageError(message).into());
        };
        if global.json {
            print_json(&neighbours)?;
        } else {
            println!("nearest to {of}:\n{}", shown(&neighbours));
            println!("\nthe same in SQL:\n{}", search.statement());
        }
        Ok(Exit::Done)
    }

    /// The column that identifies a row.
    fn key<'t>(&self, table: &'t route::Table) -> Result<&'t str, UsageError> {
        let keys = std::iter::once(&table.primary_key).chain(&table.unique_keys);
        let mut single = keys.filter_map(|key| match key.as_slice() {
            [only] => Some(only.as_str()),
            _ => None,
        });
        single
            .next()
            .ok_or_else(|| UsageError(format!("{} has no key of one column", self.table)))
    }

    /// The column of the vectors.
    fn vector<'t>(&self, table: &'t route::Table) -> Result<&'t str, UsageError> {
        let is_vector =
            |column: &&route::Column| matches!(column.type_name.as_str(), "vector" | "halfvec");
        let columns = table.columns.iter().filter(is_vector);
        let columns: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
        let wanted = self.column.as_deref();
        let found = columns
            .iter()
            .find(|column| wanted.is_none_or(|wanted| wanted == **column));
        match (found, wanted) {
            (Some(column), _) => Ok(column),
            (None, Some(wanted)) => Err(words::unknown(
                "column of vectors",
                wanted,
                "there are",
                columns,
            )),
            (None, None) => Err(UsageError(format!(
                "{} has no column of vectors",
                self.table
            ))),
        }
    }
}

fn shown(neighbours: &[Neighbour]) -> Table<3> {
    let columns = [
        Column::number("distance"),
        Column::name("key"),
        Column::text("row"),
    ];
    let mut table = Table::new(columns).indented(2);
    for neighbour in neighbours {
        let distance = format!("{:.4}", neighbour.distance);
        table.row([distance, neighbour.key.clone(), row(neighbour)]);
    }
    table
}

/// The columns of a row that are not null, as `name: value`.
fn row(neighbour: &Neighbour) -> String {
    let members = neighbour.row.as_object().into_iter().flatten();
    let members = members.filter(|(_, value)| !value.is_null());
    let texts: Vec<String> = members
        .map(|(name, value)| {
            let text = match value.as_str() {
                Some(text) => text.to_owned(),
                None => value.to_string(),
            };
            format!("{name}: {}", shortened(&text, MAX_VALUE))
        })
        .collect();
    line(texts.join(", "), MAX_ROW)
}

/// Prints the commands to try after a load.
pub(super) fn print_next(table: &str, is_embedded: bool) {
    let forebay = std::env::args_os().next();
    let forebay = forebay.map_or_else(
        || "forebay".into(),
        |name| name.to_string_lossy().into_owned(),
    );
    println!("\nnext steps:");
    println!(
        "  {forebay} nearest --table {table}\n      the rows nearest to one of them, and the query in SQL"
    );
    if is_embedded {
        println!(
            "  {forebay} db url\n      the address of the database; `db start` keeps it running"
        );
    }
}
