//! What a component can have the host keep, while it looks for the row that makes it trap.

use support::component::{PACKED, PACKED_TRANSFORM};

use super::catalog::{End, Hostile, hostile};

/// Memory of the guest that is not used otherwise, and 1.5 MiB long.
const TEXT: &str = "(if (i32.lt_u (memory.size) (i32.const 48))
      (then (drop (memory.grow (i32.sub (i32.const 48) (memory.size))))))";

/// `title` at 3072.
const TITLE: &str = "(i64.store (i32.const 3072) (i64.const 0x656c746974))";

/// Stores these words from `at` on.
fn words(at: usize, words: &[&str]) -> String {
    let places = (at..).step_by(4).zip(words);
    let each = places.map(|(at, word)| format!("(i32.store (i32.const {at}) (i32.const {word}))"));
    each.collect()
}

pub fn all() -> Vec<Hostile> {
    // The first row of each call.
    let drops = words(1024, &["2", "0x180000", "0x180000"]);
    let sets = words(1024, &["1", "2048", "1"])
        + &words(2048, &["3072", "5", "4", "0", "0x180000", "0x180000"]);
    // Column, place, kind and word of one byte of the text.
    let packed = words(2048, &["3072", "5", "0", "0", "4", "0", "1", "0"])
        + &words(
            260,
            &[
                "2048", "1", "2056", "1", "2064", "1", "2072", "1", "0x180000", "0x180000",
            ],
        );
    let trap = ("evil", "unreachable");
    vec![
        hostile(
            "keep-reasons",
            "traps on a row, and drops others for reasons of 1.5 MiB",
            &[trap, ("answer", &format!("{TEXT} {drops}"))],
            End::Row("PLUGIN_TRAP", "unreachable"),
        ),
        hostile(
            "keep-values",
            "traps on a row, and sets fields of others to 1.5 MiB",
            &[trap, ("answer", &format!("{TEXT} {TITLE} {sets}"))],
            End::Broken("plugins.limits.output"),
        ),
        hostile(
            "keep-one-byte",
            "traps on a row, and sets fields of others to one byte of 1.5 MiB",
            &[
                ("role", PACKED_TRANSFORM),
                ("packed", PACKED),
                trap,
                ("answer", &format!("{TEXT} {TITLE} {packed}")),
            ],
            End::Broken("plugins.limits.output"),
        ),
    ]
}
