//! Indexes on expressions, partial ones, and those of other access methods: each is taken and put
//! back by its definition.

use super::{By, Stage, killed};

const KINDS: &str = "create extension bloom; create extension if not exists pg_prewarm;
    create table items (id int primary key, number int not null, vector vector(2) not null);
    create index half on items using hnsw ((vector::halfvec(2)) halfvec_cosine_ops) where number > 3;
    alter index half alter column 1 set statistics 77;
    create index lists on items using ivfflat (vector vector_ip_ops) with (lists = 3);
    create index signs on items using hnsw ((binary_quantize(vector)::bit(2)) bit_hamming_ops);
    create index other on items using bloom ((vector_dims(vector))) with (length = 64);
    create index numbers on items using bloom (number);
    create index ordinary on items (vector);
    create index included on items (number) include (vector);";

async fn indexes(stage: &Stage) -> Vec<String> {
    stage
        .database()
        .texts(
            "select concat_ws(' ', pg_get_indexdef(i.indexrelid), '--', a.attstattarget,
                    case when i.indisvalid and i.indisready then 'valid' end)
             from pg_index i join pg_attribute a on a.attrelid = i.indexrelid and a.attnum = 1
             where i.indrelid = 'items'::regclass order by 1",
        )
        .await
}

#[tokio::test]
async fn indexes_of_every_kind_come_back_by_their_definition() {
    for mode in ["defer-always", "rebuild"] {
        let stage = Stage::by(KINDS, By::Owner).await;
        let before = indexes(&stage).await;
        assert_eq!(before.len(), 8);
        stage.configure("keep");
        stage.home.run().done();
        stage.add();
        stage.configure(mode);
        killed(&stage, "commit.after=return");
        let away = "select name from forebay.index_work order by name";
        let away = stage.database().texts(away).await;
        assert_eq!(away, ["half", "lists", "other", "signs"], "{mode}");
        let ended = stage.home.run();
        ended.said("index read into memory");
        let report = ended.done();
        let built = report["indexes"].as_array().unwrap().iter();
        assert!(built.clone().all(|it| it["state"] == "built"), "{report:#}");
        assert_eq!(built.count(), 4, "{mode}");
        assert_eq!(indexes(&stage).await, before, "{mode}");
    }
}

/// The database may lack the extension, or keep its function from the role.
#[tokio::test]
async fn an_index_that_cannot_be_read_into_memory_is_built_all_the_same() {
    let stage = Stage::loaded_by(super::ITEMS, By::Owner).await;
    stage
        .database()
        .execute(
            "create schema elsewhere; create extension pg_prewarm schema elsewhere;
             revoke all on schema elsewhere from public",
        )
        .await;
    stage.configure("rebuild");
    let ended = stage.home.run();
    assert!(!ended.log.contains("INFO index read into memory"));
    ended.said("the index is not read into memory");
    ended.done();
    stage.assert_whole("without pg_prewarm").await;
}
