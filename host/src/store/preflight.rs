//! What a database is like to write into, looked at before the first row.
//!
//! It asks the catalog and the server's settings, a handful of queries in all, and changes
//! nothing. What must end in failure is an error, and is refused with everything else that does
//! not fit; what costs safety is a warning, what costs speed an advice. Where the server does not
//! show something, nothing is said about it.

mod indexes;
pub(super) mod room;
mod server;
mod tables;

use serde::Serialize;

use super::{Store, StoreError};
use crate::route::{Misfit, Table};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run would fail, or lose what it wrote.
    Error,
    /// Something may be lost, or fail later on.
    Warning,
    /// It would be faster otherwise, or is good to know.
    Advice,
}

/// Something about the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Such as `database` or `recruit_embedding.vector`.
    pub place: String,
    /// What is so.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Finding {
    fn new(
        severity: Severity,
        place: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            place: place.into(),
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl From<Finding> for Misfit {
    fn from(finding: Finding) -> Self {
        Self {
            place: finding.place,
            message: finding.message,
            hint: finding.hint,
        }
    }
}

/// A table that is to be written into.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// As configured.
    pub name: &'a str,
    /// `None` where there is none of that name that can be seen.
    pub table: Option<&'a Table>,
    /// The columns that are written, besides those of the primary key.
    pub columns: Vec<String>,
    /// Whether rows are deleted for sure.
    pub deletes: bool,
}

/// What a pipeline asks of its database.
#[derive(Debug, Clone)]
pub struct Demand<'a> {
    /// Its tables.
    pub tables: Vec<Wanted<'a>>,
    /// Connections that it holds at the same time, at most.
    pub connections: u32,
    /// What its rows take on disk if all are new, in bytes; 0 where that is not known.
    pub bytes: u64,
}

impl Store {
    /// Looks at the database before anything is written. The worst comes first.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn preflight(&self, demand: &Demand<'_>) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        // As of one moment, and on one connection of a pooler.
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let role = server::look(&mut transaction, &mut findings).await?;
        room::look(self, &mut transaction, demand, &role, &mut findings).await?;
        for wanted in &demand.tables {
            match wanted.table {
                Some(table) => {
                    tables::look(self, &mut transaction, wanted, table, &role, &mut findings)
                        .await?;
                    indexes::look(&mut transaction, table, &mut findings).await?;
                }
                None => {
                    let hidden = tables::hidden(&mut transaction, wanted.name, &role).await?;
                    findings.extend(hidden);
                }
            }
        }
        indexes::look_at_extension(&mut transaction, &demand.tables, &mut findings).await?;
        transaction.rollback().await?;
        findings.sort_by_key(|finding| finding.severity);
        Ok(findings)
    }
}
