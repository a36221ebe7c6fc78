//! What a plugin prints, and what it says when it fails, reaches the log and the row, in the
//! ordinary build of each language's new project.

use std::fs;
use std::sync::Arc;

use forebay::demo::dataset::Dataset;
use forebay::demo::embedding_server;
use support::{Home, anywhere};

use crate::projects::{done, place, project, run, with_tools};

/// A row with this key makes the plugin fail, with this code and message.
type Failure<'a> = (&'a str, &'a str, &'a str);

/// Writes a project with these edits, and tests it with a row that passes and those that fail. The
/// log has to have these texts.
fn check(language: &str, edits: &[(&str, &str, &str)], failures: &[Failure<'_>], log: &[&str]) {
    let (place, path) = (place(&format!("words-{language}")), with_tools());
    project(&place, &path, (language, "validate"), edits);
    done(&place, &path, &["plugin", "build", "rules"]);

    let mut cases = String::new();
    let passes = ("good", "\"accept\"".to_owned());
    let fail = failures.iter().map(|(key, code, message)| {
        (
            *key,
            format!("{{ fails = {code:?}, message = {message:?} }}"),
        )
    });
    for (key, expect) in [passes].into_iter().chain(fail) {
        cases += &format!(
            "[[case]]\nname = {key:?}\n[[case.row]]\nkey = {key:?}\nfields = {{ title = \"a\" }}\n\
             expect = {expect}\n"
        );
    }
    fs::write(place.join("words.cases.toml"), cases).unwrap();
    let test = [
        "plugin",
        "test",
        "rules/dist/rules.wasm",
        "words.cases.toml",
    ];
    let ended = run(&place, &path, &test);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.err);
    for text in log {
        assert!(ended.err.contains(text), "no {text:?} in\n{}", ended.err);
    }
}

#[test]
fn h3_rust_is_heard() {
    let edit = "row: AllColumns<'_>) -> Vec<Rejection> {\n";
    let bugs = r#"
        println!("printed by {}", "rust");
        eprintln!("printed as an error");
        dbg!(1 + 1);
        match forebay_plugin::Record::key(&row) {
            "panic" => panic!("no such row"),
            "index" => drop(dbg!(Vec::<u8>::new()[row.cells().count()])),
            _ => {}
        }
"#;
    check(
        "rust",
        &[("src/lib.rs", edit, &format!("{edit}{bugs}"))],
        &[
            (
                "panic",
                "PLUGIN_TRAP",
                "panicked at src/lib.rs:33:24: no such row",
            ),
            (
                "index",
                "PLUGIN_TRAP",
                "panicked at src/lib.rs:34:50: index out of bounds",
            ),
        ],
        &[
            "printed by rust",
            "printed as an error",
            "[src/lib.rs:31] 1 + 1 = 2",
        ],
    );
}

#[test]
fn h3_python_is_heard() {
    let edit = "    @as_err\n    def validate(self, batch: Batch) -> list[list[Rejection]]:\n";
    let bugs = r#"    def validate(self, batch: Batch) -> list[list[Rejection]]:
        print("printed by python")
        match batch.rows[0].key:
            case "raise":
                raise ValueError("no such row")
            case "import":
                import decimal
            case "type":
                return [[Rejection(5, "", None)]]
        return self.guarded(batch)

    @as_err
    def guarded(self, batch: Batch) -> list[list[Rejection]]:
        if batch.rows[0].key == "err":
            import json
"#;
    let hint = "import it at the top of a file";
    check(
        "python",
        &[("src/plugin.py", edit, bugs)],
        &[
            (
                "raise",
                "PLUGIN_TRAP",
                "ValueError: no such row (plugin.py:35)",
            ),
            (
                "import",
                "PLUGIN_TRAP",
                &format!("No module named 'decimal' (plugin.py:37); {hint}"),
            ),
            (
                "type",
                "PLUGIN_TRAP",
                "a value it returned has the wrong type: PyErr { type: <class 'TypeError'>, value: TypeError(\"'int' object is not an instance of 'str'\")",
            ),
            (
                "err",
                "PLUGIN_ERROR",
                &format!("No module named 'json' (plugin.py:45); {hint}"),
            ),
        ],
        &[
            "printed by python",
            "File \"/0/plugin.py\", line 35, in validate",
        ],
    );
}

#[test]
fn h3_go_is_heard() {
    let edit = "func validate(batch types.Batch) ([][]types.Rejection, error) {\n";
    let bugs = r#"	fmt.Println("printed by go")
	switch batch.Rows[0].Key {
	case "panic":
		panic("no such row")
	case "index":
		_ = batch.Rows[len(batch.Rows)]
	case "goroutine":
		go func() { panic("elsewhere") }()
		<-make(chan int)
	}
"#;
    check(
        "go",
        &[("plugin.go", edit, &format!("{edit}{bugs}"))],
        &[
            ("panic", "PLUGIN_ERROR", "panic: no such row (plugin.go:54)"),
            (
                "index",
                "PLUGIN_ERROR",
                "panic: runtime error: index out of range [1] with length 1 (plugin.go:56)",
            ),
            (
                "goroutine",
                "PLUGIN_TRAP",
                "panic: elsewhere (plugin.go:58)",
            ),
        ],
        &["printed by go"],
    );
}

#[test]
fn h3_c_is_heard() {
    let edit = "    (void)error; // Nothing here can fail.\n";
    let bugs = r#"    (void)error;
    printf("printed by c\n");
    text key = batch->rows.ptr[0].key;
    assert(!text_equals(key, "assert"));
    if (text_equals(key, "fail")) fail("no such row: %.*s", TEXT(key));
    if (text_equals(key, "unfinished")) {
        fputs("last words", stderr);
        abort();
    }
"#;
    check(
        "c",
        &[
            (
                "src/plugin.c",
                "#include <string.h>",
                "#include <assert.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>",
            ),
            ("src/plugin.c", edit, bugs),
        ],
        &[
            (
                "assert",
                "PLUGIN_TRAP",
                "Assertion failed: !text_equals(key, \"assert\") (src/plugin.c: exports_forebay_plugin_validate_validate: 104)",
            ),
            ("fail", "PLUGIN_TRAP", "src/plugin.c:105: no such row: fail"),
            ("unfinished", "PLUGIN_TRAP", "last words (trapped"),
        ],
        &["printed by c", "WARN last words"],
    );
}

#[test]
fn h3_zig_is_heard() {
    let edit = "fn validate(batch: c.exports_forebay_plugin_validate_batch_t) !Answer {\n";
    let bugs = r#"    std.debug.print("printed by zig\n", .{});
    const key = support.items(support.items(batch.rows)[0].key);
    if (std.mem.eql(u8, key, "panic")) @panic("no such row");
    if (std.mem.eql(u8, key, "slice")) return error.NoSuchRow;
    if (std.mem.eql(u8, key, "safety")) std.debug.print("{s}", .{key[7..]});
"#;
    check(
        "zig",
        &[("src/plugin.zig", edit, &format!("{edit}{bugs}"))],
        &[
            ("panic", "PLUGIN_TRAP", "no such row"),
            ("slice", "PLUGIN_TRAP", "plugin.zig:59: error.NoSuchRow"),
            (
                "safety",
                "PLUGIN_TRAP",
                "start index 7 is larger than end index 6",
            ),
        ],
        &["printed by zig"],
    );
}

#[test]
fn h3_typescript_is_heard() {
    let edit = "  validate: ({ columns, rows }) => {\n";
    let bugs = r#"    console.log("printed by", "typescript", { rows: rows.length }, 1n);
    console.error("printed as an error");
    switch (rows[0]?.key) {
      case "throw":
        throw new Error("no such row");
      case "late":
        late();
      case "text":
        throw "a text";
      case "object":
        throw { code: 5 };
      case "json":
        JSON.parse("{");
      case "type":
        return [[{ code: 5 } as any]];
    }
"#;
    let end = "function isMissing";
    let late = "function late() {\n  throw new TypeError(\"too late\");\n}\n\n";
    check(
        "typescript",
        &[
            ("src/plugin.ts", edit, &format!("{edit}{bugs}")),
            ("src/plugin.ts", end, &format!("{late}{end}")),
            (
                "src/plugin.ts",
                "string[] = [];",
                "string[] = []; console.info(\"printed while it is built\");",
            ),
        ],
        &[
            (
                "throw",
                "PLUGIN_ERROR",
                "Error: no such row, at validate (src/plugin.ts:31)",
            ),
            (
                "late",
                "PLUGIN_ERROR",
                "TypeError: too late, at late (src/plugin.ts:52)",
            ),
            ("text", "PLUGIN_ERROR", "a text"),
            ("object", "PLUGIN_ERROR", "thrown: { code: 5 }"),
            ("json", "PLUGIN_ERROR", ", at validate (src/plugin.ts:39)"),
            (
                "type",
                "PLUGIN_ERROR",
                "validate returned a value of a wrong type: row \"type\": code: 5 is not a string",
            ),
        ],
        &[
            "printed by typescript { rows: 1 } 1n",
            "ERROR printed as an error",
            "INFO printed while it is built",
        ],
    );
}

/// A pipeline with such a plugin: the dead letter has the guest's words, and so has the log.
#[tokio::test]
async fn h3_words_reach_the_log_and_the_dead_letter() {
    let dataset = Dataset::new(400, 8).unwrap();
    let clean = (0..400).find(|row| dataset.dirt(*row).is_none()).unwrap();
    let guilty = dataset.row(clean).key;
    let (place, path) = (place("words-pipeline"), with_tools());
    let edit = "    rejections found = {0};\n";
    let bug = format!(
        "{edit}    if (text_equals(of->key, \"{guilty}\")) fail(\"no such row: %.*s\", TEXT(of->key));\n"
    );
    let edits = [("src/plugin.c", edit, bug.as_str())];
    project(&place, &path, ("c", "validate"), &edits);
    done(&place, &path, &["plugin", "build", "rules"]);

    let home = Home::recruit(8).await;
    let source = embedding_server::start(Arc::new(dataset), anywhere()).unwrap();
    let pipeline = format!(
        r#"
        [pipelines.recruit]
        source = {{ grpc = "{}", dataset = "recruit", chunk_rows = 100 }}
        plugins = ["rules"]
        tables = ["recruit_metadata", "recruit_embedding"]"#,
        source.url()
    );
    home.configure_with(&place.join("rules/dist"), "", &pipeline);
    let ended = home.run();
    let words = format!("src/plugin.c:86: no such row: {guilty}");
    assert!(ended.log.contains(&words), "{}", ended.log);
    let messages = format!("select message from forebay.dead_letter where key = '{guilty}'");
    let messages = home.database.texts(&messages).await;
    assert!(
        messages.len() == 1 && messages[0].starts_with(&words),
        "{messages:?}"
    );
    ended.done();
}
