//! Components that try to hurt the host. Each has one way in which that must end, and after
//! each the same engine still has a good plugin do its work.
//!
//! `tests/hostile/README.md` lists them, and says how to run them under other limits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(unreachable_pub, reason = "these modules are the test")]

mod plugin_support;

#[path = "support/isolation.rs"]
mod isolation;

#[path = "hostile/answers.rs"]
mod answers;
#[path = "hostile/calls.rs"]
mod calls;
#[path = "hostile/catalog.rs"]
mod catalog;
#[path = "hostile/component.rs"]
mod component;
#[path = "hostile/files.rs"]
mod files;
#[path = "hostile/grants.rs"]
mod grants;
#[path = "hostile/host.rs"]
mod host;
#[path = "hostile/inspect.rs"]
mod inspect;
#[path = "hostile/kept.rs"]
mod kept;
#[path = "hostile/packed.rs"]
mod packed;
#[path = "hostile/shapes.rs"]
mod shapes;
#[path = "hostile/starts.rs"]
mod starts;

use std::fs;

use forebay::report::Usage;

use host::Host;

/// Every component of the catalog, one after the other in one host, which stays below 1 GiB.
#[test]
fn every_component_ends_as_the_table_says() {
    let host = Host::new();
    let directory = host::directory();
    let mut wrong = Vec::new();
    for hostile in catalog::all() {
        let path = directory.join(format!("{}.wasm", hostile.name));
        fs::write(&path, &hostile.bytes).unwrap();
        let ended = host.meet(&path);
        if !ended.is(&hostile.end) {
            wrong.push(format!(
                "{}: {ended:?} and not {:?}",
                hostile.name, hostile.end
            ));
        }
        host.has_a_good_plugin_work();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // With the other tests, which run beside this one.
    let peak = Usage::now().peak_memory.unwrap();
    println!("the host took {} MiB at most", peak >> 20);
    assert!(peak < 1 << 30, "{peak} bytes");
}

/// The table of the README, as it has to be.
fn table() -> String {
    let row = |hostile: &catalog::Hostile| {
        format!(
            "| `{}` | {} | {} |",
            hostile.name, hostile.tries, hostile.end
        )
    };
    let rows: Vec<_> = catalog::all().iter().map(row).collect();
    format!(
        "| component | what it does | how that ends |\n| --- | --- | --- |\n{}\n",
        rows.join("\n")
    )
}

#[test]
fn the_readme_lists_every_component() {
    let readme = include_str!("hostile/README.md");
    let (_, rest) = readme.split_once("<!-- table -->\n").unwrap();
    let (listed, _) = rest.split_once("<!-- end -->").unwrap();
    let table = table();
    assert!(
        listed == table,
        "the table of tests/hostile/README.md has to be\n{table}"
    );
}
