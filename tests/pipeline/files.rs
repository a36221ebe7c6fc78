//! Rows come from files as they come from a server: with every guarantee, and by configuration alone.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use support::{Ended, Home, State, root};

const DOCS: &str = "create table docs (id text primary key, title text, lang text, words int,
    score double precision, price numeric, seen_at timestamptz, day date, is_public boolean,
    tags text[], meta jsonb, embedding vector(8) not null)";

const VECTORS: &str =
    "create table docs (id text primary key, f32 vector(8), f16 halfvec(8), f64 vector(8))";

const LINES: &str = "create table docs (id bigint primary key, title text, embedding vector(8))";

/// A file that `tests/files/make.py` has written.
fn file(name: &str) -> PathBuf {
    root().join("tests/files").join(name)
}

/// A home whose pipeline `docs` has this source, and its table.
async fn home(table: &str, source: &str) -> Home {
    let home = Home::new().await;
    home.database.execute(table).await;
    configure(&home, source);
    home
}

fn configure(home: &Home, source: &str) {
    home.configure(&format!(
        "[pipelines.docs]\nplugins = []\ntables = [\"docs\"]\ndead_letter_limit = \"100%\"\nsource = {{ {source} }}"
    ));
}

/// A home with a copy of files in its folder `data`.
async fn with_copies(table: &str, names: &[&str], source: &str) -> Home {
    let home = home(table, source).await;
    let data = home.path().join("data");
    std::fs::create_dir(&data).unwrap();
    for name in names {
        std::fs::copy(file(name), data.join(name)).unwrap();
    }
    home
}

fn counts(report: &Value) -> [u64; 4] {
    ["received", "inserted", "unchanged", "dead_lettered"]
        .map(|fate| report["rows"][fate].as_u64().unwrap())
}

/// What became of `title`, `meta` and so on, of the rows that are whole.
const WHOLE: &str = "select count(*) from docs where title = format('Title %s äöü', words / 10)
    and score = words / 40.0 and price = words / 1000.0
    and seen_at = timestamptz '2026-11-28 09:30:00.123456Z' + words / 10 * interval '1 second'
    and day = date '2026-01-01' + words / 10 and is_public = (words / 10 % 2 = 0)
    and tags = case words / 10 % 4 when 0 then '{}' else array['a', 't' || words / 10] end
    and meta = jsonb_build_object('source', 'web', 'pages', jsonb_build_array(words / 10, words / 10 + 1),
        'nested', '{\"deep\": [[0.5], []]}'::jsonb)
    and lang is not distinct from (array['de', 'en', null])[words / 10 % 3 + 1]
    and abs((embedding::real[])[3] - sin(words / 10 * 7 + 2)) < 0.001";

/// A file of 40 rows, 6 of which cannot go, whichever program has written it.
async fn dirty_file(name: &str) {
    let path = file(name);
    let home = home(DOCS, &format!("files = {path:?}")).await;
    let report = home.run().done();
    assert_eq!(counts(&report), [40, 34, 0, 6], "{report:#}");
    assert_eq!(home.database.number(WHOLE).await, 33);
    let empty = "select count(*) from docs where id = 'doc-022' and
        (title, lang, words, score, price, seen_at, day, is_public, tags, meta) is null";
    assert_eq!(home.database.number(empty).await, 1);
    let letters =
        "select format('%s %s %s', key, code, message) from forebay.dead_letter order by id";
    let expected = [
        "doc-003 EMBEDDING_DIMENSIONS `embedding` has 28 bytes; 8 dimensions need 32 (row 4)",
        "doc-005 EMBEDDING_MISSING `embedding` is missing (row 6)",
        "doc-008 EMBEDDING_NOT_FINITE `embedding` has a NaN or an infinity at element 7 (row 9)",
        "doc-013 EMBEDDING_NOT_FINITE `embedding` has a null at element 7 (row 14)",
        " KEY_MISSING the row has no key (row 22)",
        "doc-034 EMBEDDING_NOT_FINITE `embedding` has a NaN or an infinity at element 0 (row 35)",
    ];
    assert_eq!(home.database.texts(letters).await, expected);
    let partitions = "select distinct partition from forebay.dead_letter";
    assert_eq!(
        home.database.texts(partitions).await,
        [path.to_str().unwrap()]
    );
    // What could not be a vector is there as it was.
    let shown = home.start_command(&["dlq", "show", "4"], "").wait();
    assert!(shown.stdout.contains("0.106"), "{}", shown.stdout);
    assert!(shown.stdout.contains("null"), "{}", shown.stdout);
    assert!(shown.stdout.contains("Title 13 äöü"), "{}", shown.stdout);
    // Nothing has changed since, so nothing is written.
    let report = home.run().done();
    assert_eq!(counts(&report), [40, 0, 34, 6], "{report:#}");
}

#[tokio::test]
async fn parquet_of_pyarrow() {
    dirty_file("pyarrow.parquet").await;
}

#[tokio::test]
async fn parquet_of_polars() {
    dirty_file("polars.parquet").await;
}

#[tokio::test]
async fn vectors_of_every_width_and_files_of_every_compression() {
    let home = home(VECTORS, "files = \"none\"").await;
    let names = [
        "vectors-none.parquet",
        "vectors-snappy.parquet",
        "vectors-zstd.parquet",
        "vectors-gzip.parquet",
        "vectors-lz4.parquet",
        "vectors.arrow",
        "vectors.arrows",
        "vectors.feather",
    ];
    for name in names {
        home.database.execute("truncate docs").await;
        configure(&home, &format!("files = {:?}, chunk_rows = 7", file(name)));
        let report = home.run().done();
        assert_eq!(counts(&report), [20, 20, 0, 0], "{name}: {report:#}");
        let right = "select count(*) from docs where
            abs((f32::real[])[2] - sin(right(id, 2)::int * 7 + 1)) < 0.001
            and abs((f16::real[])[2] - sin(right(id, 2)::int * 7 + 1)) < 0.001
            and f64 = f32";
        assert_eq!(home.database.number(right).await, 20, "{name}");
    }
}

#[tokio::test]
async fn lines_of_json_and_their_compressed_forms() {
    for name in ["lines.jsonl", "lines.jsonl.gz", "lines.jsonl.zst"] {
        let home = home(LINES, &format!("files = {:?}, chunk_rows = 7", file(name))).await;
        let report = home.run().done();
        assert_eq!(counts(&report), [20, 20, 0, 0], "{name}: {report:#}");
        let right = "select count(*) from docs where title = 'Title ' || id
            and abs((embedding::real[])[8] - sin(id * 7 + 7)) < 0.001";
        assert_eq!(home.database.number(right).await, 20, "{name}");
    }
}

/// Lines of which only those with an even `id` can go.
const BAD_LINES: &str = r#"
{"id": 2, "title": "a\u00e4\n\"b\"", "embedding": [1, 2e0, 3.5], "meta": {"x": [1, {"y": null}]}, "flag": true}

{"id": 4, "title": null, "embedding": [1.5, 2, 3], "meta": null}
{"id": 5, "title": "t", "embedding": [1.5, 2], "meta": {}}
{"id": 7, "title": "t", "embedding": [1.5, NaN, 3], "meta": {}}
{"id": 9, "title": 7, "embedding": [1.5, 2, 3], "meta": {}}
{"id": 11, "title": "t", "embedding": [1.5, null, 3]}
{"id": 13, "title": "t", "embedding": [1.5, 2, 3]
{"id": 15, "title": "t", "embedding": "no"}
[17]
{"title": "t", "embedding": [1.5, 2, 3]}
{"id": 6, "title": "duplicate", "embedding": [1.5, 2, 3], "title": "last"}
{"id": 19, "title": "t", "embedding": [1.5, 2, 3], "extra": 1}
"#;

#[tokio::test]
async fn a_bad_line_costs_itself() {
    let table =
        "create table docs (id bigint primary key, title text, embedding vector(3) not null,
        meta jsonb, flag boolean default false)";
    let source = "files = \"data/*.jsonl\", fields = { title = \"text\", meta = \"json\", flag = \"boolean\" }, embeddings = { embedding = 3 }";
    let home = with_copies(table, &[], source).await;
    let data = home.path().join("data");
    // The first file says what fields there are, and has all but the one that is too much.
    std::fs::write(
        data.join("a.jsonl"),
        "{\"id\": 0, \"title\": \"\", \"embedding\": [1.5, 2, 3]}\n",
    )
    .unwrap();
    let deep = format!(
        "{{\"id\": 21, \"embedding\": [1.5, 2, 3], \"meta\": {}1{}}}\n",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let long = format!("{{\"id\": 23, \"title\": \"{}\"}}\n", "x".repeat(5 << 20));
    let broken = b"{\"id\": 25, \"title\": \"\xff\"}\n{\"id\": 27, \"tit";
    // Beyond what is looked at to find the fields: ten files are.
    for number in 0..10 {
        std::fs::write(data.join(format!("b{number}.jsonl")), "").unwrap();
    }
    let text = [
        BAD_LINES.as_bytes(),
        deep.as_bytes(),
        long.as_bytes(),
        broken,
    ]
    .concat();
    std::fs::write(data.join("z.jsonl"), text).unwrap();
    let report = home.run().done();
    assert_eq!(counts(&report), [17, 4, 0, 13], "{report:#}");
    let rows =
        "select format('%s|%s|%s|%s|%s', id, title, embedding, meta, flag) from docs order by id";
    let expected = [
        "0||[1.5,2,3]||f",
        "2|aä\n\"b\"|[1,2,3.5]|{\"x\": [1, {\"y\": null}]}|t",
        "4||[1.5,2,3]||f",
        "6|last|[1.5,2,3]||f",
    ];
    assert_eq!(home.database.texts(rows).await, expected);
    let letters = "select format('%s %s %s', key, code, left(message, 130)) from forebay.dead_letter order by id";
    insta::assert_snapshot!(home.database.texts(letters).await.join("\n"), @"
    5 EMBEDDING_DIMENSIONS `embedding` has 8 bytes; 3 dimensions need 12 (line 5)
    7 EMBEDDING_NOT_FINITE `embedding` has a NaN or an infinity at element 1 (line 6)
    9 FIELD_TYPE `title` is not a text (line 7)
    11 EMBEDDING_NOT_FINITE `embedding` has a null at element 1 (line 8)
    13 ROW_MALFORMED the JSON object is not complete (line 9)
    15 FIELD_TYPE `embedding` is not a list of numbers (line 10)
     ROW_MALFORMED the line is not a JSON object (line 11)
     KEY_MISSING the row has no key (line 12)
    19 FIELD_UNKNOWN the first rows have no field `extra`, so its type is not known; declare it in `source.fields` (line 14)
    21 SQL_54001 stack depth limit exceeded (line 15)
     ROW_TOO_LARGE the row has 5242903 bytes; limits.row allows 1048576 (line 16)
     ROW_MALFORMED the line is not UTF-8 (line 17)
    27 ROW_MALFORMED a name in the JSON object is not a text; the file ends without ending the line, and may be cut off (line 18)
    ");
}

#[tokio::test]
async fn csv_and_arrays_of_numpy_beside() {
    let table =
        "create table docs (id text primary key, title text, note text, views int, share real,
        embedding vector(8), halves halfvec(8), doubles vector(8), own vector(2))";
    let home = with_copies(table, &[], "files = \"data/docs.csv\", chunk_rows = 3").await;
    let data = home.path().join("data");
    let mut text = "id,title,note,views,share,own\r\n".to_owned();
    for row in 0..20 {
        text += &format!(
            "{row:03},\"Title, \"\"{row}\"\"\n\",,{row},{}.5,\"[{row}, 0.5]\"\r\n",
            row
        );
    }
    std::fs::write(data.join("docs.csv"), text).unwrap();
    for (array, beside) in [
        ("rows", "docs"),
        ("halves", "docs.halves"),
        ("doubles", "docs.doubles"),
    ] {
        std::fs::copy(
            file(&format!("{array}.npy")),
            data.join(format!("{beside}.npy")),
        )
        .unwrap();
    }
    let report = home.run().done();
    assert_eq!(counts(&report), [20, 20, 0, 0], "{report:#}");
    let right = "select count(*) from docs where title = format(E'Title, \"%s\"\n', id::int) and note is null
        and views = id::int and share = id::int + 0.5 and (own::real[])[1] = id::int
        and abs((embedding::real[])[8] - sin(id::int * 7 + 7)) < 0.001
        and abs((halves::real[])[8] - sin(id::int * 7 + 7)) < 0.001
        and doubles = embedding and length(id) = 3";
    assert_eq!(home.database.number(right).await, 20);
    // An array with more rows belongs to another file.
    let other = "id,title,note,views,share,own\n000,x,y,1,2.5,\"[0.5, 1]\"\n";
    std::fs::write(data.join("docs.csv"), other).unwrap();
    let ended = home.run();
    assert!(
        ended
            .log
            .contains("has 1 rows, but the array of `doubles` beside it has 20"),
        "{}",
        ended.log
    );
}

#[tokio::test]
async fn several_files_are_partitions() {
    let names = ["lines.jsonl", "lines.jsonl.gz"];
    let home = with_copies(
        LINES,
        &names,
        "files = [\"data/*.jsonl\", \"data/*.gz\", \"data/l*\"]",
    )
    .await;
    let report = home.run().done();
    assert_eq!(report["rows"]["received"], 40, "{report:#}");
    let partitions = "select partition || ' ' || rows from forebay.checkpoint order by 1";
    let expected = ["data/lines.jsonl 20", "data/lines.jsonl.gz 20"];
    assert_eq!(home.database.texts(partitions).await, expected);
}

/// Kills at a passage of a point, and runs to the end: the same as undisturbed.
async fn killed(name: &str, points: &[(&str, u32)]) {
    let source = format!("files = {:?}, chunk_rows = 5, fields = {{ }}", file(name));
    let tables = ["docs"];
    let table = match name {
        "pyarrow.parquet" => DOCS,
        "vectors.arrow" => VECTORS,
        _ => LINES,
    };
    let undisturbed = home(table, &source).await;
    undisturbed.run().done();
    let undisturbed = State::of(&undisturbed.database, &tables).await;
    for (point, passage) in points {
        let what = format!("{name}: killed at passage {passage} of {point}");
        let home = home(table, &source).await;
        let ended = home
            .start(&format!("{point}={}*off->return", passage - 1))
            .wait();
        assert!(is_killed(&ended), "{what}: {}", ended.log);
        home.run().done();
        undisturbed.assert_same(&State::of(&home.database, &tables).await, &what);
    }
}

fn is_killed(ended: &Ended) -> bool {
    ended.status.signal() == Some(Signal::SIGKILL as i32)
}

#[tokio::test]
async fn a_run_that_was_killed_goes_on_in_the_row_group() {
    let points = [
        ("chunk.received", 4),
        ("commit.before", 2),
        ("commit.after", 1),
        ("commit.after", 3),
    ];
    killed("pyarrow.parquet", &points).await;
    killed("vectors.arrow", &[("commit.after", 2)]).await;
}

#[tokio::test]
async fn a_run_that_was_killed_goes_on_at_the_line() {
    for name in ["lines.jsonl", "lines.jsonl.gz", "lines.jsonl.zst"] {
        killed(name, &[("commit.after", 1), ("commit.before", 3)]).await;
    }
}

/// A home in which a run was killed after 10 of the 20 rows of a file.
async fn half_read(name: &str) -> Home {
    let home = with_copies(LINES, &[name], "files = \"data/*\", chunk_rows = 5").await;
    let mut pipeline = std::fs::read_to_string(home.path().join("forebay.toml")).unwrap();
    pipeline += "writers = 1\n";
    std::fs::write(home.path().join("forebay.toml"), pipeline).unwrap();
    let ended = home.start("commit.after=1*off->return").wait();
    assert!(is_killed(&ended), "{}", ended.log);
    home
}

#[tokio::test]
async fn a_file_that_has_changed_is_read_from_its_start() {
    let home = half_read("lines.jsonl").await;
    let path = home.path().join("data/lines.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    // Of the same length: only its bytes say it.
    std::fs::write(&path, text.replace("Title 0", "Other 0")).unwrap();
    let ended = home.run();
    assert!(
        ended.log.contains("the file has changed since"),
        "{}",
        ended.log
    );
    ended.done();
    let titles = "select title from docs where id < 2 order by id";
    assert_eq!(home.database.texts(titles).await, ["Other 0", "Title 1"]);
    assert_eq!(home.database.number("select count(*) from docs").await, 20);
}

#[tokio::test]
async fn a_file_that_has_vanished_is_named() {
    let home = half_read("lines.jsonl").await;
    std::fs::remove_file(home.path().join("data/lines.jsonl")).unwrap();
    let ended = home.run();
    assert!(!ended.status.success());
    assert!(ended.log.contains("no file matches"), "{}", ended.log);
    // With another file beside it, the run goes on; it says what is not there any more.
    std::fs::copy(
        file("lines.jsonl.gz"),
        home.path().join("data/lines.jsonl.gz"),
    )
    .unwrap();
    let ended = home.run();
    let gone = "no longer has partitions that the run before has read";
    assert!(ended.log.contains(gone), "{}", ended.log);
    assert!(
        ended.log.contains("partitions=\"data/lines.jsonl\"")
            || ended.log.contains("partitions=data/lines.jsonl"),
        "{}",
        ended.log
    );
    ended.done();
    assert!(!home.run().log.contains(gone));
}

/// What the host says of a file that it cannot read.
async fn said_of(name: &str, bytes: &[u8]) -> String {
    let home = with_copies(LINES, &[], "files = \"data/*\"").await;
    std::fs::write(home.path().join("data").join(name), bytes).unwrap();
    let ended = home.run();
    assert!(!ended.status.success(), "{name}: {}", ended.log);
    let said = ended
        .log
        .lines()
        .skip_while(|line| !line.contains("error:"));
    said.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn files_that_are_damaged_are_named_with_what_to_do() {
    let parquet = std::fs::read(file("pyarrow.parquet")).unwrap();
    let mut torn = parquet.clone();
    torn.truncate(parquet.len() - 100);
    let mut said = Vec::new();
    for (name, bytes) in [
        ("torn.parquet", &torn[..]),
        ("empty.parquet", b""),
        ("text.parquet", b"no Parquet at all, but long enough"),
        (
            "torn.jsonl.gz",
            &std::fs::read(file("lines.jsonl.gz")).unwrap()[..300],
        ),
        (
            "torn.arrow",
            &std::fs::read(file("vectors.arrow")).unwrap()[..900],
        ),
        ("docs.xlsx", b"PK"),
        ("docs.jsonl", b"{\"name\": \"x\"}\n"),
    ] {
        said.push(said_of(name, bytes).await);
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    error: pipeline docs: source data/torn.parquet: is not readable as Parquet: Parquet error: Invalid Parquet file. Corrupt footer
      hint: if it is still being written, write it under another name and rename it then
    error: pipeline docs: source data/empty.parquet: is not readable as Parquet: EOF: Parquet file too small. Size is 0 but need 8
      hint: if it is still being written, write it under another name and rename it then
    error: pipeline docs: source data/text.parquet: is not readable as Parquet: Parquet error: Invalid Parquet file. Corrupt footer
      hint: if it is still being written, write it under another name and rename it then
    error: pipeline docs: source data/torn.jsonl.gz: incomplete deflate stream
      hint: it is cut off: write it whole, under another name, and rename it then
    error: pipeline docs: source data/torn.arrow: is not readable as Arrow or Parquet: Parser error: Arrow file does not contain correct footer
      hint: if it is still being written, write it under another name and rename it then
    error: pipeline docs: source data/docs.xlsx: the format is not known by its name
      hint: known endings: .parquet, .arrow, .arrows, .feather, .ipc, .jsonl, .ndjson, .csv, and the last three with .gz or .zst
    error: pipeline docs: source data/*: there is no column `id` to be the key
      hint: name the column that identifies a row as the key; there are: name
    "#);
}

/// Each byte of a file that says how it is to be read, changed: an error or dead letters, and never a
/// panic that ends the host, or memory without bounds.
#[tokio::test]
async fn files_with_changed_bytes_end_the_host_in_order() {
    let parquet = std::fs::read(file("vectors-zstd.parquet")).unwrap();
    let home = with_copies(VECTORS, &[], "files = \"data/*\"").await;
    let path = home.path().join("data/docs.parquet");
    let mut random = fastrand::Rng::with_seed(7);
    for attempt in 0..15 {
        let mut changed = parquet.clone();
        for _ in 0..3 {
            let at = random.usize(..changed.len());
            changed[at] = random.u8(..);
        }
        write(&path, &changed);
        let ended = home.run();
        assert!(
            ended.status.code().is_some(),
            "attempt {attempt}: {}",
            ended.log
        );
        home.start_command(&["checkpoint", "reset", "docs"], "")
            .wait();
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

/// The sources that the reference shows, in its order.
fn documented() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("host/README.md")).unwrap();
    let codes = text
        .lines()
        .filter_map(|line| line.split_once("`source = { files"));
    let codes = codes.filter_map(|(_, rest)| rest.split_once(" }` |"));
    codes.map(|(code, _)| format!("files{code}")).collect()
}

#[tokio::test]
async fn what_the_reference_says_to_write_works() {
    let documented = documented();
    assert_eq!(documented.len(), 7, "{documented:?}");
    let lines = std::fs::read_to_string(file("lines.jsonl")).unwrap();
    let timed = lines.replace(
        "\"title\"",
        "\"created_at\": \"2026-11-28T09:30:00+01:00\", \"title\"",
    );
    let whole =
        (0..20).map(|id| format!("{{\"id\": {id}, \"embedding\": [1, 2, 3, 4, 5, 6, 7, {id}]}}\n"));
    let table = (0..20).map(|id| format!("{id},Title {id}\n"));
    for source in documented {
        let table_sql = "create table docs (id text primary key, title text, f32 vector(8), embedding vector(8),
            created_at timestamptz)";
        let home = home(table_sql, &source).await;
        let put = |name: &str, bytes: &[u8]| {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        let parquet = if source.contains("doc_id") {
            "keyed.parquet"
        } else {
            "vectors-zstd.parquet"
        };
        put("data/docs.parquet", &std::fs::read(file(parquet)).unwrap());
        put("docs.arrow", &std::fs::read(file("vectors.arrow")).unwrap());
        let text = if source.contains("timestamp") {
            &timed
        } else {
            &lines
        };
        put("docs.jsonl", text.as_bytes());
        put(
            "logs/a.jsonl.zst",
            &std::fs::read(file("lines.jsonl.zst")).unwrap(),
        );
        put("whole.jsonl", whole.clone().collect::<String>().as_bytes());
        put(
            "export.csv",
            format!("id,title\n{}", table.clone().collect::<String>()).as_bytes(),
        );
        put("export.npy", &std::fs::read(file("rows.npy")).unwrap());
        let report = home.run().done();
        assert_eq!(report["rows"]["dead_lettered"], 0, "{source}: {report:#}");
        let right = "select count(*) from docs where f32 is not null or embedding is not null";
        assert_eq!(home.database.number(right).await, 20, "{source}");
        if source.contains("timestamp") {
            let at = "select count(*) from docs where created_at = '2026-11-28T08:30:00Z'";
            assert_eq!(home.database.number(at).await, 20);
        }
    }
}
