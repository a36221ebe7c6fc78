//! Plugins of every released version of the interface work in today's host.
//!
//! `tests/compatibility/VERSION/` has components as they were built for that version of
//! `forebay:plugin`, the interface they were built for, and what they answered;
//! `tests/compatibility/packed-VERSION/` has the same of `forebay:packed`. Nothing there ever
//! changes; see the READMEs there, and `wit/README.md` for what may change in `wit/`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use forebay::plugin::{Chain, Engine, Limits, Plugin, Runner};
use forebay::row::{
    Batch, Column, EmbeddingColumn, Embeddings, Failure, FieldType, Schema, Stage, Value, Vector,
};
use sha2::{Digest, Sha256};
use support::root;

/// Components that use all that there is, in either form.
const WITNESSES: [&str; 2] = [
    "tests/compatibility/0.1.0/witness.wasm",
    "tests/compatibility/packed-0.1.0/witness.wasm",
];

/// Rows that are given in one call. The witness does with a row what its key says.
const KEYS: &[&str] = &[
    "plain",
    "echo",
    "drop",
    "reject",
    "measure",
    "write",
    "invalid",
    "normalize",
    "truncate",
];

/// The row of a call that fails as a whole. Alone: how the host looks for a guilty row among
/// others is not a matter of the interface.
const ERROR: &[&str] = &["error"];

/// Columns that every row has a value for, of every type; the witness answers in `out_*`.
const TYPES: [(&str, FieldType); 8] = [
    ("boolean", FieldType::Boolean),
    ("integer", FieldType::Integer),
    ("real", FieldType::Real),
    ("text", FieldType::Text),
    ("binary", FieldType::Binary),
    ("timestamp", FieldType::Timestamp),
    ("texts", FieldType::Texts),
    ("json", FieldType::Json),
];

/// The released versions: `tests/compatibility/VERSION`.
fn releases() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join("tests/compatibility"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn components(release: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(release)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no components in {}", release.display());
    found
}

fn engine() -> Arc<Engine> {
    let limits = Limits {
        // None of these is slow; a busy machine may be.
        deadline: Duration::from_secs(10),
        ..Limits::default()
    };
    Engine::new(limits, None).unwrap()
}

/// An interface without its comments and layout: what a component depends on.
fn bare(wit: &str) -> String {
    let lines = wit
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ").replace("package ", "\npackage ")
}

/// A package of the interface.
struct Package {
    name: &'static str,
    /// What it consists of now.
    file: &'static str,
    /// Of the directories of its releases; the version follows.
    prefix: &'static str,
}

const PACKAGES: [Package; 2] = [
    Package {
        name: "plugin",
        file: "wit/plugin.wit",
        prefix: "",
    },
    Package {
        name: "packed",
        file: "wit/packed/packed.wit",
        prefix: "packed-",
    },
];

impl Package {
    fn version(&self, wit: &str) -> String {
        let wit = bare(wit);
        let (_, rest) = wit
            .split_once(&format!("package forebay:{}@", self.name))
            .unwrap();
        rest.split(';').next().unwrap().to_owned()
    }

    /// The interface as it is in the directory of this version.
    fn released(&self, version: &str) -> String {
        let directory = format!("{}{version}", self.prefix);
        let file = Path::new("tests/compatibility")
            .join(directory)
            .join(format!("{}.wit", self.name));
        fs::read_to_string(root().join(&file)).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; a new version needs plugins of that version there",
                file.display()
            )
        })
    }
}

/// An interface that has been released is what plugins were built for.
#[test]
fn a_released_interface_never_changes() {
    for release in releases() {
        let directory = release.file_name().unwrap().to_str().unwrap();
        let [plugin, packed] = &PACKAGES;
        let (package, version) = match directory.strip_prefix(packed.prefix) {
            Some(version) => (packed, version),
            None => (plugin, directory),
        };
        let wit = package.released(version);
        assert_eq!(package.version(&wit), version, "in {directory}");
    }
    for package in PACKAGES {
        let now = fs::read_to_string(root().join(package.file)).unwrap();
        let version = package.version(&now);
        assert_eq!(
            bare(&now),
            bare(&package.released(&version)),
            "{} is no longer what was released as {version}: give it another version",
            package.file
        );
    }
}

#[test]
fn released_components_are_those_that_were_committed() {
    for release in releases() {
        let mut sums = String::new();
        for component in components(&release) {
            let digest = Sha256::digest(fs::read(&component).unwrap());
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let name = component.file_name().unwrap().to_str().unwrap();
            writeln!(sums, "{hex}  {name}").unwrap();
        }
        let committed = fs::read_to_string(release.join("SHA256SUMS")).unwrap();
        assert_eq!(sums, committed, "in {}", release.display());
    }
}

/// Every component of every version loads, describes itself, accepts and refuses settings, and
/// answers as it did when it was committed.
#[test]
fn released_plugins_answer_as_they_did() {
    let engine = engine();
    for release in releases() {
        let answers: String = components(&release)
            .iter()
            .map(|component| transcript(&engine.load(component).unwrap()))
            .collect();
        let recorded = fs::read_to_string(release.join("answers.txt")).unwrap_or_default();
        if answers != recorded {
            let now = Path::new(env!("CARGO_TARGET_TMPDIR")).join("answers.txt");
            fs::write(&now, &answers).unwrap();
            panic!(
                "plugins of {} do not answer as they did; compare answers.txt with {}",
                release.display(),
                now.display()
            );
        }
    }
}

/// What a plugin is and answers.
fn transcript(plugin: &Arc<Plugin>) -> String {
    let mut text = String::new();
    let (id, roles) = (plugin.id(), plugin.roles());
    let (name, version, reads) = (&id.name, &id.version, plugin.reads());
    writeln!(text, "# {name} {version}: {roles}; reads {reads:?}").unwrap();
    let refused = ("refuse".to_owned(), "not today".to_owned());
    match Chain::new(vec![(Arc::clone(plugin), vec![refused])]) {
        Ok(_) => writeln!(text, "takes the setting `refuse`").unwrap(),
        Err(errors) => writeln!(text, "{}", errors[0]).unwrap(),
    }
    let mut runner = runner(plugin);
    let after = write_rows(&mut text, &mut runner);
    write_decisions(&mut text, &mut runner, &after);
    text.push('\n');
    text
}

fn runner(plugin: &Arc<Plugin>) -> Runner {
    let chain = Chain::new(vec![(Arc::clone(plugin), Vec::new())]).unwrap();
    chain.runner(&schema())
}

/// What becomes of all rows; the batch after the last call.
fn write_rows(text: &mut String, runner: &mut Runner) -> Batch {
    let schema = schema();
    let [_, last] = [ERROR, KEYS].map(|keys| {
        let mut batch = batch(&schema, keys);
        runner.run(&mut batch).unwrap();
        write_batch(text, keys, &batch);
        batch
    });
    last
}

/// The two witnesses do the same, one in rows and one in one piece.
#[test]
fn both_forms_of_a_role_mean_the_same() {
    let engine = engine();
    let [rows, packed] = WITNESSES.map(|witness| {
        let plugin = engine.load(&root().join(witness)).unwrap();
        let mut text = String::new();
        write_rows(&mut text, &mut runner(&plugin));
        text
    });
    assert_eq!(packed, rows);
}

fn schema() -> Arc<Schema> {
    let column = |name: String, field_type| Column { name, field_type };
    let ins = TYPES.map(|(name, ty)| column(format!("in_{name}"), Some(ty)));
    let outs = TYPES.map(|(name, _)| column(format!("out_{name}"), None));
    let none = ["in_none", "out_none"].map(|name| column(name.to_owned(), None));
    let recruit = ["company_name", "english_level", "primary_keyword", "title"]
        .map(|name| column(name.to_owned(), Some(FieldType::Text)));
    let years = column("exp_years".to_owned(), Some(FieldType::Integer));
    Arc::new(Schema {
        columns: ins
            .into_iter()
            .chain(outs)
            .chain(none)
            .chain(recruit)
            .chain([years])
            .collect(),
        embeddings: vec![EmbeddingColumn {
            name: "vector".to_owned(),
            dimensions: 3,
        }],
    })
}

fn batch(schema: &Arc<Schema>, keys: &'static [&'static str]) -> Batch {
    let text = |text: &'static str| Value::Text(ByteString::from_static(text));
    let mut batch = Batch {
        schema: Arc::clone(schema),
        keys: keys.iter().copied().map(ByteString::from_static).collect(),
        values: vec![Value::Null; keys.len() * schema.columns.len()],
        embeddings: Embeddings {
            width: 1,
            vectors: vec![Some(vector(&[3.0, 4.0, 12.0])); keys.len()],
        },
        live: (0..).take(keys.len()).collect(),
        ..Batch::default()
    };
    batch.embeddings.vectors[0] = Some(vector(&[0.0, f32::INFINITY, 1.0]));
    let recruit = [
        ("Acme", "B2", "golang", "Engineer"),
        ("  Acme\u{a0} Labs ", "C1", "Rust", "Engineer"),
        ("Acme", "fluent", "Rust", "[TEST] Engineer"),
        ("", "??", "", "Engineer"),
    ];
    for row in 0..keys.len() {
        let (company, level, keyword, title) = recruit[row % recruit.len()];
        let years = Value::Integer([3, -1, 61][row % 3]);
        for (name, value) in [
            ("in_boolean", Value::Boolean(true)),
            ("in_integer", Value::Integer(i64::MIN)),
            ("in_real", Value::Real(-0.5)),
            ("in_text", text("ґ 日本 \u{1f980}")),
            ("in_binary", Value::Binary(Bytes::from_static(&[0, 255]))),
            ("in_timestamp", Value::Timestamp(1_700_000_000_000_001)),
            ("in_texts", Value::Texts(vec!["a".into(), "".into()])),
            ("in_json", Value::Json(r#"{"a": [1, null]}"#.into())),
            ("company_name", text(company)),
            ("english_level", text(level)),
            ("primary_keyword", text(keyword)),
            ("title", text(title)),
            ("exp_years", years),
        ] {
            let column = schema.column(name).unwrap();
            batch.row_mut(u32::try_from(row).unwrap())[column] = value;
        }
    }
    batch
}

fn vector(elements: &[f32]) -> Vector {
    let bytes: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
    Vector::F32(bytes.into())
}

fn write_batch(text: &mut String, keys: &'static [&'static str], after: &Batch) {
    let before = batch(&after.schema, keys);
    for (row, key) in (0_u32..).zip(keys) {
        let fate = if after.live.contains(&row) {
            "live"
        } else {
            "gone"
        };
        writeln!(text, "row {key}: {fate}").unwrap();
        let columns = after.schema.columns.iter();
        for ((column, was), is) in columns.zip(before.row(row)).zip(after.row(row)) {
            if was != is {
                writeln!(text, "  {} = {is:?}", column.name).unwrap();
            }
        }
        let (was, is) = (
            before.embeddings.get(row as usize, 0),
            after.embeddings.get(row as usize, 0),
        );
        if let Some(Vector::F32(bytes)) = is.filter(|_| was != is) {
            let elements = bytes.as_chunks::<4>().0.iter();
            let elements: Vec<f32> = elements.map(|x| f32::from_le_bytes(*x)).collect();
            writeln!(text, "  vector = {elements:?}").unwrap();
        }
    }
    for drop in &after.drops {
        let (key, stage, reason) = (keys[drop.row as usize], drop.stage, &drop.reason);
        writeln!(text, "dropped {key} in {stage:?}: {reason}").unwrap();
    }
    for failure in &after.failures {
        let Failure {
            row,
            stage,
            code,
            message,
            field,
            ..
        } = failure;
        let key = keys[*row as usize];
        writeln!(
            text,
            "failed {key} in {stage:?}: {code} {field:?}: {message}"
        )
        .unwrap();
    }
}

fn write_decisions(text: &mut String, runner: &mut Runner, batch: &Batch) {
    let failure = |row, stage, code: &str, attempt| Failure {
        row,
        stage,
        code: code.to_owned(),
        message: format!("made up, {code}"),
        field: None,
        plugin: None,
        attempt,
    };
    let failures = [
        failure(0, Stage::Decode, "KEY_MISSING", 1),
        failure(1, Stage::Transform, "RETRY", 1),
        failure(2, Stage::Validate, "DROP", 1),
        failure(3, Stage::Write, "SQL_40001", 1),
        failure(4, Stage::Write, "SQL_40001", 4),
        failure(5, Stage::Transform, "PLUGIN_TRAP", 1),
        failure(6, Stage::Write, "HALT", 2),
    ];
    for (failure, decision) in failures.iter().zip(runner.decide(batch, &failures)) {
        let Failure {
            stage,
            code,
            attempt,
            ..
        } = failure;
        writeln!(text, "{stage:?} {code} {attempt}: {decision:?}").unwrap();
    }
}

/// A witness with another version in the names of all that is of this package.
fn of_version(witness: &str, package: &str, version: &str) -> Result<Arc<Plugin>, String> {
    let mut bytes = fs::read(root().join(witness)).unwrap();
    let package = format!("{package}/");
    let is_name = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'-';
    let mut patched = 0;
    for at in 0..bytes.len() {
        let Some(rest) = bytes[at..].strip_prefix(package.as_bytes()) else {
            continue;
        };
        let name = rest.iter().take_while(|byte| is_name(byte)).count();
        let from = at + package.len() + name;
        if bytes[from..].starts_with(b"@0.1.0") {
            bytes[from + 1..][..version.len()].copy_from_slice(version.as_bytes());
            patched += 1;
        }
    }
    assert!(patched > 0);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("witness.wasm");
    fs::write(&path, bytes).unwrap();
    engine()
        .load(&path)
        .map_err(|error| format!("{}; {}", error.what, error.hint))
}

/// The witnesses with the packages that they are made for.
const MADE_FOR: [(&str, &str); 3] = [
    (WITNESSES[0], "forebay:plugin"),
    (WITNESSES[1], "forebay:plugin"),
    (WITNESSES[1], "forebay:packed"),
];

/// Versions that differ in their last number only are one interface.
#[test]
fn other_patches_of_a_version_are_accepted() {
    for (witness, package) in MADE_FOR {
        let released = of_version(witness, package, "0.1.0").unwrap();
        let later = of_version(witness, package, "0.1.9").unwrap();
        assert_eq!(transcript(&later), transcript(&released));
    }
}

#[test]
fn versions_that_the_host_does_not_have_are_refused_by_name() {
    for (witness, package) in MADE_FOR {
        for version in ["0.2.0", "0.0.1", "1.0.0"] {
            let refused = of_version(witness, package, version).map(drop).unwrap_err();
            assert!(
                refused.contains(&format!("{package}@{version}")),
                "{refused}"
            );
        }
    }
}
