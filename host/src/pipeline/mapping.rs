//! The mapping of a pipeline: shown, and remembered for the next run.

use super::prepare::Pipeline;
use crate::error::PipelineError;
use crate::route::Mapping;

impl Pipeline {
    /// What feeds each column of its tables.
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        self.targets.mapping(&self.dataset.schema)
    }

    /// Remembers the mapping: the next start refuses to run with less.
    ///
    /// # Errors
    /// If the database is away for too long, or fails.
    pub async fn remember_mapping(&self) -> Result<(), PipelineError> {
        let remembered = self.targets.remembered(&self.mapping());
        let (store, name) = (&self.host.store, &self.config.name);
        self.host
            .retrying(|| store.remember_mapping(name, &remembered))
            .await
    }
}
