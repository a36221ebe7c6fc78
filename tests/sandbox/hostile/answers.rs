//! What a component can answer.

use super::catalog::{End, Hostile, hostile};

const TRAP: &str = "PLUGIN_TRAP";

/// Stores `value` at `at`.
fn store(at: &str, value: &str) -> String {
    format!("(i32.store align=1 (i32.const {at}) (i32.const {value}))")
}

/// The outcome of the row: 32 bytes, of which these words are set from the first on.
fn outcome(words: &[&str]) -> String {
    let word = |(index, value): (usize, &&str)| {
        format!(
            "(i32.store offset={} (i32.add (i32.const 1024) (i32.mul (local.get $row) (i32.const 32))) (i32.const {value}))",
            4 * index
        )
    };
    words.iter().enumerate().map(word).collect()
}

/// The row sets one field: its name, the kind of its value, and where its text is.
fn set(name: (&str, &str), kind: &str, text: (&str, &str)) -> String {
    let words = [name.0, name.1, kind, "0", text.0, text.1];
    let field: String = (0..)
        .zip(words)
        .map(|(i, word)| store(&(2048 + 4 * i).to_string(), word))
        .collect();
    field + &outcome(&["1", "2048", "1"])
}

/// Fills memory from 65536 on.
fn fill(byte: &str, len: &str) -> String {
    format!("(memory.fill (i32.const 65536) (i32.const {byte}) (i32.const {len}))")
}

fn evil(name: &'static str, tries: &'static str, code: &str, end: End) -> Hostile {
    hostile(name, tries, &[("evil", code)], end)
}

pub fn all() -> Vec<Hostile> {
    [lists(), values()].into_iter().flatten().collect()
}

fn lists() -> Vec<Hostile> {
    let of_rows = |change: &str| {
        format!("(i32.store (i32.const 264) ({change} (i32.load (i32.const 264)) (i32.const 1)))")
    };
    // 1,000 fields of 24 bytes whose texts are the same 128 KiB.
    let aliased = "(loop $on
        (local.set $j (i32.add (i32.const 8192) (i32.mul (local.get $i) (i32.const 24))))
        (i32.store (local.get $j) (i32.const 128)) (i32.store offset=4 (local.get $j) (i32.const 4))
        (i32.store offset=8 (local.get $j) (i32.const 4))
        (i32.store offset=16 (local.get $j) (i32.const 65536)) (i32.store offset=20 (local.get $j) (i32.const 131072))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $on (i32.lt_u (local.get $i) (i32.const 1000))))";
    vec![
        evil(
            "answer-long",
            "answers for a row that is not there",
            &of_rows("i32.add"),
            End::Row("PLUGIN_OUTPUT", "answered with 2 entries for 1 rows"),
        ),
        evil(
            "answer-short",
            "leaves out a row",
            &of_rows("i32.sub"),
            End::Row("PLUGIN_OUTPUT", "answered with 0 entries for 1 rows"),
        ),
        evil(
            "answer-gigantic",
            "answers with 2,147,483,648 outcomes",
            &store("264", "0x80000000"),
            End::Row(TRAP, "out of bounds"),
        ),
        evil(
            "answer-wraps",
            "answers with a list that wraps around memory",
            &(store("260", "0xffffffe0") + &store("264", "0x08000001")),
            End::Row(TRAP, "out of bounds"),
        ),
        evil(
            "answer-beyond",
            "answers with a list beyond its memory",
            &store("260", "0x7ffffff0"),
            End::Row(TRAP, "out of bounds"),
        ),
        evil(
            "answer-askew",
            "answers with a list that is not aligned",
            &store("260", "1025"),
            End::Row(TRAP, "not aligned"),
        ),
        evil(
            "answer-no-result",
            "answers neither `ok` nor `err`",
            &store("256", "7"),
            End::Row(TRAP, "discriminant"),
        ),
        evil(
            "answer-no-outcome",
            "answers with an outcome of a kind that is none",
            &outcome(&["9"]),
            End::Row(TRAP, "discriminant"),
        ),
        evil(
            "answer-aliased",
            "has the host copy the same 128 KiB a thousand times",
            &format!(
                "{} {aliased} {}",
                fill("65", "131072"),
                outcome(&["1", "8192", "1000"])
            ),
            End::Row(TRAP, "plugins.limits.output"),
        ),
        evil(
            "answer-error",
            "fails with a message of 192 KiB",
            &format!(
                "{} {} {} {}",
                fill("65", "0x30000"),
                store("256", "1"),
                store("260", "65536"),
                store("264", "0x30000")
            ),
            End::Row("PLUGIN_ERROR", "AAAA"),
        ),
    ]
}

fn values() -> Vec<Hostile> {
    vec![
        evil(
            "drop-no-text",
            "drops a row for a reason that is not UTF-8",
            &format!("{} {}", fill("255", "4"), outcome(&["2", "65536", "4"])),
            End::Row(TRAP, "utf-8"),
        ),
        evil(
            "drop-nul",
            "drops rows for reasons that PostgreSQL cannot store",
            &outcome(&["2", "0", "4"]),
            End::Harmless("the row is dropped; NUL is replaced"),
        ),
        evil(
            "set-unknown",
            "sets a field that nobody has",
            &set(("128", "4"), "4", ("128", "4")),
            End::Row("PLUGIN_OUTPUT", "set the unknown field \"evil\""),
        ),
        evil(
            "set-no-value",
            "sets a field to a kind of value that is none",
            &set(("128", "4"), "12", ("128", "4")),
            End::Row(TRAP, "discriminant"),
        ),
        evil(
            "set-no-json",
            "sets a field to what is not JSON",
            &format!("{} {}", TITLE, set(("3072", "5"), "7", ("128", "4"))),
            End::Row("PLUGIN_OUTPUT", "to invalid JSON"),
        ),
        evil(
            "set-deep-json",
            "sets a field to JSON of 50,000 lists within each other",
            &format!(
                "{TITLE} {} {} {}",
                fill("93", "100000"),
                fill("91", "50000"),
                set(("3072", "5"), "7", ("65536", "100000"))
            ),
            End::Harmless("it is checked without recursion; the database may refuse the row"),
        ),
    ]
}

/// Puts `title`, the name of a column, at 3072.
const TITLE: &str = "(i64.store (i32.const 3072) (i64.const 0x656c746974))";
