//! Treatment of rows that a source no longer has, matched with the tables.

use uuid::Uuid;

use super::misfit::Misfit;
use super::table::Table;
use crate::config;
use crate::config::MissingPolicy;
use crate::source::Dataset;

/// Digest of a flagged row in `forebay.digest`: it equals no row's digest, so that a row that
/// comes back is written.
pub(crate) const FLAGGED: Uuid = Uuid::nil();

/// Treatment of rows that a source no longer has, in the tables of a pipeline.
#[derive(Debug, Clone, Default)]
pub struct Missing {
    /// Applies to all of them, or to none.
    pub treatment: Treatment,
    /// Maximum share of the rows written by the pipeline that one run may remove or flag;
    /// 0 to 100.
    pub limit_percent: f64,
    /// True if rows that did not come are missing even if the source says that it has more rows.
    pub is_allowed: bool,
}

/// Treatment of a missing row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Treatment {
    /// It stays as it is, and is not looked for.
    #[default]
    Keep,
    /// It is removed from all tables.
    Remove,
    /// It is marked in these columns, at least one.
    Flag(Vec<Flag>),
}

/// A column that marks rows that the source no longer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Schema and name, quoted for use in SQL.
    pub table: String,
    /// Not quoted.
    pub column: String,
    /// Type of its values.
    pub kind: FlagKind,
}

/// Type of a flag's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagKind {
    /// True for a row that the source no longer has.
    Boolean,
    /// Time since when the source does not have the row; null if it has.
    Time,
}

impl FlagKind {
    /// The type as in SQL.
    pub(super) fn type_sql(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Time => "timestamptz",
        }
    }
}

impl Missing {
    /// True if rows that the source no longer has are looked for.
    #[must_use]
    pub fn is_sought(&self) -> bool {
        self.treatment != Treatment::Keep
    }
}

/// Matches the configured treatment with dataset and tables. A column that holds the flag is
/// removed from `tables`, since no row feeds it.
pub fn bind(
    config: &config::Pipeline,
    dataset: &Dataset,
    tables: &mut [Option<Table>],
) -> (Missing, Vec<Misfit>) {
    let place = format!("pipelines.{}.missing", config.name);
    let mut misfits = Vec::new();
    let treatment = match &config.missing.policy {
        MissingPolicy::Keep => return (Missing::default(), misfits),
        MissingPolicy::Remove => Treatment::Remove,
        MissingPolicy::Flag(column) => {
            Treatment::Flag(flags(&place, column, config, dataset, tables, &mut misfits))
        }
    };
    if dataset.continues {
        misfits.push(Misfit {
            place,
            message: format!(
                "the dataset `{}` delivers changes: a row that does not arrive is not missing",
                config.source.dataset
            ),
            hint: "remove `missing`; such a source marks deleted rows (Row.deleted)".into(),
        });
    }
    let missing = Missing {
        treatment,
        limit_percent: config.missing.limit_percent,
        is_allowed: config.missing.is_allowed,
    };
    (missing, misfits)
}

fn flags(
    place: &str,
    column: &str,
    config: &config::Pipeline,
    dataset: &Dataset,
    tables: &mut [Option<Table>],
    misfits: &mut Vec<Misfit>,
) -> Vec<Flag> {
    let schema = &dataset.schema;
    let has = schema.column(column).is_some() || schema.embedding(column).is_some();
    if has && !config.rename.contains_key(column) || config.rename.values().any(|to| to == column) {
        misfits.push(Misfit {
            place: place.to_owned(),
            message: format!("`{column}` is fed by the dataset"),
            hint: "name a column that only Forebay writes".into(),
        });
        return Vec::new();
    }
    // A missing table is reported elsewhere, and may have the column.
    let is_certain = tables.iter().all(Option::is_some);
    let mut flags = Vec::new();
    for table in tables.iter_mut().flatten() {
        let Some(index) = table.columns.iter().position(|it| it.name == column) else {
            continue;
        };
        let found = table.columns.remove(index);
        let kind = match found.type_name.as_str() {
            "bool" if !found.required || found.has_default => Some(FlagKind::Boolean),
            "timestamptz" if !found.required => Some(FlagKind::Time),
            _ => None,
        };
        let is_key = table.primary_key.iter().any(|key| key == column);
        match kind.filter(|_| !is_key && !found.generated) {
            Some(kind) => flags.push(Flag {
                table: table.quoted.clone(),
                column: column.to_owned(),
                kind,
            }),
            None => misfits.push(Misfit {
                place: format!("{}.{column}", table.name),
                message: "cannot hold the flag of missing rows".into(),
                hint: "use `boolean not null default false` or a nullable `timestamptz`".into(),
            }),
        }
    }
    if flags.is_empty() && misfits.is_empty() && is_certain {
        misfits.push(Misfit {
            place: place.to_owned(),
            message: format!("no table has a column `{column}`"),
            hint: "add it as `boolean not null default false` or as a nullable `timestamptz`"
                .into(),
        });
    }
    flags
}
