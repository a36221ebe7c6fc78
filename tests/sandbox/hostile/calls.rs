//! What a component can do during a call, and to the host's functions.

use support::component::{POLICY, VALIDATE};

use super::catalog::{End, Hostile, hostile};

const TRAP: &str = "PLUGIN_TRAP";

/// A hostile one that does this on its row.
fn evil(name: &'static str, tries: &'static str, code: &str, end: End) -> Hostile {
    hostile(name, tries, &[("evil", code)], end)
}

pub fn all() -> Vec<Hostile> {
    [resources(), embeddings(), logs(), roles()]
        .into_iter()
        .flatten()
        .collect()
}

fn resources() -> Vec<Hostile> {
    vec![
        evil("loop", "never comes back", "(loop $on (br $on))", End::Row("PLUGIN_DEADLINE", "did not answer before its deadline")),
        evil("trap", "traps", "unreachable", End::Row(TRAP, "unreachable")),
        evil("divide", "divides by zero", "(drop (i32.div_u (i32.const 1) (local.get $i)))", End::Row(TRAP, "divide by zero")),
        evil("wild-pointer", "reads beyond its memory", "(drop (i64.load (i32.const -8)))", End::Row(TRAP, "out of bounds memory access")),
        evil("wild-call", "calls through an empty table slot", "(call_indirect $hooks (i32.const 0))", End::Row(TRAP, "uninitialized element")),
        evil(
            "eat-memory",
            "takes memory until there is no more, and traps",
            "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
            End::Row("PLUGIN_MEMORY", "exceeded its memory limit"),
        ),
        evil(
            "hoard-memory",
            "takes memory until there is no more, and goes on",
            "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))",
            End::Row("PLUGIN_MEMORY", "exceeded its memory limit of 8 MiB (`plugins.limits.memory`): its answer is not believed"),
        ),
        hostile(
            "hoard-table",
            "makes a table larger until there is no more, and goes on",
            &[
                ("core", "(table $own 1 funcref)"),
                ("evil", "(loop $on (br_if $on (i32.ne (table.grow $own (ref.null func) (i32.const 4096)) (i32.const -1))))"),
            ],
            End::Row("PLUGIN_MEMORY", "exceeded its limit of 10000 table elements (`plugins.limits.table_elements`): its answer is not believed"),
        ),
        hostile(
            "hoard-declared",
            "asks for more memory than it declares, and goes on",
            &[
                ("core", "(memory $own 1 2)"),
                ("evil", "(drop (memory.grow $own (i32.const 2)))"),
            ],
            End::Row("PLUGIN_MEMORY", "exceeded the maximum that it declares"),
        ),
        evil(
            "hoard-beyond",
            "takes memory, a page and 4 GiB in turn, and goes on",
            "(loop $on (drop (memory.grow (i32.const 65536))) (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))",
            End::Row("PLUGIN_MEMORY", "its answer is not believed"),
        ),
        hostile(
            "eat-table",
            "makes a table larger until there is no more, and traps",
            &[
                ("core", "(table $own 1 funcref)"),
                ("evil", "(loop $on (br_if $on (i32.ne (table.grow $own (ref.null func) (i32.const 4096)) (i32.const -1)))) unreachable"),
            ],
            End::Row("PLUGIN_MEMORY", "exceeded its limit of 10000 table elements"),
        ),
        evil("recurse", "recurses without end", "(call $evil (local.get $row))", End::Row(TRAP, "call stack exhausted")),
        hostile(
            "recurse-wide",
            "recurses without end, with much on the stack and host functions in between",
            &[
                ("core", "(func $deep (param i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
                    (call $dimensions (i32.const 0) (i32.const 112) (i32.const 6) (i32.const 512))
                    (i64.add (local.get 0) (call $deep (local.get 7) (local.get 6) (local.get 5) (local.get 4)
                      (local.get 3) (local.get 2) (local.get 1) (local.get 0))))"),
                ("evil", "(drop (call $deep (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
                    (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8)))"),
            ],
            End::Row(TRAP, "call stack exhausted"),
        ),
        evil(
            "busy-host",
            "calls the host without end",
            "(loop $on (call $dimensions (i32.const 0) (i32.const 112) (i32.const 6) (i32.const 512)) (br $on))",
            End::Row(TRAP, "plugins.limits.host_calls"),
        ),
    ]
}

fn embeddings() -> Vec<Hostile> {
    let write = |count: &str| {
        format!(
            "(call $write (local.get $row) (i32.const 112) (i32.const 6) (i32.const 65536) (i32.const {count}))"
        )
    };
    let with_first = |bits: &str| {
        format!(
            "(i32.store (i32.const 65536) (i32.const {bits})) {}",
            write("8")
        )
    };
    vec![
        evil(
            "row-beyond",
            "reads the embedding of a row that does not exist",
            "(call $read (i32.const -1) (i32.const 112) (i32.const 6) (i32.const 512))",
            End::Row(TRAP, "row 4294967295 does not exist"),
        ),
        evil(
            "no-embedding",
            "reads an embedding that nobody has",
            "(call $read (local.get $row) (i32.const 128) (i32.const 4) (i32.const 512))",
            End::Row(TRAP, "no embedding is named \"evil\""),
        ),
        evil(
            "write-nan",
            "writes a NaN",
            &with_first("0x7fc00000"),
            End::Row(TRAP, "element 0 of the embedding written"),
        ),
        evil(
            "write-infinity",
            "writes an infinity",
            &with_first("0xff800000"),
            End::Row(TRAP, "is not finite"),
        ),
        evil(
            "write-nothing",
            "writes an embedding without elements",
            &write("0"),
            End::Row(TRAP, "has 1 to 16000 elements, not 0"),
        ),
        evil(
            "write-much",
            "writes more elements than pgvector stores",
            &write("16001"),
            End::Row(TRAP, "has 1 to 16000 elements, not 16001"),
        ),
        evil(
            "write-beyond",
            "writes from beyond its memory",
            &write("0x3fffffff"),
            End::Row(TRAP, "out of bounds"),
        ),
        evil(
            "write-short",
            "writes an embedding of another dimension",
            &write("3"),
            End::Harmless("the row is refused when it is matched with its tables"),
        ),
        evil(
            "write-forever",
            "writes embeddings without end",
            &format!("(loop $on {} (br $on))", write("16000")),
            End::Row(TRAP, "plugins.limits.output"),
        ),
        evil(
            "truncate-to-nothing",
            "truncates embeddings to no element",
            "(call $truncate (i32.const 112) (i32.const 6) (i32.const 0))",
            End::Row(TRAP, "truncated to 0 elements"),
        ),
        evil(
            "normalize-forever",
            "has the host compute without end",
            "(loop $on (call $normalize (i32.const 112) (i32.const 6)) (br $on))",
            End::Row(TRAP, "plugins.limits."),
        ),
        evil(
            "long-name",
            "gives a name of 192 KiB to be looked up",
            "(memory.fill (i32.const 65536) (i32.const 65) (i32.const 0x30000))
             (call $normalize (i32.const 65536) (i32.const 0x30000))",
            End::Row(TRAP, "no embedding is named"),
        ),
    ]
}

fn logs() -> Vec<Hostile> {
    let log = |level: &str, at: &str, len: &str| {
        format!("(call $log (i32.const {level}) (i32.const {at}) (i32.const {len}))")
    };
    vec![
        evil(
            "log-lines",
            "logs 5,000 lines",
            &format!(
                "(loop $on {} (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $on (i32.lt_u (local.get $i) (i32.const 5000))))",
                log("1", "128", "13")
            ),
            End::Harmless("the first 100 are written, the others counted"),
        ),
        evil(
            "log-forever",
            "logs without end",
            &format!("(loop $on {} (br $on))", log("1", "128", "13")),
            End::Row(TRAP, "plugins.limits.host_calls"),
        ),
        evil(
            "log-much",
            "logs 192 KiB a line without end",
            &format!(
                "(memory.fill (i32.const 65536) (i32.const 65) (i32.const 0x30000)) (loop $on {} (br $on))",
                log("3", "65536", "0x30000")
            ),
            End::Row(TRAP, "plugins.limits.output"),
        ),
        evil(
            "log-no-text",
            "logs what is not UTF-8",
            &format!(
                "(i32.store (i32.const 65536) (i32.const -1)) {}",
                log("1", "65536", "4")
            ),
            End::Row(TRAP, "utf-8"),
        ),
        evil(
            "log-beyond",
            "logs from beyond its memory",
            &log("1", "16", "0x7fffffff"),
            End::Row(TRAP, "out of bounds"),
        ),
        evil(
            "log-level",
            "logs at a level that is none",
            &log("77", "128", "13"),
            End::Row(TRAP, "discriminant"),
        ),
        evil(
            "log-terminal",
            "logs what would clear a terminal, and a line of its own",
            // ESC [2J, the end of the line, ERROR.
            &format!(
                "(i64.store (i32.const 65536) (i64.const 0x5252450a4a325b1b))
                 (i32.store (i32.const 65544) (i32.const 0x524f)) {}",
                log("2", "65536", "10")
            ),
            End::Harmless("control characters are replaced, lines are logged one by one"),
        ),
    ]
}

fn roles() -> Vec<Hostile> {
    vec![
        hostile(
            "validate-writes",
            "changes embeddings while it may only look",
            &[
                ("role", VALIDATE),
                ("evil", "(call $normalize (i32.const 112) (i32.const 6))"),
            ],
            End::Row(TRAP, "only be changed in transform"),
        ),
        hostile(
            "policy-loops",
            "never decides",
            &[("role", POLICY), ("decide", "(loop $on (br $on))")],
            End::DefaultQueue,
        ),
        hostile(
            "policy-traps",
            "traps instead of deciding",
            &[("role", POLICY), ("decide", "unreachable")],
            End::DefaultQueue,
        ),
        hostile(
            "policy-hoards",
            "takes all memory when it decides, and goes on",
            &[
                ("role", POLICY),
                (
                    "decide",
                    "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))",
                ),
            ],
            End::DefaultQueue,
        ),
        hostile(
            "policy-decides-little",
            "decides about one row less",
            &[
                ("role", POLICY),
                (
                    "decide",
                    "(i32.store (i32.const 264) (i32.sub (local.get $count) (i32.const 1)))",
                ),
            ],
            End::DefaultQueue,
        ),
        hostile(
            "policy-reads-embeddings",
            "asks for embeddings where there are none",
            &[
                ("role", POLICY),
                (
                    "decide",
                    "(call $norms (i32.const 112) (i32.const 6) (i32.const 512))",
                ),
            ],
            End::DefaultQueue,
        ),
    ]
}
