//! Sorts failed rows into a queue for each stage.

// `println!`, `eprintln!` and `dbg!` go to the host's log.
#[allow(unused_imports)]
#[macro_use]
extern crate forebay_plugin;

use forebay_plugin::{Decision, Failure, NoColumns, Plugin, Policy, Settings};

const RETRY_AFTER_MS: u32 = 200;
/// Serialization failure, deadlock, lock not available: caused by other transactions.
const RETRYABLE: [&str; 3] = ["SQL_40001", "SQL_40P01", "SQL_55P03"];

struct Queues {
    retries: u32,
}

forebay_plugin::export!(Queues: policy);

impl Plugin for Queues {
    // The codes are enough. Columns declared here are in `failure.fields`.
    type Row<'a> = NoColumns<'a>;

    fn configure(settings: &mut Settings) -> Result<Self, String> {
        let retries = settings.parse("retries", "a whole number")?;
        Ok(Self {
            retries: retries.unwrap_or(3),
        })
    }
}

impl Policy for Queues {
    fn decide(&self, failure: &Failure) -> Decision {
        let retryable = RETRYABLE.contains(&failure.code.as_str());
        if retryable && failure.attempt <= self.retries {
            Decision::Retry(RETRY_AFTER_MS)
        } else {
            Decision::queue(&failure.stage)
        }
    }
}
