//! Components that try to hurt the host. Each has one way in which that must end, and after
//! each the same engine still has a good plugin do its work.
//!
//! `README.md` beside these files lists them, and says how to run them under other limits.

#![allow(unreachable_pub, reason = "these modules are the test")]

mod answers;
mod calls;
mod catalog;
mod files;
mod grants;
mod host;
mod inspect;
mod kept;
mod packed;
mod shapes;
mod starts;

use std::fs;

use forebay::report::Usage;

use host::Host;

/// Every component of the catalog, one after the other in one host, which stays below 1 GiB.
#[test]
fn every_component_ends_as_the_table_says() {
    support::in_a_process_of_its_own(meet_every_component);
}

fn meet_every_component() {
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
        "the table of tests/sandbox/hostile/README.md has to be\n{table}"
    );
}
