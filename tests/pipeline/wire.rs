//! What a source may send, and what it may not: bad rows cost themselves, a bad stream ends the
//! run with a clear message, and what was committed before stays.

use std::collections::BTreeMap;

use bytes::Bytes;
use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use support::{Home, Script, guests, row, rows};

const ITEMS: &str =
    "create table items (id int primary key, number int, vector vector(2) not null)";

fn script() -> Script {
    Script::new(2, &[("number", FieldType::Integer)])
}

async fn items() -> Home {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    home
}

#[tokio::test]
async fn bad_rows_cost_themselves() {
    let home = items().await;
    let bad = [
        ("ROW_MALFORMED", Bytes::from_static(&[0xff, 0xff, 0xff])),
        (
            "ROW_MALFORMED",
            Bytes::from_static(&[0x0a, 0x02, 0xc3, 0x28]),
        ),
        ("ROW_TOO_LARGE", row("1002", &[1.0; 600]).encode()),
        (
            "FIELD_UNKNOWN",
            row("1003", &[1.0, 1.0]).text("nobody", "knows").encode(),
        ),
        (
            "FIELD_TYPE",
            row("1004", &[1.0, 1.0]).text("number", "four").encode(),
        ),
        ("KEY_INVALID", row("one", &[1.0, 1.0]).encode()),
        ("KEY_INVALID", row("2147483648", &[1.0, 1.0]).encode()),
        ("KEY_MISSING", row("", &[1.0, 1.0]).encode()),
        ("KEY_MISSING", Bytes::new()),
        ("EMBEDDING_DIMENSIONS", row("1009", &[1.0]).encode()),
        (
            "EMBEDDING_NOT_FINITE",
            row("1010", &[1.0, f32::NAN]).encode(),
        ),
    ];
    let mut chunk: Vec<Bytes> = rows(1..=50).into_iter().map(|row| row.encode()).collect();
    for (place, (_, bytes)) in bad.iter().enumerate() {
        chunk.insert(place * 5, bytes.clone());
    }
    let source = script().raw_chunk("", chunk).serve();
    home.configure_with(
        &guests("plugins"),
        "limits.row = \"2KiB\"",
        &source.pipeline(&["items"], ""),
    );
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 50, "{report:#}");
    assert_eq!(report["rows"]["dead_lettered"], bad.len());
    let mut expected = BTreeMap::<&str, u64>::new();
    bad.iter()
        .for_each(|(code, _)| *expected.entry(code).or_default() += 1);
    let codes = report["codes"].as_array().unwrap().iter();
    let codes = codes.map(|code| {
        (
            code["code"].as_str().unwrap(),
            code["rows"].as_u64().unwrap(),
        )
    });
    assert_eq!(codes.collect::<BTreeMap<_, _>>(), expected);

    let kept = "select count(*) from forebay.dead_letter where wire = '\\xffffff' or key = '1002'";
    assert_eq!(home.database.number(kept).await, 2);
}

#[tokio::test]
async fn of_rows_with_the_same_key_the_last_one_stays() {
    let home = items().await;
    let again = |number: i64| row("7", &[7.0, 1.0]).set("number", Kind::Integer(number));
    let source = script()
        .chunk(
            rows(1..=10)
                .into_iter()
                .chain([again(70), again(70), again(71)]),
        )
        .chunk([again(71), again(72)])
        .serve();
    home.configure(&source.pipeline(&["items"], ""));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 10, "{report:#}");
    assert_eq!(report["rows"]["updated"], 3);
    assert_eq!(report["rows"]["unchanged"], 2);
    assert_eq!(
        home.database
            .number("select number::bigint from items where id = 7")
            .await,
        72
    );
}

#[tokio::test]
async fn an_empty_chunk_moves_the_position() {
    let home = items().await;
    let source = script()
        .chunk(rows(1..=3))
        .chunk([])
        .chunk(rows(4..=5))
        .chunk([])
        .serve();
    home.configure(&source.pipeline(&["items"], ""));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 5);
    assert_eq!(report["chunks"], 4);
    assert_eq!(report["checkpoint"][0]["position"], "4");
}

#[tokio::test]
async fn a_dataset_without_rows_is_a_run_as_well() {
    let home = items().await;
    let source = script().serve();
    home.configure(&source.pipeline(&["items"], ""));
    let report = home.run().done();
    assert_eq!(report["rows"]["received"], 0);
    assert_eq!(report["checkpoint"][0]["complete"], true);
}

#[tokio::test]
async fn a_gap_in_the_sequence_ends_the_run_and_keeps_what_came_before() {
    let home = items().await;
    let mut script = script()
        .chunk(rows(1..=5))
        .chunk(rows(6..=10))
        .chunk(rows(11..=15));
    script.skip_sequence_at = Some(3);
    let source = script.serve();
    home.configure(&source.pipeline(&["items"], ""));
    let report = home.run().exit(1);
    assert_eq!(report["status"], "failed");
    let message = report["message"].as_str().unwrap();
    assert!(
        message.contains("sent chunk 4, expected chunk 3"),
        "{message}"
    );
    assert_eq!(report["rows"]["inserted"], 10);

    source.change(|mut script| {
        script.skip_sequence_at = None;
        script
    });
    let report = home.run().done();
    assert_eq!(report["starts"], 2);
    assert_eq!(report["rows"]["inserted"], 15);
    assert_eq!(report["this_start"]["received"], 5);
}

#[tokio::test]
async fn a_chunk_with_too_many_rows_ends_the_run() {
    let home = items().await;
    let source = script().chunk(rows(1..=10)).chunk(rows(11..=21)).serve();
    home.configure(&source.pipeline_with(&["items"], "plugins = []", 10, ""));
    let ended = home.run();
    ended.said("sent more than 10 rows in a chunk; at most 10 were requested");
    assert_eq!(ended.exit(1)["rows"]["inserted"], 10);
}

#[tokio::test]
async fn partitions_go_side_by_side() {
    let home = items().await;
    let mut script = script();
    for chunk in 0..5 {
        for (offset, name) in [(0, "north"), (1_000, "south"), (2_000, "west")] {
            let first = offset + chunk * 50;
            script = script.partition(name, rows(first..first + 50));
        }
    }
    let source = script.serve();
    home.configure(&source.pipeline(&["items"], ""));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 750);
    assert_eq!(report["chunks"], 15);
    let checkpoints = report["checkpoint"].as_array().unwrap().iter();
    let checkpoints = checkpoints.map(|point| {
        assert_eq!(point["complete"], true);
        (
            point["partition"].as_str().unwrap(),
            point["position"].as_str().unwrap(),
            point["rows"].as_i64().unwrap(),
        )
    });
    let expected = ["north", "south", "west"].map(|name| (name, "5", 250));
    assert_eq!(checkpoints.collect::<Vec<_>>(), expected);
    assert_eq!(home.run().done()["rows"]["unchanged"], 750);
}

#[tokio::test]
async fn changes_are_read_from_where_the_last_run_ended() {
    let home = items().await;
    let source = script().changes().chunk(rows(1..=5)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    assert_eq!(home.run().done()["rows"]["inserted"], 5);
    assert_eq!(home.run().done()["rows"]["received"], 0);
    source.change(|script| script.chunk(rows(4..=8)));
    let report = home.run().done();
    assert_eq!(report["rows"]["received"], 5);
    assert_eq!(report["rows"]["inserted"], 3);
    assert_eq!(report["rows"]["unchanged"], 2);
    assert_eq!(report["checkpoint"][0]["position"], "2");
}

#[tokio::test]
async fn partitions_that_share_keys_get_out_of_each_others_way() {
    let home = items().await;
    let mut script = script();
    for _ in 0..4 {
        // In opposite orders, so that each waits for what the other one has locked.
        script = script.partition("up", rows(1..=200));
        script = script.partition("down", rows((1..=200).rev()));
    }
    let source = script.serve();
    let pipeline = source.pipeline(&["items"], "");
    // Room for the rows of a chunk without their bytes, so less than a chunk: then it is alone.
    home.configure_with(
        &guests("plugins"),
        "limits.in_flight = \"38KiB\"",
        &pipeline,
    );
    let report = home.run().done();
    assert_eq!(report["rows"]["received"], 1_600);
    assert_eq!(report["rows"]["dead_lettered"], 0);
    let good = "select count(*) from items where number = id and vector = array[id, 1]::vector";
    assert_eq!(home.database.number(good).await, 200);
}

#[tokio::test]
async fn a_chunk_with_too_many_bytes_ends_the_run() {
    let home = items().await;
    let source = script().chunk(rows(1..=10)).chunk(rows(11..=300)).serve();
    let pipeline = source.pipeline(&["items"], "");
    home.configure_with(
        &guests("plugins"),
        "limits = { row = \"1KiB\", chunk = \"4KiB\" }",
        &pipeline,
    );
    let ended = home.run();
    ended.said("`limits.chunk` allows");
    assert_eq!(ended.exit(1)["rows"]["inserted"], 10);
}
