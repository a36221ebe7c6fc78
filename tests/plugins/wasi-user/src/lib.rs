//! A transform that uses WASI as the runtimes of other languages do, for the tests of the
//! sandbox. It writes what it finds into each row's `company_name`, sleeps for a year before
//! it answers, and traps after a line on stderr on the key `trap`.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "forebay-test:wasi-user/user",
    generate_all,
});

use exports::forebay::plugin::{describe, transform};
use forebay::plugin::types::{Batch, Field, Outcome, Value};
use wasi::cli::{environment, stderr};
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::filesystem::preopens;
use wasi::io::poll;
use wasi::random::{insecure, insecure_seed, random};

const YEAR: u64 = 365 * 24 * 3600 * 1_000_000_000;

struct User;
export!(User);

impl describe::Guest for User {
    fn describe() -> describe::Descriptor {
        describe::Descriptor {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reads: Some(Vec::new()),
        }
    }

    /// Prints, because that is where a host can go wrong that loads plugins on a worker of an
    /// async runtime.
    fn configure(_config: Vec<(String, String)>) -> Result<(), String> {
        print("configured\n");
        Ok(())
    }
}

impl transform::Guest for User {
    fn transform(batch: Batch) -> Result<Vec<Outcome>, String> {
        sleep();
        let outcome = |key: &str| {
            if key == "trap" {
                print("Traceback\nValueError: no such row\n");
                core::arch::wasm32::unreachable();
            }
            let name = "company_name".to_owned();
            let value = Value::Text(surroundings());
            Outcome::Set(vec![Field { name, value }])
        };
        Ok(batch.rows.iter().map(|row| outcome(&row.key)).collect())
    }
}

fn sleep() {
    monotonic_clock::subscribe_duration(YEAR).block();
    let until = monotonic_clock::subscribe_instant(monotonic_clock::now() + YEAR);
    while poll::poll(&[&until]).is_empty() || !until.ready() {}
}

fn surroundings() -> String {
    format!(
        "{} {:?} {} {} {:?} {} {} {}",
        monotonic_clock::now(),
        wall_clock::now(),
        random::get_random_u64(),
        insecure::get_insecure_random_u64(),
        insecure_seed::insecure_seed(),
        environment::get_environment().len(),
        environment::get_arguments().len(),
        preopens::get_directories().len(),
    )
}

fn print(text: &str) {
    // Nobody to tell if the log is closed.
    drop(stderr::get_stderr().blocking_write_and_flush(text.as_bytes()));
}
