//! Begins with these roles: {{roles}}. They change nothing yet.

// `println!`, `eprintln!` and `dbg!` go to the host's log.
#[allow(unused_imports)]
#[macro_use]
extern crate forebay_plugin;

use forebay_plugin::{AllColumns, Plugin, Settings};
{{#transform}}
use forebay_plugin::{Outcome, Transform};
{{/transform}}
{{#validate}}
use forebay_plugin::{Rejection, Validate};
{{/validate}}
{{#policy}}
use forebay_plugin::{Decision, Failure, Policy};
{{/policy}}

struct Rules;

forebay_plugin::export!(Rules: {{roles}});

impl Plugin for Rules {
    // Fewer columns are faster: declare them with `forebay_plugin::columns!`.
    type Row<'a> = AllColumns<'a>;

    fn configure(_: &mut Settings) -> Result<Self, String> {
        Ok(Self)
    }
}
{{#transform}}

impl Transform for Rules {
    fn transform(&self, _row: AllColumns<'_>) -> Outcome {
        Outcome::Unchanged
    }
}
{{/transform}}
{{#validate}}

impl Validate for Rules {
    fn validate(&self, _row: AllColumns<'_>) -> Vec<Rejection> {
        Vec::new()
    }
}
{{/validate}}
{{#policy}}

impl Policy for Rules {
    fn decide(&self, failure: &Failure) -> Decision {
        Decision::queue(&failure.stage)
    }
}
{{/policy}}
