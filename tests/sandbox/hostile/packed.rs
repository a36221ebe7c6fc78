//! What a component can answer in the packed form of a role, where rows, columns, kinds and spans
//! are numbers.

use support::component::{PACKED, PACKED_TRANSFORM, PACKED_VALIDATE};

use super::catalog::{End, Hostile, hostile};

const OUTPUT: &str = "PLUGIN_OUTPUT";
const TRAP: &str = "PLUGIN_TRAP";

/// The lists of an answer of `transform`, in their order.
const LISTS: [&str; 8] = [
    "columns", "places", "kinds", "words", "text", "binary", "items", "gone",
];

/// Where the answer has one of its lists, and how long that is.
fn list(name: &str, at: &str, length: &str) -> String {
    let index = LISTS.iter().position(|list| *list == name).unwrap();
    let slot = 260 + 8 * index;
    format!(
        "(i32.store (i32.const {slot}) (i32.const {at}))
         (i32.store (i32.const {}) (i32.const {length}))",
        slot + 4
    )
}

/// Sets `title` of this row and column to this kind of value with this word.
fn set(row: &str, column: &str, kind: &str, word: &str) -> String {
    // The name at 3072, and the list of names at 2048.
    let name = "(i64.store (i32.const 3072) (i64.const 0x656c746974))
        (i32.store (i32.const 2048) (i32.const 3072)) (i32.store (i32.const 2052) (i32.const 5))";
    let cell = format!(
        "(i32.store (i32.const 2056) (i32.const {column})) (i32.store (i32.const 2060) {row})
         (i32.store8 (i32.const 2064) (i32.const {kind}))
         (i64.store (i32.const 2072) (i64.const {word}))"
    );
    [
        name.to_owned(),
        cell,
        list("columns", "2048", "1"),
        list("places", "2056", "1"),
        list("kinds", "2064", "1"),
        list("words", "2072", "1"),
    ]
    .concat()
}

/// Sets `title` of the row.
fn title(kind: &str, word: &str) -> String {
    set("(local.get $row)", "0", kind, word)
}

/// Drops these rows: 24 bytes each, of which the first four are the row's number.
fn gone(rows: &[&str]) -> String {
    let each = (0..).step_by(24).zip(rows);
    let each = each.map(|(at, row)| format!("(i32.store (i32.const {}) {row})", 2048 + at));
    each.collect::<String>() + &list("gone", "2048", &rows.len().to_string())
}

/// `evil` as the whole text.
const EVIL: (&str, &str) = ("128", "4");

fn evil(name: &'static str, tries: &'static str, code: &str, end: End) -> Hostile {
    let parts = [
        ("role", PACKED_TRANSFORM),
        ("packed", PACKED),
        ("evil", code),
    ];
    hostile(name, tries, &parts, end)
}

fn invalid(name: &'static str, tries: &'static str, code: &str, part: &'static str) -> Hostile {
    evil(name, tries, code, End::Row(OUTPUT, part))
}

pub fn all() -> Vec<Hostile> {
    [numbers(), values(), validate()]
        .into_iter()
        .flatten()
        .collect()
}

fn numbers() -> Vec<Hostile> {
    let row = "(local.get $row)";
    vec![
        evil(
            "packed-good",
            "sets a title to null, in one piece",
            &title("0", "0"),
            End::Harmless("that is what it may do"),
        ),
        invalid(
            "packed-row-beyond",
            "sets a field of a row that is not there",
            &set("(i32.const 999)", "0", "0", "0"),
            "named row 999 of 1 rows",
        ),
        invalid(
            "packed-column-beyond",
            "sets a field of a column that it did not name",
            &set(row, "7", "0", "0"),
            "set column 7 of 1 named columns",
        ),
        invalid(
            "packed-short",
            "names a place without a value",
            &(title("0", "0") + &list("kinds", "0", "0")),
            "set 1 places with 0 kinds and 1 words",
        ),
        invalid(
            "packed-gone-twice",
            "lets a row go twice",
            &gone(&[row, row]),
            "twice or out of order",
        ),
        invalid(
            "packed-gone-beyond",
            "lets a row go that is not there",
            &gone(&["(i32.const 4294967295)"]),
            "named row 4294967295 of 1 rows",
        ),
        evil(
            "packed-gigantic",
            "answers with 536,870,911 places",
            &(title("0", "0") + &list("places", "2056", "536870911")),
            End::Row(TRAP, "out of bounds"),
        ),
    ]
}

fn values() -> Vec<Hostile> {
    let text = |length: &str| list("text", EVIL.0, length);
    // A thousand places with the words and kinds that are at 16384 and 32768.
    let thousand = |word: &str, kind: &str| {
        format!(
            "{} (memory.fill (i32.const 32768) (i32.const {kind}) (i32.const 1000))
             (loop $on
               (local.set $j (i32.mul (local.get $i) (i32.const 8)))
               (i64.store offset=4096 (local.get $j) (i64.const 0))
               (i32.store offset=4100 (local.get $j) (local.get $row))
               (i64.store offset=16384 (local.get $j) (i64.const {word}))
               (local.set $i (i32.add (local.get $i) (i32.const 1)))
               (br_if $on (i32.lt_u (local.get $i) (i32.const 1000))))
             (memory.fill (i32.const 65536) (i32.const 65) (i32.const 131072)) {} {} {}",
            title("0", "0"),
            list("places", "4096", "1000"),
            list("kinds", "32768", "1000"),
            list("words", "16384", "1000")
        )
    };
    vec![
        invalid(
            "packed-no-kind",
            "sets a value of a kind that is none",
            &title("9", "0"),
            "set a value of kind 9",
        ),
        invalid(
            "packed-text-beyond",
            "sets a text that is longer than all texts",
            &(title("4", "5") + &text("4")),
            "set a text of 5 bytes at 0, which is out of range or splits a character: there are 4 bytes",
        ),
        invalid(
            "packed-text-wraps",
            "sets a text that wraps around",
            &(title("4", "0xfffffffe00000004") + &text("4")),
            "set a text of 4 bytes at 4294967294",
        ),
        invalid(
            "packed-text-in-character",
            "sets a text that ends within a character",
            &("(i32.store (i32.const 128) (i32.const 0xa9c3a9c3))".to_owned()
                + &title("4", "3")
                + &text("4")),
            "set a text of 3 bytes at 0",
        ),
        evil(
            "packed-no-text",
            "has texts that are not UTF-8",
            &("(i32.store (i32.const 128) (i32.const 0xfffefffe))".to_owned()
                + &title("4", "4")
                + &text("4")),
            End::Row(TRAP, "utf-8"),
        ),
        invalid(
            "packed-binary-beyond",
            "sets bytes that are not there",
            &title("5", "0x0000000100000000"),
            "set 0 bytes at 1, which are out of range: there are 0 bytes",
        ),
        invalid(
            "packed-items-beyond",
            "sets a list of items that are not there",
            &title("8", "3"),
            "set 3 items at 0, which are out of range: there are 0 items",
        ),
        invalid(
            "packed-no-json",
            "sets a field to what is not JSON, in one piece",
            &(title("7", "4") + &text("4")),
            "to invalid JSON",
        ),
        invalid(
            "packed-unknown",
            "sets a field that nobody has, in one piece",
            &(title("0", "0")
                + "(i32.store (i32.const 2048) (i32.const 128))
                   (i32.store (i32.const 2052) (i32.const 4))"),
            "set the unknown field \"evil\"",
        ),
        invalid(
            "packed-aliased",
            "sets the same 128 KiB a thousand times",
            &(thousand("131072", "4") + &list("text", "65536", "131072")),
            "plugins.limits.output",
        ),
        invalid(
            "packed-items-aliased",
            "sets the same 16,384 items a thousand times",
            // What is read as items are spans of nothing.
            &(thousand("16384", "8")
                + "(memory.fill (i32.const 65536) (i32.const 0) (i32.const 131072))"
                + &list("items", "65536", "16384")),
            "plugins.limits.output",
        ),
    ]
}

fn validate() -> Vec<Hostile> {
    let faults = |rows: &[&str]| {
        // 32 bytes each: the row, code, message, and no field.
        let each = (0..).step_by(32).zip(rows);
        let each = each.map(|(at, row)| format!("(i32.store (i32.const {}) {row})", 2048 + at));
        let count = rows.len().to_string();
        each.collect::<String>() + &list("columns", "2048", &count)
    };
    let evil = |name, tries, code: &str, end| {
        let parts = [
            ("role", PACKED_VALIDATE),
            ("packed", PACKED),
            ("evil", code),
        ];
        hostile(name, tries, &parts, end)
    };
    vec![
        evil(
            "packed-fault-beyond",
            "finds fault with a row that is not there",
            &faults(&["(i32.const 999)"]),
            End::Row(OUTPUT, "named row 999 of 1 rows"),
        ),
        evil(
            "packed-fault-codeless",
            "finds two faults without a word in a row",
            &faults(&["(local.get $row)", "(local.get $row)"]),
            End::Row("REJECTED", ";"),
        ),
    ]
}
