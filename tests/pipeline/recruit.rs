//! The recruit pipeline: what it comes to, and that a second run has nothing to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay::demo::dataset::Dataset;
use forebay::demo::dataset::expected::Expected;
use forebay::demo::embedding_server;
use serde_json::{Value, json};
use sqlx::Row;
use support::{Home, anywhere};

#[tokio::test]
async fn every_row_finds_its_fate_and_a_second_run_writes_nothing() {
    both_runs(2_000, 32, 100).await;
}

#[tokio::test]
async fn full_size_vectors_arrive_bit_for_bit() {
    both_runs(1_200, 1536, 300).await;
}

async fn both_runs(rows: u64, dimensions: usize, chunk_rows: u32) {
    let dataset = Arc::new(Dataset::new(rows, dimensions).unwrap().with_revisions());
    let source = embedding_server::start(Arc::clone(&dataset), anywhere()).unwrap();
    let home = Home::recruit(dimensions).await;
    home.configure_recruit_in(chunk_rows, &source.url(), "");

    let report = home.run().done();
    check_report(&report, &dataset.expected());
    let bytes: usize = dataset.encode(0..rows).iter().map(|row| row.len()).sum();
    assert_eq!(report["bytes_received"], bytes);
    assert_eq!(report["chunks"], rows.div_ceil(u64::from(chunk_rows)));
    let position = format!("row:{rows}");
    assert_eq!(report["checkpoint"][0]["position"], position);
    assert_eq!(report["checkpoint"][0]["complete"], true);
    check_tables(&home, &dataset).await;
    check_dead_letters(&home, &dataset.expected(), 1).await;
    let metadata = versions(&home, "recruit_metadata").await;
    let embedding = versions(&home, "recruit_embedding").await;

    let again = home.run().done();
    assert_ne!(again["run_id"], report["run_id"]);
    check_report(&again, &dataset.expected_again());
    check_tables(&home, &dataset).await;
    check_dead_letters(&home, &dataset.expected(), 2).await;
    let rewritten = versions(&home, "recruit_metadata").await;
    let rewritten = metadata
        .iter()
        .filter(|(key, version)| rewritten.get(*key) != Some(version));
    // A revised row is changed back by its original and changed again by its revision.
    assert_eq!(rewritten.count() as u64, dataset.expected().updated);
    assert_eq!(versions(&home, "recruit_embedding").await, embedding);
}

fn check_report(report: &Value, expected: &Expected) {
    let rows = json!({
        "received": expected.received,
        "inserted": expected.inserted,
        "updated": expected.updated,
        "unchanged": expected.unchanged,
        "dropped": expected.dropped,
        "dead_lettered": expected.dead_lettered,
        "deleted": 0,
    });
    assert_eq!(report["rows"], rows);
    let fates = [
        "inserted",
        "updated",
        "unchanged",
        "dropped",
        "dead_lettered",
    ];
    let fates: u64 = fates.iter().map(|fate| rows[fate].as_u64().unwrap()).sum();
    assert_eq!(fates, expected.received);

    let code = |fate: &str, stage: &str, code: &str, rows: u64| json!({ "fate": fate, "stage": stage, "code": code, "rows": rows });
    let dead = expected.dead_letters.iter();
    let dead = dead.map(|((stage, name), rows)| code("dead_lettered", stage.as_str(), name, *rows));
    let dropped = expected.drops.iter();
    let dropped = dropped.map(|(reason, rows)| code("dropped", "transform", reason, *rows));
    let mut expected: Vec<String> = dead.chain(dropped).map(|code| code.to_string()).collect();
    let codes = report["codes"].as_array().unwrap();
    let mut codes: Vec<String> = codes.iter().map(Value::to_string).collect();
    expected.sort_unstable();
    codes.sort_unstable();
    assert_eq!(codes, expected);
}

/// Both tables have exactly the rows they must have, with the very bits that were sent.
async fn check_tables(home: &Home, dataset: &Dataset) {
    let rows = sqlx::query(
        "select coalesce(m.id, e.id)::text, exp_years::bigint, vector_send(vector)
         from recruit_metadata m full join recruit_embedding e using (id)",
    );
    let rows = rows.fetch_all(&home.database.pool).await.unwrap();
    let rows = rows.iter().map(|row| {
        let vector: Option<Vec<u8>> = row.get(2);
        (
            row.get(0),
            (row.get(1), vector.expect("a row is in one table only")),
        )
    });
    let found: BTreeMap<String, (Option<i64>, Vec<u8>)> = rows.collect();
    let expected: BTreeMap<String, (Option<i64>, Vec<u8>)> = dataset
        .written()
        .map(|row| (row.key, (Some(row.exp_years), sent(&row.vector))))
        .collect();
    assert_eq!(found.len(), expected.len());
    for (key, expected) in expected {
        assert_eq!(found.get(&key), Some(&expected), "{key}");
    }
}

/// Little-endian elements as `vector_send` writes them: dimensions, nothing, big-endian elements.
fn sent(vector: &[u8]) -> Vec<u8> {
    let (elements, _) = vector.as_chunks::<4>();
    let mut bytes = (elements.len() as u16).to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    for element in elements {
        bytes.extend(element.iter().rev());
    }
    bytes
}

/// One entry for each failed row, seen as often as there were runs.
async fn check_dead_letters(home: &Home, expected: &Expected, runs: u64) {
    let entries = home.database.texts(
        "select concat_ws(' ', stage, code, count(*), sum(seen), min(status), max(status))
         from forebay.dead_letter group by stage, code",
    );
    let mut entries = entries.await;
    entries.sort_unstable();
    let expected = expected.dead_letters.iter().map(|((stage, code), rows)| {
        format!("{} {code} {rows} {} open open", stage.as_str(), rows * runs)
    });
    let mut expected: Vec<String> = expected.collect();
    expected.sort_unstable();
    assert_eq!(entries, expected);
}

/// The transaction that wrote each row last.
async fn versions(home: &Home, table: &str) -> BTreeMap<String, String> {
    let rows = home
        .database
        .texts(&format!("select id || ' ' || xmin from {table}"))
        .await;
    let pair = |row: &String| {
        row.split_once(' ')
            .map(|(key, xmin)| (key.to_owned(), xmin.to_owned()))
    };
    rows.iter().filter_map(pair).collect()
}
