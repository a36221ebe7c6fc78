//! The types that a project in TypeScript begins with say what the engine does; what they cannot
//! prevent is refused with words.

use std::fs;

use crate::projects::{done, place, project, run, with_tools};

const PLUGIN: &str = r#"
import type * as Describe from "forebay:plugin/describe@0.1.0";
import type * as Transform from "forebay:plugin/transform@0.1.0";
import type { Outcome, Value } from "forebay:plugin/types@0.1.0";
import { log } from "forebay:plugin/log@0.1.0";
import * as embeddings from "forebay:plugin/embeddings@0.1.0";

export const describe: typeof Describe = {
  describe: () => ({ name: "rules", version: "0.1.0", reads: ["n", "x"] }),
  configure() {},
};

export const transform: typeof Transform = {
  transform: ({ rows }) => rows.map(({ key, values }, row) => outcome(key, values[0], row)),
};

const set = (value: Value): Outcome => ({ tag: "set", val: [{ name: "x", value }] });

const wrong: Record<string, any> = {
  "a fraction": { tag: "integer", val: 1.5 },
  "NaN": { tag: "integer", val: NaN },
  "a bigint": { tag: "integer", val: 1n },
  "inexact": { tag: "integer", val: 2 ** 53 },
  "a late timestamp": { tag: "timestamp", val: -(2 ** 53) },
  "a number as text": { tag: "text", val: 5 },
  "no tag": { tag: "txt", val: "" },
  "no byte": { tag: "binary", val: [256] },
  "no list": { tag: "texts", val: ["a", 5] },
};

function outcome(key: string, n: Value | undefined, row: number): Outcome {
  switch (key) {
    case "next":
      // A number, which is equal to itself.
      if (n?.tag !== "integer" || n.val === 0) return { tag: "unchanged" };
      return set({ tag: "integer", val: n.val + 1 });
    case "timestamp":
      return n?.tag === "timestamp" ? set({ tag: "timestamp", val: n.val + 1 }) : { tag: "unchanged" };
    case "embedding": {
      const vector: number[] = embeddings.read(row, "e");
      const norms: number[] = embeddings.norms("e");
      embeddings.write(row, "e", vector.map((element) => element * norms[row]!));
      log("info", `absent: ${embeddings.dimensions(row, "absent")}`);
      return { tag: "unchanged" };
    }
    case "ignored":
      return set({ tag: "integer", val: 1 });
    case "undefined":
      return undefined as any;
    case "a promise":
      return Promise.resolve({ tag: "unchanged" }) as any;
    case "no code":
      return { tag: "reject", val: { message: "why" } as any };
    default:
      return set(wrong[key]);
  }
}
"#;

const CASES: &str = r#"
[[case]]
name = "integers are numbers"
[[case.row]]
key = "next"
fields = { n = 9007199254740990, x = 0 }
expect = { set = { x = 9007199254740991 } }
[[case.row]]
key = "next"
fields = { n = 0, x = 0 }
expect = "accept"
[[case.row]]
key = "timestamp"
fields = { n = 2026-01-31T12:00:00Z, x = 0 }
expect = { set = { x = 2026-01-31T12:00:00.000001Z } }

[[case]]
name = "lists of numbers are arrays"
[[case.row]]
key = "embedding"
fields = { n = 0 }
embeddings = { e = [3.0, 4.0], absent = [1.0] }
expect = { set = {}, embeddings = { e = [15.0, 20.0] } }

[[case]]
name = "an integer that is not exact is refused if it is read"
[[case.row]]
key = "next"
fields = { n = 9007199254740993, x = 0 }
expect = { fails = "PLUGIN_ERROR", message = 'RangeError: column "n" has the integer 9007199254740992 or one near it: beyond ±(2^53 - 1), a number in TypeScript is not exact, at outcome (src/plugin.ts:34)' }
[[case.row]]
key = "ignored"
fields = { n = -9223372036854775808, x = 0 }
expect = { set = { x = 1 } }
[[case.row]]
key = "timestamp"
fields = { n = 2300-01-01T00:00:00Z, x = 0 }
expect = { fails = "PLUGIN_ERROR", message = 'RangeError: column "n" has the timestamp' }
"#;

/// Keys of rows whose answers are wrong, and what is said of them.
const WRONG: [(&str, &str); 12] = [
    (
        "a fraction",
        "1.5 is not an integer number within ±(2^53 - 1)",
    ),
    ("NaN", "NaN is not an integer number within ±(2^53 - 1)"),
    ("a bigint", "1n is not an integer number within ±(2^53 - 1)"),
    (
        "inexact",
        "9007199254740992 is not an integer number within ±(2^53 - 1)",
    ),
    (
        "a late timestamp",
        "-9007199254740992 is not an integer number within ±(2^53 - 1)",
    ),
    ("a number as text", "5 is not a string"),
    (
        "no tag",
        r#"{ tag: "txt", val: "" } is not a value: its tag is one of none, boolean, integer, real, text, binary, timestamp, json, texts"#,
    ),
    ("no byte", "[256] is not a Uint8Array"),
    ("no list", "5 is not a string"),
    (
        "undefined",
        "undefined is not an outcome: its tag is one of unchanged, set, drop, reject",
    ),
    (
        "a promise",
        "a Promise (functions of a plugin cannot be async) is not an outcome",
    ),
    ("no code", "code: undefined is not a string"),
];

#[test]
fn h2_types_say_what_the_engine_does() {
    let (place, path) = (place("engine"), with_tools());
    project(&place, &path, ("typescript", "transform"), &[]);
    fs::write(place.join("rules/src/plugin.ts"), PLUGIN.trim_start()).unwrap();
    done(&place, &path, &["plugin", "build", "rules"]);
    let mut cases = CASES.to_owned();
    for (key, message) in WRONG {
        let field = match key {
            "undefined" | "a promise" | "no code" => "",
            _ => "field \"x\": ",
        };
        let message =
            format!("transform returned a value of a wrong type: row {key:?}: {field}{message}");
        cases += &format!(
            "[[case]]\nname = {key:?}\n[[case.row]]\nkey = {key:?}\nfields = {{ n = 0, x = 0 }}\n\
             expect = {{ fails = \"PLUGIN_ERROR\", message = {message:?} }}\n"
        );
    }
    fs::write(place.join("engine.cases.toml"), cases).unwrap();
    let test = [
        "plugin",
        "test",
        "rules/dist/rules.wasm",
        "engine.cases.toml",
    ];
    done(&place, &path, &test);
}

/// What cannot be is found by the compiler, and a missing export by the build.
#[test]
fn h2_types_refuse_what_the_engine_does_not_take() {
    let (place, path) = (place("types"), with_tools());
    let edits = [(
        "src/plugin.ts",
        "value: { tag: \"none\" }",
        "value: { tag: \"integer\", val: 1n }",
    )];
    project(&place, &path, ("typescript", "transform"), &edits);
    let build = ["plugin", "build", "rules"];
    let refused = run(&place, &path, &build);
    assert_eq!(refused.code, Some(1));
    let said = "Type 'bigint' is not assignable to type 'number'";
    assert!(refused.err.contains(said), "{}", refused.err);

    let plugin = "export const describe = { describe: () => ({ name: \"a\", version: \"1\" }), configure() {} };";
    fs::write(place.join("rules/src/plugin.ts"), plugin).unwrap();
    let refused = run(&place, &path, &build);
    assert_eq!(refused.code, Some(1));
    let said = "src/plugin.ts exports no `transform` with a function `transform`";
    assert!(refused.err.contains(said), "{}", refused.err);
}
