//! A validator and a policy in one plugin, for the tests of the sandbox. Rows say in
//! `company_name` what `validate` shall do with them, failures in their message what `decide`
//! shall.

wit_bindgen::generate!({
    inline: "
        package forebay-test:judge;
        world judge {
            include forebay:plugin/validator@0.1.0;
            include forebay:plugin/router@0.1.0;
        }
    ",
    path: "../../../wit",
    world: "forebay-test:judge/judge",
    generate_all,
});

use exports::forebay::plugin::dead_letter_policy::{self, Decision, Failure};
use exports::forebay::plugin::{describe, validate};
use forebay::plugin::embeddings;
use forebay::plugin::types::{Batch, Rejection, Row, Value};

struct Judge;
export!(Judge);

impl describe::Guest for Judge {
    fn describe() -> describe::Descriptor {
        describe::Descriptor {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reads: Some(vec!["no such column".to_owned(), "company_name".to_owned()]),
        }
    }

    fn configure(_config: Vec<(String, String)>) -> Result<(), String> {
        Ok(())
    }
}

impl validate::Guest for Judge {
    fn validate(batch: Batch) -> Result<Vec<Vec<Rejection>>, String> {
        let norms = embeddings::norms("vector");
        batch
            .rows
            .iter()
            .zip(norms)
            .map(|(row, norm)| judge(row, norm))
            .collect()
    }
}

fn judge(row: &Row, norm: f32) -> Result<Vec<Rejection>, String> {
    let rejection = |code: &str, message: String| Rejection {
        code: code.to_owned(),
        message,
        field: None,
    };
    let [Value::Text(what)] = row.values.as_slice() else {
        return Err(format!("{:?} where one text was expected", row.values));
    };
    Ok(match what.as_str() {
        "write" => {
            embeddings::normalize("vector");
            Vec::new()
        }
        "trap" => core::arch::wasm32::unreachable(),
        "norm" => vec![
            rejection("NORM", norm.to_string()),
            rejection("SECOND", "and more".to_owned()),
        ],
        _ => Vec::new(),
    })
}

impl dead_letter_policy::Guest for Judge {
    fn decide(failures: Vec<Failure>) -> Result<Vec<Decision>, String> {
        let mut decisions = Vec::new();
        for Failure {
            message,
            fields,
            attempt,
            ..
        } in failures
        {
            // The server's messages name the function that raised them, after what it said.
            let said = message.split(" (in ").next().unwrap_or_default();
            decisions.push(match said {
                "retry" => Decision::Retry(attempt * 10),
                "drop" => Decision::Drop,
                "halt" => Decision::Halt(format!("{fields:?}")),
                "trap" => core::arch::wasm32::unreachable(),
                "error" => return Err("cannot decide".to_owned()),
                "short" => continue,
                queue => Decision::DeadLetter(queue.to_owned()),
            });
        }
        Ok(decisions)
    }
}
