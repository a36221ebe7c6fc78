//! The command as users run it: what it prints, where, and how it ends.

use std::fs;
use std::sync::Arc;

use forebay::demo::dataset::Dataset;
use forebay::demo::embedding_server;
use insta::assert_snapshot;
use serde_json::Value;
use support::{Place, anywhere, guests};

const DIMENSIONS: usize = 16;

/// A server of 900 rows, which have every kind of dirt.
fn source() -> forebay::demo::running::Running {
    embedding_server::start(
        Arc::new(Dataset::new(900, DIMENSIONS).unwrap().with_revisions()),
        anywhere(),
    )
    .unwrap()
}

/// A configuration with `pipelines` after it.
fn config(pipelines: &str) -> String {
    format!(
        "[plugins]\ndirectory = {:?}\n[retry]\ngive_up_after = \"1s\"\n{pipelines}",
        guests("plugins")
    )
}

fn recruit(source: &str) -> String {
    let tables = r#"["recruit_metadata", "recruit_embedding"]"#;
    config(&format!(
        "[pipelines.recruit]\nsource = {{ grpc = \"{source}\", dataset = \"recruit\" }}\ntables = {tables}\n"
    ))
}

/// Shows a text without what differs from run to run.
macro_rules! assert_shown {
    ($place:expr, $text:expr, @$expected:literal) => {
        let (here, plugins) = ($place.path().display().to_string(), guests("plugins").display().to_string());
        let text = $text.replace(&here, "[here]").replace(&plugins, "[plugins]");
        insta::with_settings!({filters => vec![
            (r"127\.0\.0\.1:\d+", "[address]"),
            (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[uuid]"),
            (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[time]"),
            (r"[0-9a-f]{64}", "[sha256]"),
            (r"\b[0-9a-f]{12}\b", "[sha256]"),
            (r"(?m)^  \d+\.\d s, .*", "  [figures]"),
            (r"(?m)^warn .* free on its disk.*\n.*\n?", ""),
        ]}, { assert_snapshot!(text, @$expected) });
    };
}

#[test]
fn what_is_wrong_with_the_command_line_or_the_configuration_ends_with_2() {
    let place = Place::new();
    let ended = place.run(&["run"]);
    assert_eq!(ended.code, Some(2));
    assert_snapshot!(ended.err, @r#"
    error: forebay.toml: cannot be read: No such file or directory (os error 2)
      hint: name another file with --config, or start from examples/recruit/forebay.toml
    "#);

    place.write(
        "forebay.toml",
        "[limits]\nrwo = \"1MiB\"\nchunk = \"huge\"\n[pipelines.p]\ntables = []\n",
    );
    let ended = place.run(&["run"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
    assert_snapshot!(ended.err, @r#"
    error: forebay.toml:2: limits.rwo: unknown key
      hint: remove it; known keys: row, chunk, in_flight, fields, partitions
    forebay.toml:3: limits.chunk: `huge` is not a size
      hint: such as "64MiB"
    forebay.toml:4: pipelines.p.source: missing
      hint: add this key
    forebay.toml:5: pipelines.p.tables: is empty
      hint: name at least one
    "#);

    place.write("forebay.toml", &recruit("http://127.0.0.1:1"));
    let ended = place.run(&["run", "recruti"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
    assert_snapshot!(ended.err, @r"
    error: unknown pipeline `recruti`; configured: recruit
      hint: did you mean `recruit`?
    ");
    // None of this needed a database.
    assert!(!place.path().join(".forebay").exists());
    assert_eq!(place.run(&["run", "--frobnicate"]).code, Some(2));
}

#[tokio::test]
async fn check_says_what_fits_and_what_does_not() {
    let (place, source) = (Place::new(), source());
    place.start_server();
    place.make_tables(DIMENSIONS).await;
    place
        .execute(
            "create table narrow (id uuid primary key, vector vector(15), grade text not null)",
        )
        .await;
    place.write("forebay.toml", &recruit(&source.url()));
    assert_shown!(place, place.done(&["check"]), @"
    ok   forebay.toml: 1 pipelines
    ok   database: postgres:///forebay
    ok   plugin recruit-dlq: 0.1.0 (sha256 [sha256]…) as dead-letter-policy
    ok   plugin recruit-normalize: 0.1.0 (sha256 [sha256]…) as transform
    ok   plugin recruit-rules: 0.1.0 (sha256 [sha256]…) as validate
    ok   pipeline recruit: dataset recruit (8 fields, 1 embeddings, 900 rows) into public.recruit_metadata, public.recruit_embedding
         public.recruit_metadata: rows are found by id
           column           type                      fed by
           id               uuid                      the row's key
           company_name     text                      the field company_name
           exp_years        integer                   the field exp_years
           english_level    text                      the field english_level
           primary_keyword  text                      the field primary_keyword
           updated_at       timestamp with time zone  the time of the change
         public.recruit_embedding: rows are found by id
           column      type                      fed by
           id          uuid                      the row's key
           vector      vector(16)                the embedding vector
           updated_at  timestamp with time zone  the time of the change
         fields that no column takes: title, location, posted_at, skills
    warn dataset recruit: no column takes the fields `location`, `posted_at`, `skills`
           hint: add a column of that name, or map it to another with `rename`
    ");
    assert_eq!(place.json(&["check", "--json"])["ok"], true);

    let pipeline = |name: &str, rest: &str| {
        let url = source.url();
        format!(
            "[pipelines.{name}]\nsource = {{ grpc = \"{url}\", dataset = \"recruit\" }}\n{rest}\n"
        )
    };
    let bad = [
        pipeline("a-no-table", "tables = [\"nowhere\"]\nplugins = []"),
        pipeline("b-table", "tables = [\"narrow\"]\nplugins = []"),
        pipeline(
            "c-no-plugin",
            "tables = [\"recruit_metadata\"]\nplugins = [\"recruit-rule\"]",
        ),
        pipeline(
            "d-setting",
            "tables = [\"recruit_metadata\"]\nsettings = { recruit-rules = { max_year = \"9\" } }",
        ),
        pipeline("e-no-dataset", "tables = [\"recruit_metadata\"]")
            .replace("dataset = \"recruit\"", "dataset = \"recruti\""),
    ];
    place.write("forebay.toml", &config(&bad.concat()));
    let ended = place.run(&["check"]);
    assert_eq!(ended.code, Some(2));
    assert_shown!(place, ended.out, @r#"
    ok   forebay.toml: 5 pipelines
    ok   database: postgres:///forebay
    ok   plugin recruit-dlq: 0.1.0 (sha256 [sha256]…) as dead-letter-policy
    ok   plugin recruit-normalize: 0.1.0 (sha256 [sha256]…) as transform
    ok   plugin recruit-rules: 0.1.0 (sha256 [sha256]…) as validate
    FAIL pipeline a-no-table: nowhere: no such table
           hint: create it, or name it with its schema
    FAIL pipeline b-table: narrow.vector: has 15 dimensions, but the dataset's embedding has 16
           hint: if the table is empty: alter table public.narrow alter column "vector" type vector(16); otherwise
             alter table public.narrow add column "vector_16" vector(16);
             in the pipeline, rename = { vector = "vector_16" }; then `forebay run`, which fills it
             create index concurrently on public.narrow using hnsw ("vector_16" vector_cosine_ops);
             once searches use "vector_16": alter table public.narrow drop column "vector";
         narrow.grade: is NOT NULL, but nothing feeds it
           hint: map a field to it with `rename`, or give it a default
    FAIL pipeline c-no-plugin: pipelines.c-no-plugin.plugins: no plugin `recruit-rule` in [plugins]
           hint: available: recruit-dlq, recruit-normalize, recruit-rules
    FAIL pipeline d-setting: pipelines.d-setting.settings: plugin recruit-rules refuses its settings: unknown setting `max_year`; there are min_years, max_years, english_levels, require_keyword
           hint: see the documentation of the plugin for valid settings
    FAIL pipeline e-no-dataset: source http://[address]: no dataset `recruti`; available: recruit
           hint: correct `source.dataset`
    "#);
    assert_eq!(place.run(&["run"]).code, Some(2));

    let address = source.url();
    source.stop().unwrap();
    place.write("forebay.toml", &recruit(&address));
    let ended = place.run(&["check", "--json"]);
    assert_eq!(ended.code, Some(2));
    let found: Value = serde_json::from_str(&ended.out).unwrap();
    let last = found["findings"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&found["ok"], &last["what"], &last["ok"]),
        (&false.into(), &"pipeline recruit".into(), &false.into())
    );
    assert!(
        last["detail"]
            .as_str()
            .unwrap()
            .starts_with("gave up after 1s: source http://127.0.0.1:"),
        "{last}"
    );
    // To run is to try for longer, and then to fail.
    assert_eq!(place.run(&["run"]).code, Some(1));
}

#[test]
fn the_schema_is_printed_for_editors() {
    let place = Place::new();
    assert_eq!(
        place.json(&["check", "--schema"]),
        forebay::config::schema()
    );
}

#[tokio::test]
async fn a_run_and_what_can_be_asked_about_it() {
    let (place, source) = (Place::new(), source());
    place.start_server();
    place.make_tables(DIMENSIONS).await;
    place.write("forebay.toml", &recruit(&source.url()));
    let migrated = place.done(&["migrate"]);
    let (said, _count) = migrated.split_once(" (").unwrap();
    assert_eq!(said, "postgres:///forebay: schema forebay is up to date");
    assert_eq!(place.done(&["migrate"]), migrated);
    assert_eq!(
        place.done(&["checkpoint", "show", "recruit"]),
        "recruit has not run yet\n"
    );
    assert_eq!(place.run(&["checkpoint", "reset", "recruit"]).code, Some(2));
    assert_eq!(place.done(&["dlq", "list"]), "no dead letters\n");

    // The report is the same in both places, and every line of the log is JSON.
    let ended = place.run(&[
        "run",
        "--json",
        "--report",
        "report.json",
        "--log-format",
        "json",
    ]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        fs::read_to_string(place.path().join("report.json")).unwrap(),
        ended.out
    );
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (&report["status"], &report["rows"]["received"]),
        (&"succeeded".into(), &900.into())
    );
    let logged: Vec<Value> = ended
        .err
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        logged
            .iter()
            .any(|line| line["message"] == "run ended" && line["pipeline"] == "recruit"),
        "{logged:?}"
    );

    assert_shown!(place, place.done(&["checkpoint", "show", "recruit"]), @r#"
    partition   position  chunks  rows  complete  epoch
    (only one)  row:900        3   900  true          1
    "#);
    assert_shown!(place, place.done(&["dlq", "list", "--code", "FIELD_RANGE"]), @r#"
    id  pipeline  stage     code         seen  message
    15  recruit   validate  FIELD_RANGE     1  exp_years is 120; it must be 0 to 60
     8  recruit   validate  FIELD_RANGE     1  exp_years is -3; it must be 0 to 60
    2 of 2
    "#);
    #[cfg(target_os = "linux")]
    super::screen::assert_same_when_piped(&place, &["dlq", "list"]);
    let listed = place.json(&["dlq", "list", "--json", "--stage", "write", "--limit", "1"]);
    assert_eq!(
        (
            &listed["total"],
            listed["entries"].as_array().unwrap().len()
        ),
        (&2.into(), 1)
    );
    let listed = place.json(&[
        "dlq",
        "list",
        "recruit",
        "--json",
        "--code",
        "EMBEDDING_DIMENSIONS",
    ]);
    let id = listed["entries"][0]["id"].to_string();
    assert_shown!(place, place.done(&["dlq", "show", &id]).replacen(&format!("letter {id}"), "letter [id]", 1), @r#"
    dead letter [id] (open), queue source
      pipeline   recruit, partition (only one)
      key        [uuid]
      failed     at decode with EMBEDDING_DIMENSIONS
      message    `vector` has 60 bytes; 16 dimensions need 64
      field      vector
      plugin     (none)
      seen       1 times, [time] to [time]
      attempts   1
      row        351 bytes as received
    {
      "key": "[uuid]",
      "fields": {
        "company_name": "Schäfer & Söhne GmbH",
        "english_level": "C1",
        "exp_years": 6,
        "location": "München",
        "posted_at": {
          "seconds": 1775577298,
          "nanos": 0
        },
        "primary_keyword": "firmware",
        "skills": [
          "CAN",
          "Yocto",
          "VHDL"
        ],
        "title": "Senior Embedded-Entwickler (m/w/d)"
      },
      "embeddings": {
        "vector": {
          "type": "f32",
          "dimensions": 15,
          "begins": "0.00889492, -0.024618149, -0.017201424, -0.038812637"
        }
      }
    }
    "#);
    let shown = place.json(&["dlq", "show", &id, "--json"]);
    assert_eq!(shown["row"]["key"], shown["key"]);
    assert_eq!(
        shown["wire_hex"].as_str().unwrap().len() as u64,
        2 * shown["wire_bytes"].as_u64().unwrap()
    );
    assert_eq!(place.run(&["dlq", "show", "999999"]).code, Some(2));

    assert_shown!(place, place.done(&["checkpoint", "reset", "recruit"]), @"recruit: the next run starts from the beginning (1 partitions)");
    let text = place.done(&["run"]);
    let rows = text.lines().nth(1).unwrap();
    assert!(rows.contains("received 900 = inserted 0 + "), "{text}");
    assert_eq!(place.run(&["checkpoint", "reset", "other"]).code, Some(2));
}

/// Waits until no process has the directory in its command line: a server that has stopped
/// takes a moment to be gone.
#[cfg(target_os = "linux")]
fn until_no_process_of(directory: &std::path::Path) {
    let here = directory.display().to_string();
    let begin = std::time::Instant::now();
    loop {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let commands = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let left = commands
            .map(|command| String::from_utf8_lossy(&command).replace('\0', " "))
            .find(|command| command.contains(&here));
        match left {
            None => return,
            Some(left) => assert!(begin.elapsed().as_secs() < 300, "left behind: {left}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn the_demo_leaves_its_data_and_no_process() {
    let place = Place::new();
    let plugins = guests("plugins");
    let arguments = [
        "demo",
        "--rows",
        "500",
        "--dimensions",
        "16",
        "--json",
        "--plugins",
        plugins.to_str().unwrap(),
    ];
    let first = place.json(&arguments);
    assert_eq!(
        (
            &first["status"],
            &first["rows"]["received"],
            &first["notify"]["status"]
        ),
        (&"succeeded".into(), &500.into(), &"delivered".into())
    );
    assert!(first["rows"]["inserted"].as_u64().unwrap() > 450, "{first}");
    #[cfg(target_os = "linux")]
    until_no_process_of(place.path());

    let second = place.json(&arguments);
    let count = |report: &Value, name: &str| report["rows"][name].as_u64().unwrap();
    assert_eq!(
        (
            count(&second, "inserted"),
            count(&second, "updated"),
            count(&second, "received")
        ),
        (0, 0, 500)
    );
    assert_eq!(second["notify"]["status"], "nothing_changed");
    for fate in ["dropped", "dead_lettered"] {
        assert_eq!(count(&second, fate), count(&first, fate), "{fate}");
    }
    #[cfg(target_os = "linux")]
    until_no_process_of(place.path());
}

#[test]
fn the_embedded_server_is_started_and_stopped_by_hand() {
    let place = Place::new();
    assert_eq!(place.done(&["db", "stop"]), "not running\n");
    assert!(!place.path().join(".forebay").exists());
    let before = place.run(&["db", "url"]);
    assert_shown!(place, before.out, @"postgres:///forebay?host=[here]/.forebay/postgres/socket&port=5432&user=forebay&sslmode=disable");
    assert_eq!(
        before.err,
        "the server is not running: `forebay db start` starts it\n"
    );
    assert_eq!(
        place.done(&["db", "start"]),
        format!("running until `forebay db stop`\n{}", before.out)
    );
    let running = place.run(&["db", "url"]);
    assert_eq!(
        (running.out.as_str(), running.err.as_str()),
        (before.out.as_str(), "")
    );
    // A command that uses it leaves it running.
    place.done(&["migrate"]);
    assert_eq!(place.run(&["db", "url"]).err, "");
    assert_eq!(place.done(&["db", "stop"]), "stopped\n");
    assert_eq!(place.done(&["db", "stop"]), "not running\n");
}
