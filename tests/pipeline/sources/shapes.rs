//! Messages, datasets and rows of unusual shapes: each is bounded by a limit that has a name.

use bytes::Bytes;
use forebay::proto::value::Kind;
use forebay::proto::{Field, FieldType};
use support::{Home, Script, guests, row};

use super::{items, script};

/// Peak memory of a run, in MiB.
fn peak(report: &serde_json::Value) -> u64 {
    report["peak_memory_bytes"].as_u64().unwrap() >> 20
}

#[tokio::test]
async fn i7_a_message_of_tiny_rows_is_cut_off() {
    let home = items().await;
    let tiny = |rows: usize| vec![Bytes::new(); rows];
    // 60 MiB, two bytes each.
    let source = script().raw_chunk("", tiny(30 << 20)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    let ended = home.run();
    ended
        .said("sent more than 300 rows in a chunk; at most 300 were requested")
        .said("`source.chunk_rows` sets");
    let report = ended.exit(1);
    assert!(peak(&report) < 250, "{} MiB", peak(&report));
}

fn wide(fields: usize) -> Script {
    let mut script = Script::new(2, &[]);
    script.dataset.fields = (0..fields)
        .map(|number| Field {
            name: format!("f{number}"),
            r#type: FieldType::Integer.into(),
        })
        .collect();
    script
}

#[tokio::test]
async fn i7_a_dataset_with_too_many_fields_or_partitions_is_refused() {
    let home = items().await;
    let many = {
        let mut script = script();
        script.dataset.partitions = (0..1_001).map(|number| number.to_string()).collect();
        script
    };
    for (script, said) in [
        (
            wide(200_000),
            "declares 200001 fields and embeddings; `limits.fields` allows 2000",
        ),
        (
            many,
            "declares 1001 partitions; `limits.partitions` allows 1000",
        ),
    ] {
        let source = script.serve();
        home.configure(&source.pipeline(&["items"], ""));
        let ended = home.start_command(&["run"], "").wait();
        ended.said(said).said("hint: raise `limits.");
        ended.exit(1);
    }
    let source = wide(200_000).serve();
    home.configure_with(
        &guests("plugins"),
        "limits.fields = 250_000",
        &source.pipeline(&["items"], ""),
    );
    let ended = home.start_command(&["run"], "").wait();
    ended.said("limits.fields");
    ended.exit(2);
}

#[tokio::test]
async fn i7_wide_rows_come_in_smaller_chunks() {
    let home = items().await;
    // With the embedding, as many as are allowed.
    let fields = 1_999;
    let rows = (0..400).map(|key: usize| {
        let row = row(&key.to_string(), &[1.0, 1.0]);
        // In another order in each row.
        (0..20).fold(row, |row, at| {
            let field = (at * 97 + key * 31) % fields;
            row.set(&format!("f{field}"), Kind::Integer(1))
        })
    });
    let rows: Vec<_> = rows.collect();
    let chunks = rows.chunks(50).map(<[_]>::to_vec);
    let source = chunks.fold(wide(fields), Script::chunk).serve();
    let pipeline = source.pipeline_with(&["items"], "plugins = []", 10_000, "");
    home.configure_with(&guests("plugins"), "limits.in_flight = \"4MiB\"", &pipeline);
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 400, "{report:#}");
    assert!(source.asked() <= 64, "{}", source.asked());
    assert!(peak(&report) < 250, "{} MiB", peak(&report));
}

#[tokio::test]
async fn i7_a_list_of_tiny_items_costs_its_row() {
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, tags text[], vector vector(2))")
        .await;
    let tags = |key: &str, number: usize| {
        row(key, &[1.0, 1.0]).texts("tags", std::iter::repeat_n("", number))
    };
    let source = Script::new(2, &[("tags", FieldType::Texts)])
        .chunk([tags("1", 3), tags("2", 500_000), tags("3", 30_000)])
        .serve();
    home.configure(&source.pipeline(&["items"], ""));
    let ended = home.run();
    let report = ended.done();
    assert_eq!(report["rows"]["inserted"], 2, "{report:#}");
    assert_eq!(report["codes"][0]["code"], "ROW_TOO_LARGE");
    let said = home
        .database
        .texts("select message from forebay.dead_letter")
        .await;
    assert!(said[0].contains("`limits.row`"), "{said:?}");
}
