//! The sample servers in Python are as good as those in Rust: from the same data, the example's
//! configuration makes the same tables and the same dead letters. And what a handler in Python
//! raises is said with its text.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, LazyLock};

use forebay::demo::dataset::Dataset;
use forebay::demo::{api_server, embedding_server};
use serde_json::Value;
use support::{Place, anywhere, guests, root};

const ROWS: u64 = 2_000;
const DIMENSIONS: usize = 64;
const CONFIG: &str = include_str!("../../examples/recruit/forebay.toml");

/// The interpreter that `examples/setup.sh` makes, which takes a network the first time.
pub(crate) static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let made = Command::new(root().join("examples/setup.sh"))
        .status()
        .unwrap();
    assert!(made.success(), "examples/setup.sh failed");
    root().join("target/venv/bin/python")
});

fn python(script: &str) -> Command {
    let mut command = Command::new(&*PYTHON);
    command.arg(root().join("examples").join(script));
    command
}

fn create_test_data(arguments: &[&str]) -> String {
    let output = python("embedding-server/create_test_data.py")
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A server in Python, ended with its test.
struct Server {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Server {
    fn start(script: &str, arguments: &[&str]) -> Self {
        let mut command = python(script);
        let mut process = command
            .args(arguments)
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let url = first.strip_prefix("listening on ").unwrap().to_owned();
        Self {
            process,
            lines,
            url,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// What a run of the example's configuration came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    counts: Value,
    codes: Value,
    notified: Value,
    metadata: Vec<String>,
    embeddings: Vec<String>,
    dead_letters: Vec<String>,
}

async fn run(source: &str, api: &str) -> Outcome {
    let place = Place::new();
    let config = CONFIG
        .replace("http://127.0.0.1:50051", source)
        .replace("http://127.0.0.1:50052", api)
        .replace("../../target/plugins", guests("plugins").to_str().unwrap());
    place.write("forebay.toml", &config);
    place.start_server();
    place.make_tables(DIMENSIONS).await;
    place.done(&["check"]);
    let report = place.json(&["run", "--json"]);
    Outcome {
        counts: report["rows"].clone(),
        codes: report["codes"].clone(),
        notified: report["notify"]["status"].clone(),
        metadata: place
            .rows("select id, company_name, exp_years, english_level, primary_keyword from recruit_metadata order by id")
            .await,
        embeddings: place.rows("select id, vector from recruit_embedding order by id").await,
        // The same bytes, but a map's entries may come in another order.
        dead_letters: place
            .rows(
                "select key, queue, stage, code, regexp_replace(message, '[0-9-]{10} [0-9:.]{8,}', 'now') as message,
                     field, plugin, seen, octet_length(wire) as wire_bytes
                 from forebay.dead_letter order by code, key, message, wire_bytes",
            )
            .await,
    }
}

#[test]
fn the_generators_make_the_same_rows() {
    let digest = create_test_data(&[
        "--rows",
        "700",
        "--dimensions",
        "16",
        "--revisions",
        "--digest",
    ]);
    assert_eq!(
        digest.trim(),
        Dataset::new(700, 16).unwrap().with_revisions().digest()
    );
}

#[tokio::test]
async fn a_run_against_python_is_a_run_against_rust() {
    let directory = tempfile::tempdir().unwrap();
    let data = data(directory.path());
    let source = Server::start(
        "embedding-server/server.py",
        &["--data", data.to_str().unwrap()],
    );
    let mut api = Server::start("api-server/server.py", &[]);
    let from_python = run(&source.url, &api.url).await;

    let (dataset, cache) = (
        Arc::new(Dataset::new(ROWS, DIMENSIONS).unwrap().with_revisions()),
        api_server::start(anywhere()).unwrap(),
    );
    let source = embedding_server::start(dataset, anywhere()).unwrap();
    let from_rust = run(&source.url(), &cache.url()).await;

    for (python, rust) in [
        (&from_python.metadata, &from_rust.metadata),
        (&from_python.embeddings, &from_rust.embeddings),
        (&from_python.dead_letters, &from_rust.dead_letters),
    ] {
        // The first that differs is easier to read than all of them.
        assert_eq!(
            python
                .iter()
                .zip(rust)
                .find(|(python, rust)| python != rust),
            None
        );
    }
    assert_eq!(from_python, from_rust);
    assert_eq!(
        (&from_python.counts["received"], &from_python.notified),
        (&ROWS.into(), &"delivered".into())
    );
    assert_eq!(
        from_python.metadata.len() as u64,
        from_python.counts["inserted"].as_u64().unwrap()
    );
    assert!(from_python.dead_letters.len() > 20, "{from_python:?}");
    let changed = cache.received()[0].changed_rows;
    let told = api.lines.next().unwrap().unwrap();
    let expected = format!("invalidated target=recruit pipeline=recruit changed_rows={changed} ");
    assert!(told.starts_with(&expected), "{told}");
}

#[tokio::test]
async fn f4_an_exception_in_a_python_handler_is_said_with_its_text() {
    // With the default options of gRPC for Python.
    let source = Server::start("../tests/languages/slow_server.py", &["1"]);
    let place = Place::new();
    let url = &source.url;
    place.write(
        "forebay.toml",
        &format!(
            "[pipelines.rows]\nsource = {{ grpc = \"{url}\", dataset = \"rows\" }}\nplugins = []\ntables = [\"items\"]\n"
        ),
    );
    place.start_server();
    let tables = "create extension if not exists vector; create table items (id int primary key, vector vector(2))";
    place.execute(tables).await;
    let ended = place.run(&["run"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = format!(
        "gave up after 6 attempts: source {url} failed: UNKNOWN: Exception iterating responses: division by zero"
    );
    assert!(ended.out.contains(&said), "{ended:?}");
    assert_eq!(place.rows("select id from items").await.len(), 1);
}

fn data(directory: &Path) -> PathBuf {
    let file = directory.join("recruit.pkl");
    let (rows, dimensions) = (ROWS.to_string(), DIMENSIONS.to_string());
    create_test_data(&[
        "--rows",
        &rows,
        "--dimensions",
        &dimensions,
        "--revisions",
        "--out",
        file.to_str().unwrap(),
    ]);
    file
}
