//! All three roles in one plugin: normalizes the texts of a posting, rejects postings that must
//! not be written, and sorts failed rows into queues.

mod normalize;
mod queues;
mod rules;

use forebay_plugin::{Decision, Failure, Outcome, Plugin, Policy, Rejection, Settings};
use forebay_plugin::{Transform, Validate};

use queues::Queues;
use rules::Rules;

forebay_plugin::columns! {
    struct Posting {
        company_name,
        exp_years,
        english_level,
        primary_keyword,
        title,
    }
}

struct RowRules {
    rules: Rules,
    queues: Queues,
}

forebay_plugin::export!(RowRules: transform, validate, policy);

impl Plugin for RowRules {
    type Row<'a> = Posting<'a>;

    fn configure(settings: &mut Settings) -> Result<Self, String> {
        Ok(Self {
            rules: Rules::configure(settings)?,
            queues: Queues::configure(settings)?,
        })
    }
}

impl Transform for RowRules {
    fn transform(&self, row: Posting<'_>) -> Outcome {
        normalize::outcome(&row)
    }
}

impl Validate for RowRules {
    fn validate(&self, row: Posting<'_>) -> Vec<Rejection> {
        self.rules.faults(&row)
    }
}

impl Policy for RowRules {
    fn decide(&self, failure: &Failure) -> Decision {
        self.queues.decide(failure)
    }
}
