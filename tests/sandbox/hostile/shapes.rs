//! What a component can consist of: a few bytes that ask the compiler for hours or for all memory.

use super::catalog::{End, Hostile, hostile};

pub fn all() -> Vec<Hostile> {
    [copies(), types(), functions(), startups()]
        .into_iter()
        .flatten()
        .collect()
}

fn component(name: &'static str, tries: &'static str, text: &str, part: &'static str) -> Hostile {
    hostile(name, tries, &[("component", text)], End::Refused(part))
}

/// A module, instantiated so often.
fn module(text: &str, times: usize) -> String {
    let instances = "(core instance (instantiate $x))".repeat(times);
    format!("(core module $x {text}) {instances}")
}

fn copies() -> Vec<Hostile> {
    let instances = module("", 10_000);
    let mut nested = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..10 {
        let inner = format!("(instance (instantiate $c{}))", level - 1).repeat(10);
        nested += &format!(
            "(component $c{level} (alias outer 1 $c{} (component $c{})) {inner})",
            level - 1,
            level - 1
        );
    }
    nested += "(instance (instantiate $c9))";
    let globals = module(&"(global i64 (i64.const 0))".repeat(5_000), 90);
    let exports: String = (0..20_000)
        .map(|index| format!("(export \"{index}\" (func $f))"))
        .collect();
    let exports = module(&format!("(func $f) {exports}"), 90);
    let lowered = "(core func (canon lower (func $f)))".repeat(20_000);
    let lowered = format!(
        "(component $in (import \"f\" (func $f)) {lowered})
         (core module $m (func (export \"f\"))) (core instance $m (instantiate $m))
         (func $f (canon lift (core func $m \"f\"))) {}",
        "(instance (instantiate $in (with \"f\" (func $f))))".repeat(60)
    );
    vec![
        component(
            "instances",
            "consists of 10,000 core instances",
            &instances,
            "instances (`plugins.limits.instances`)",
        ),
        component(
            "instances-of-instances",
            "consists of a billion instances, in ten lines",
            &nested,
            "instances (`plugins.limits.instances`)",
        ),
        hostile(
            "instances-of-globals",
            "has 90 instances of 5,000 globals",
            &[("component", &globals)],
            End::Harmless("they take 7 MiB; two million would be too many"),
        ),
        component(
            "instances-of-exports",
            "has 90 instances of 20,000 exports",
            &exports,
            "items in all of its instances",
        ),
        component(
            "lowers",
            "has 60 instances of nothing but 20,000 adapters",
            &lowered,
            "items in all of its instances",
        ),
    ]
}

fn types() -> Vec<Hostile> {
    // Each has the one before it as an export.
    let chained: String = (1..1_000)
        .map(|index| {
            let before = index - 1;
            format!(
                "(type $t{index} (instance (alias outer 1 $t{before} (type))
                   (export \"x\" (instance (type 0)))))"
            )
        })
        .collect();
    let many: String = (0..20_000)
        .map(|index: u32| {
            let of_bit = |bit: u32| {
                if (index >> bit) & 1 == 0 {
                    "i32"
                } else {
                    "i64"
                }
            };
            let parameters: Vec<_> = (0..15).map(of_bit).collect();
            format!("(type (func (param {})))", parameters.join(" "))
        })
        .collect();
    vec![
        nested(
            "types-of-components",
            "has 2,000 types of components within each other",
            0x41,
        ),
        nested(
            "types-of-instances",
            "has 2,000 types of instances within each other",
            0x42,
        ),
        component(
            "types-chained",
            "has 1,000 types of which each refers to the one before",
            &format!("(type $t0 (instance)) {chained}"),
            "the compiler gave up on it",
        ),
        component(
            "types-many",
            "has 20,000 types, each of which takes time",
            &module(&many, 0),
            "types; at most",
        ),
    ]
}

/// Types within each other, which the text form does not allow, and nothing else.
fn nested(name: &'static str, tries: &'static str, kind: u8) -> Hostile {
    // One declaration within it, which is a type; the last one has none.
    let mut types = vec![1];
    types.extend([kind, 1, 1].repeat(2_000));
    types.extend([kind, 0]);
    let length = types.len();
    let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
    // In LEB128.
    bytes.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
    bytes.append(&mut types);
    Hostile {
        name,
        tries,
        bytes,
        end: End::Refused("levels of nested types"),
    }
}

fn functions() -> Vec<Hostile> {
    let branches = "(if (local.get 0) (then (local.set 0 (i32.const 1))))".repeat(200_000);
    let locals = "i32 ".repeat(2_000);
    let increments: String = (0..2_000)
        .map(|local| format!("local.get {local} i32.const 1 i32.add local.set {local} "))
        .collect();
    let leave = "i32.const 0 br_if 0";
    let nested = format!(
        "(func (local i32 i32) {} {leave} {})",
        "loop ".repeat(2_000),
        "end ".repeat(2_000)
    );
    let blocks = format!(
        "(func (local {locals}) {increments} {})",
        format!("loop {leave} end ").repeat(2_000)
    );
    let (values, zeros) = ("i32 ".repeat(1_000), "i32.const 0 ".repeat(1_000));
    let wide = format!(
        "(func $f (param {values}) (result {values}) unreachable)
         (func (result {values}) {zeros} {})",
        "call $f ".repeat(2_000)
    );
    let passed = "i32 ".repeat(50);
    let passing = format!(
        "(type $t (func (param {passed}) (result {passed})))
         (func (type $t) {} {})",
        (0..50)
            .map(|value| format!("local.get {value} "))
            .collect::<String>(),
        "loop (type $t) local.get 0 br_if 0 end ".repeat(2_000)
    );
    let sequence = format!(
        "(func (local i32) {})",
        "loop local.get 0 br_if 0 end ".repeat(20_000)
    );
    let large = |name, tries, text: &str, part| component(name, tries, &module(text, 0), part);
    vec![
        hostile(
            "function",
            "has a function of 2 MB, which would take gigabytes to compile",
            &[("core", &format!("(func (param i32) {branches})"))],
            End::Refused("bytes in a function"),
        ),
        large(
            "loops",
            "has 2,000 loops within each other",
            &nested,
            "levels of nested loops",
        ),
        large(
            "locals",
            "has a function of 2,000 loops and as many locals",
            &blocks,
            "blocks times locals",
        ),
        large(
            "loops-in-sequence",
            "has a function of 20,000 loops, one after the other",
            &sequence,
            "blocks times locals",
        ),
        large(
            "loops-with-values",
            "has 2,000 loops that pass on 50 values",
            &passing,
            "blocks times locals",
        ),
        large(
            "values",
            "has calls that take and return 1,000 values",
            &wide,
            "parameters and results in a function",
        ),
    ]
}

fn startups() -> Vec<Hostile> {
    let elements = "$f ".repeat(60_000);
    let table = |import: &str, offset: &str| {
        format!("{import} (func $f) (elem (offset {offset}) func {elements})")
    };
    let own = "(table 60000 funcref)";
    let imported = "(import \"m\" \"t\" (table 60000 funcref))";
    let sparse: String = (0..60_000)
        .map(|index| format!("(data (i32.const {}) \"a\")", 1_000 * index))
        .collect();
    let sum = "i32.const 1 i32.add ".repeat(30_000);
    let sum = format!("(global i32 i32.const 1 {sum})");
    let part = "elements, data segments and globals to initialize at startup";
    vec![
        component(
            "elements",
            "has 60,000 elements for a table of another module",
            &module(&table(imported, "i32.const 0"), 0),
            part,
        ),
        component(
            "elements-beyond",
            "has 60,000 elements for the end of a table",
            &module(&table(own, "i32.const 1"), 0),
            part,
        ),
        hostile(
            "elements-known",
            "has 60,000 elements that are known in advance",
            &[("component", &module(&table(own, "i32.const 0"), 0))],
            End::Harmless("they are laid out when it is compiled"),
        ),
        component(
            "data",
            "has 60,000 pieces of data, far apart",
            &module(&format!("(memory 1000) {sparse}"), 0),
            part,
        ),
        component(
            "globals",
            "has a global that is the sum of 30,000 numbers",
            &module(&sum, 0),
            part,
        ),
    ]
}
