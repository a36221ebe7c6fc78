//! From a file to a query by similarity, without a configuration.

use insta::assert_snapshot;
use support::{Place, root};

/// A directory with the example's file.
fn place() -> Place {
    let place = Place::new();
    let file = root().join("examples/data/postings.parquet");
    std::fs::copy(file, place.path().join("postings.parquet")).unwrap();
    place
}

const LOAD: [&str; 4] = ["load", "postings.parquet", "--table", "postings"];

fn load(more: &[&'static str]) -> Vec<&'static str> {
    [&LOAD[..], more].concat()
}

/// What a command printed, without times.
macro_rules! assert_shown {
    ($text:expr, @$expected:literal) => {
        insta::with_settings!({filters => vec![
            (r"(?m)^  \d+\.\d s, .*", "  [figures]"),
            (r"\d+\.\d+ s\b", "[time]"),
            (r"\b[0-9a-f]{16}\b", "[identity]"),
            (r"/\S+/forebay ", "forebay "),
        ]}, { assert_snapshot!($text, @$expected) });
    };
}

#[test]
fn two_commands_lead_from_a_file_to_a_query() {
    let place = place();
    assert_shown!(place.done(&load(&["--create"])), @r#"
    made:
        create extension if not exists vector;
        create table "postings" (
            "id" bigint primary key,
            "title" text,
            "company" text,
            "text" text,
            "skills" text[],
            "remote" boolean,
            "salary" bigint,
            "embedding" vector(64) storage plain
        );
        create index on "postings" using hnsw ("embedding" vector_cosine_ops)
         public.postings: rows are found by id
           column     type        fed by
           id         bigint      the row's key
           title      text        the field title
           company    text        the field company
           text       text        the field text
           skills     text[]      the field skills
           remote     boolean     the field remote
           salary     bigint      the field salary
           embedding  vector(64)  the embedding embedding
    postings: done
      received 500 = inserted 500 + updated 0 + unchanged 0 + dropped 0
        + dead-lettered 0
      [figures]

      index public.postings_embedding_idx: built in [time] (defer)
      checkpoint postings.parquet: {"file":"[identity]","row":500,"group":1} after 2 chunks, complete
      notification: not configured

    next steps:
      forebay nearest --table postings
          the rows nearest to one of them, and the query in SQL
      forebay db url
          the address of the database; `db start` keeps it running
    "#);
    // No two of these are as near as each other.
    assert_shown!(place.done(&["nearest", "--table", "postings", "--of", "5", "--limit", "3"]), @r#"
    nearest to 5:
      distance  key  row
        0.0793  179  text: principal embedded engineer. You work with C…
        0.0821  241  text: principal embedded engineer. You work with C, firmware…
        0.0926  474  text: principal embedded engineer. You work with radio, C…

    the same in SQL:
    select *, "embedding" <=> (select "embedding" from public.postings where "id" = '5') as distance
    from public.postings where "id" <> '5' order by distance limit 3
    "#);
    // The query that it shows is the one that it has made.
    let again = place.json(&load(&["--json"]));
    assert_eq!(again["rows"]["unchanged"], 500, "{again:#}");
}

#[test]
fn a_table_that_is_missing_is_shown_and_not_made() {
    let place = place();
    let ended = place.run(&LOAD);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_shown!(ended.err.lines().filter(|it| !it.contains("INFO")).collect::<Vec<_>>().join("\n"), @r#"
    error: there is no table postings
      hint: --create makes it:
        create extension if not exists vector;
        create table "postings" (
            "id" bigint primary key,
            "title" text,
            "company" text,
            "text" text,
            "skills" text[],
            "remote" boolean,
            "salary" bigint,
            "embedding" vector(64) storage plain
        );
        create index on "postings" using hnsw ("embedding" vector_cosine_ops)
    "#);
    let other = place.run(&[
        "load",
        "postings.parquet",
        "--table",
        "postings",
        "--key",
        "name",
    ]);
    assert_eq!(other.code, Some(1), "{other:?}");
    assert_shown!(other.err, @r#"
    error: source postings.parquet: there is no column `name` to be the key
      hint: name the column that identifies a row as the key; there are: id, title, company, text, salary
    "#);
    let none = place.run(&["load", "missing.parquet", "--table", "postings"]);
    assert_shown!(none.err, @r#"
    error: source missing.parquet: no file matches
      hint: correct `source.files`, which is relative to the configuration
    "#);
}

#[test]
fn a_load_can_be_written_as_a_configuration() {
    let place = place();
    std::fs::rename(
        place.path().join("postings.parquet"),
        place.path().join("post[1].parquet"),
    )
    .unwrap();
    let arguments = [
        "load",
        "post[1].parquet",
        "--table",
        "public.jobs",
        "--create",
        "--index",
        "none",
        "--rename",
        "text=body",
        "--write-config",
    ];
    place.done(&arguments);
    let written = std::fs::read_to_string(place.path().join("forebay.toml")).unwrap();
    assert_snapshot!(written, @r#"
    [pipelines.jobs]
    source = { files = "post[[]1[]].parquet", key = "id" }
    plugins = []
    tables = ["public.jobs"]
    rename = { text = "body" }
    index = "defer"
    "#);
    // It is the same pipeline, to which everything is known.
    let report = place.json(&["run", "--json"]);
    assert_eq!(report["rows"]["unchanged"], 500, "{report:#}");
    let ended = place.run(&arguments);
    assert!(ended.err.contains("forebay.toml exists"), "{ended:?}");
}
