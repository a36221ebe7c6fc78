//! All checks of a preflight, in one transaction.

use super::demand::Demand;
use super::finding::Finding;
use super::{grants, indexes, resources, server, tables};
use crate::store::connect::Store;
use crate::store::error::StoreError;

impl Store {
    /// Checks the database before anything is written. The worst findings come first.
    ///
    /// # Errors
    /// Fails if the database cannot be queried.
    pub async fn preflight(&self, demand: &Demand<'_>) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        // In one transaction, which stays on one connection of a pooler.
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let role = server::check(&mut transaction, &mut findings).await?;
        resources::check(self, &mut transaction, demand, &role, &mut findings).await?;
        for wanted in &demand.tables {
            match wanted.table {
                Some(table) => {
                    tables::check(&mut transaction, wanted, table, &role, &mut findings).await?;
                    indexes::check(&mut transaction, table, &mut findings).await?;
                }
                None => {
                    let hidden = tables::hidden(&mut transaction, wanted.name, &role).await?;
                    findings.extend(hidden);
                }
            }
        }
        let names: Vec<&str> = demand
            .tables
            .iter()
            .filter_map(|wanted| Some(wanted.table?.quoted.as_str()))
            .collect();
        grants::check(&mut transaction, &names, &role, &mut findings).await?;
        indexes::check_extension(&mut transaction, &demand.tables, &mut findings).await?;
        transaction.rollback().await?;
        findings.sort_by_key(|finding| finding.severity);
        Ok(findings)
    }
}
