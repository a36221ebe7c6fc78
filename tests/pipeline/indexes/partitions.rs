//! Vector indexes of a partitioned table, with a partition that is partitioned itself.

use std::os::unix::process::ExitStatusExt;

use support::Script;

use super::{By, FIELDS, Stage, rows};

const PARTITIONED: &str =
    "create table items (id int primary key, number int not null, vector vector(2) not null)
        partition by range (id);
    create table low partition of items for values from (0) to (250);
    create table high partition of items for values from (250) to (1000) partition by range (id);
    create table middle partition of high for values from (250) to (500) with (fillfactor = 80);
    create table top partition of high for values from (500) to (1000);
    create index whole on items using hnsw (vector vector_l2_ops) with (m = 8, ef_construction = 40);
    comment on index whole is 'all of it';
    alter index middle_vector_idx rename to \"The middle\";
    alter index \"The middle\" set (ef_construction = 32);
    comment on index \"The middle\" is 'a part';";

/// The vector indexes with their places in each other.
async fn indexes(stage: &Stage) -> Vec<String> {
    stage
        .database()
        .texts(
            "select concat_ws(' ', pg_get_indexdef(i.indexrelid), '-- of', h.inhparent::regclass,
                    obj_description(i.indexrelid, 'pg_class'),
                    case when i.indisvalid then 'valid' end, case when i.indisready then 'ready' end)
             from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
             left join pg_inherits h on h.inhrelid = i.indexrelid
             where m.amname = 'hnsw' order by 1",
        )
        .await
}

/// Loads the rows, and notes the indexes from before.
async fn stage() -> (Stage, Vec<String>) {
    let stage = Stage::loaded_by(PARTITIONED, By::Owner).await;
    let before = indexes(&stage).await;
    assert_eq!(before.len(), 5);
    (stage, before)
}

async fn assert_whole(stage: &Stage, before: &[String], what: &str) {
    assert_eq!(indexes(stage).await, before, "{what}");
    let left = "select (select count(*) from forebay.index_work) + (select count(*) from forebay.index_wait)";
    assert_eq!(stage.database().number(left).await, 0, "{what}");
    for key in [1, 300, 45, 450, 600] {
        assert_eq!(stage.nearest(key).await, key.to_string(), "{what}");
    }
}

#[tokio::test]
async fn a_partitioned_index_comes_back_partition_by_partition() {
    let mut seen = Vec::new();
    for mode in ["keep", "defer", "defer-always", "rebuild"] {
        let (stage, before) = stage().await;
        stage.configure(mode);
        let report = stage.home.run().done();
        assert_eq!(report["rows"]["inserted"], 200, "{report:#}");
        for index in report["indexes"].as_array().unwrap() {
            seen.push(format!(
                "{mode}: {} {} {}",
                index["name"].as_str().unwrap(),
                index["mode"].as_str().unwrap(),
                index["state"].as_str().unwrap()
            ));
        }
        assert_whole(&stage, &before, mode).await;
    }
    insta::assert_snapshot!(seen.join("\n"), @r#"
    keep: public.whole keep kept
    defer: public.whole keep kept
    defer-always: public."The middle" defer built
    defer-always: public.top_vector_idx defer built
    defer-always: public.high_vector_idx defer built
    defer-always: public.low_vector_idx defer built
    defer-always: public.whole defer built
    rebuild: public."The middle" rebuild built
    rebuild: public.top_vector_idx rebuild built
    rebuild: public.low_vector_idx rebuild built
    "#);
}

#[tokio::test]
async fn a_host_that_dies_at_a_partitioned_index() {
    // After the first partition, after the second, and before the whole.
    for (mode, fault) in [
        ("defer-always", "index.taken=return"),
        ("defer-always", "index.back=return"),
        ("defer-always", "index.built=1*off->return"),
        ("defer-always", "index.back=3*off->return"),
        ("rebuild", "index.taken=return"),
        ("rebuild", "index.back=return"),
        ("rebuild", "index.built=1*off->return"),
    ] {
        let what = format!("{mode} killed at {fault}");
        let (stage, before) = stage().await;
        stage.configure(mode);
        let ended = stage.home.start(fault).wait();
        assert_eq!(ended.status.signal(), Some(9), "{what}: {}", ended.log);
        // A partition that comes in the meantime is indexed as well.
        let role = stage.role.as_deref().unwrap();
        let later = format!(
            "create table later partition of items for values from (1000) to (1100);
             alter table later owner to {role}"
        );
        stage.database().execute(&later).await;
        stage.home.run().done();
        let of_later = "select count(*) from pg_index i join pg_inherits h on h.inhrelid = i.indexrelid
            where i.indrelid = 'later'::regclass and h.inhparent = 'whole'::regclass and i.indisvalid";
        assert_eq!(stage.database().number(of_later).await, 1, "{what}");
        stage.database().execute("drop table later").await;
        assert_whole(&stage, &before, &what).await;
    }
}

#[tokio::test]
async fn a_superuser_freezes_partitions_one_by_one() {
    let stage = Stage::loaded(PARTITIONED).await;
    let before = indexes(&stage).await;
    stage.configure("rebuild-frozen");
    let ended = stage.home.start("commit.after=return").wait();
    assert_eq!(ended.status.signal(), Some(9), "{}", ended.log);
    let frozen = "select count(*) from pg_index where indisvalid and not indisready";
    assert_eq!(stage.database().number(frozen).await, 3);
    stage.home.run().done();
    assert_whole(&stage, &before, "frozen").await;
}

/// A pipeline that writes into one partition leaves the index of the whole table alone.
#[tokio::test]
async fn a_partition_as_target_keeps_its_part_of_the_index() {
    let (stage, before) = stage().await;
    for (mode, first, state) in [
        ("defer-always", 600, "keep kept"),
        ("rebuild", 700, "rebuild built"),
    ] {
        let source = Script::new(2, &FIELDS)
            .chunk(rows(first..first + 20))
            .serve();
        let pipeline = source.pipeline(&["top"], &format!("index = \"{mode}\""));
        stage
            .home
            .configure(&pipeline.replace(".rows]", &format!(".{mode}]")));
        super::run_as(&stage.home, stage.role.as_deref().unwrap());
        let report = stage.home.run().done();
        let index = &report["indexes"][0];
        assert_eq!(index["name"], "public.top_vector_idx");
        let seen = format!(
            "{} {}",
            index["mode"].as_str().unwrap(),
            index["state"].as_str().unwrap()
        );
        assert_eq!(seen, state);
        assert_eq!(indexes(&stage).await, before, "{mode}");
    }
}
