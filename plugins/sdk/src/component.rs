//! Implementation of [`export!`](crate::export).

use std::sync::OnceLock;

use crate::bindings::describe::exports::forebay::plugin::describe::Descriptor;
pub use crate::bindings::forebay::packed::types::{Batch, Changes, Fault};
pub use crate::columns::Row;
use crate::{Decision, Failure, Level, Plugin, Policy, Record, Rows, packed};
use crate::{Settings, Transform, Validate, log};

/// Position of a column, if the pipeline has it.
pub fn position(columns: &[String], name: &str) -> Option<usize> {
    columns.iter().position(|column| column == name)
}

/// Holds the plugin once it is configured. The host configures every instance before its first
/// batch.
pub struct Slot<P>(OnceLock<P>);

impl<P: Plugin> Slot<P> {
    /// Holds no plugin yet.
    #[expect(clippy::new_without_default, reason = "not const")]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// `describe`.
    pub fn describe(name: &str, version: &str) -> Descriptor {
        log_panics();
        let reads = <P::Row<'static> as Record<'static>>::READS;
        Descriptor {
            name: name.to_owned(),
            version: version.to_owned(),
            reads: reads.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        }
    }

    /// `configure`.
    pub fn configure(&self, config: Vec<(String, String)>) -> Result<(), String> {
        log_panics();
        let mut settings = Settings::new(config);
        let plugin = P::configure(&mut settings)?;
        settings.finish()?;
        self.0
            .set(plugin)
            .map_err(|_| "configured twice".to_owned())
    }

    fn get(&self) -> Result<&P, String> {
        self.0.get().ok_or_else(|| "not configured".to_owned())
    }
}

/// A panic traps, which would lose its message.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        log(Level::Error, &panic.to_string().replace('\n', " "));
    }));
}

impl<P: Transform> Slot<P> {
    /// `transform`.
    pub fn transform(&self, batch: &Batch) -> Result<Changes, String> {
        let outcomes = self.get()?.transform_batch(Rows::of(batch))?;
        one_per_row(outcomes.len(), batch)?;
        Ok(packed::changes(outcomes))
    }
}

impl<P: Validate> Slot<P> {
    /// `validate`.
    pub fn validate(&self, batch: &Batch) -> Result<Vec<Fault>, String> {
        let rejections = self.get()?.validate_batch(Rows::of(batch))?;
        one_per_row(rejections.len(), batch)?;
        let rows = (0..).zip(rejections);
        let faults = rows.flat_map(|(row, rejections)| {
            let rejections = rejections.into_iter();
            rejections.map(move |why| Fault { row, why })
        });
        Ok(faults.collect())
    }
}

/// Checks the number of answers. Only a plugin that implements a batch function can get it wrong.
fn one_per_row(answers: usize, batch: &Batch) -> Result<(), String> {
    let rows = batch.rows as usize;
    if answers == rows {
        Ok(())
    } else {
        Err(format!("answered with {answers} entries for {rows} rows"))
    }
}

impl<P: Policy> Slot<P> {
    /// `decide`.
    pub fn decide(&self, failures: &[Failure]) -> Result<Vec<Decision>, String> {
        let plugin = self.get()?;
        Ok(failures
            .iter()
            .map(|failure| plugin.decide(failure))
            .collect())
    }
}

/// Exports a plugin as a component with these roles: `transform`, `validate`, `policy`.
///
/// Its name and version are those of the Cargo package.
///
/// ```ignore
/// forebay_plugin::export!(Rules: validate);
/// forebay_plugin::export!(RowRules: transform, validate, policy);
/// ```
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($role:ident),+ $(,)?) => {
        const _: () = {
            static PLUGIN: $crate::component::Slot<$plugin> = $crate::component::Slot::new();
            struct Component;

            use $crate::bindings::describe::exports::forebay::plugin::describe;
            impl describe::Guest for Component {
                fn describe() -> describe::Descriptor {
                    $crate::component::Slot::<$plugin>::describe(
                        env!("CARGO_PKG_NAME"),
                        env!("CARGO_PKG_VERSION"),
                    )
                }

                fn configure(config: Vec<(String, String)>) -> Result<(), String> {
                    PLUGIN.configure(config)
                }
            }
            $crate::bindings::describe::export!(Component with_types_in $crate::bindings::describe);
            $($crate::__role!($role);)+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __role {
    (transform) => {
        impl $crate::bindings::transform::exports::forebay::packed::transform::Guest for Component {
            fn transform(
                batch: $crate::component::Batch,
            ) -> Result<$crate::component::Changes, String> {
                PLUGIN.transform(&batch)
            }
        }
        $crate::bindings::transform::export!(Component with_types_in $crate::bindings::transform);
    };
    (validate) => {
        impl $crate::bindings::validate::exports::forebay::packed::validate::Guest for Component {
            fn validate(
                batch: $crate::component::Batch,
            ) -> Result<Vec<$crate::component::Fault>, String> {
                PLUGIN.validate(&batch)
            }
        }
        $crate::bindings::validate::export!(Component with_types_in $crate::bindings::validate);
    };
    (policy) => {
        impl $crate::bindings::policy::exports::forebay::plugin::dead_letter_policy::Guest
            for Component
        {
            fn decide(
                failures: Vec<$crate::Failure>,
            ) -> Result<Vec<$crate::Decision>, String> {
                PLUGIN.decide(&failures)
            }
        }
        $crate::bindings::policy::export!(Component with_types_in $crate::bindings::policy);
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_answer_for_each_row() {
        let batch = Batch {
            columns: Vec::new(),
            rows: 2,
            cells: packed::none(),
        };
        assert_eq!(one_per_row(2, &batch), Ok(()));
        for answers in [1, 3] {
            let message = format!("answered with {answers} entries for 2 rows");
            assert_eq!(one_per_row(answers, &batch), Err(message));
        }
    }
}
