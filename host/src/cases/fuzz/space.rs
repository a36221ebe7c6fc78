//! The search space of rows: columns, settings, and samples to vary.

use std::sync::Arc;

use crate::cases::suite::{CaseFailure, CaseRow, Suite};
use crate::cases::{literal, parse};
use crate::plugin::{Plugin, Settings};
use crate::row::Schema;

/// Search space of rows.
#[derive(Clone, Debug)]
pub struct Space {
    /// Columns and embeddings of the rows.
    pub schema: Arc<Schema>,
    /// Settings to try in turn.
    pub settings: Vec<Settings>,
    /// Rows to vary.
    pub samples: Vec<CaseRow>,
    /// Failures to vary.
    pub failures: Vec<CaseFailure>,
}

impl Space {
    /// Combines the columns that a plugin reads or the cases name with the settings, rows and
    /// failures of the cases.
    #[must_use]
    pub fn of(plugin: &Plugin, suites: &[Suite], more: &[(String, String)]) -> Self {
        let mut schema = Schema::default();
        for suite in suites {
            for column in &suite.schema.columns {
                parse::add_column(&mut schema, &column.name, column.field_type);
            }
            for embedding in &suite.schema.embeddings {
                if schema.embedding(&embedding.name).is_none() {
                    schema.embeddings.push(embedding.clone());
                }
            }
        }
        for name in plugin.reads().unwrap_or_default() {
            parse::add_column(&mut schema, name, None);
        }
        if schema.columns.is_empty() && plugin.reads().is_none() {
            for (name, field_type) in literal::TYPES {
                parse::add_column(&mut schema, name, Some(field_type));
            }
        }
        let mut settings: Vec<Settings> = Vec::new();
        let (mut samples, mut failures) = (Vec::new(), Vec::new());
        for suite in suites {
            for case in suite.cases.iter().filter(|case| case.refused.is_none()) {
                let of_case = suite.settings(case, more);
                if !settings.contains(&of_case) {
                    settings.push(of_case);
                }
                samples.extend(case.rows.iter().cloned());
                failures.extend(case.failures.iter().cloned());
            }
        }
        if settings.is_empty() {
            settings.push(more.to_vec());
        }
        Self {
            schema: Arc::new(schema),
            settings,
            samples,
            failures,
        }
    }
}
