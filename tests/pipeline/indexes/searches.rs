//! What searches find while a new index is on its way.

use std::collections::BTreeSet;

use super::{By, INDEX, ITEMS, Stage, killed, treated};

const USES_INDEX: &str = "Index Scan using \"Items vector\" on items";

/// The rows that a reader finds by the index, each by its own vector, looking in one statement
/// with one snapshot.
const FOUND: &str = "select id::text from items where nearest(vector) = id::text";

#[tokio::test]
async fn searches_see_every_old_row_at_every_moment_of_a_rebuild() {
    let stage = Stage::loaded_by(ITEMS, By::Owner).await;
    let database = stage.database();
    stage.configure("rebuild");
    let old: BTreeSet<String> = (1..=400).map(|key| key.to_string()).collect();
    let mut host = stage.home.start("");
    let ended = tokio::task::spawn_blocking(move || {
        while host.next_line().is_some() {}
        host.wait()
    });
    // Looks from before the load until after the swap.
    let mut looks = 0;
    loop {
        let is_last = ended.is_finished();
        let found: BTreeSet<String> = database.texts(FOUND).await.into_iter().collect();
        let missed: Vec<&String> = old.difference(&found).collect();
        assert!(missed.is_empty(), "look {looks}: {missed:?}");
        let plan = stage.plan().await;
        assert!(plan.contains(USES_INDEX), "look {looks}: {plan}");
        looks += 1;
        if is_last {
            break;
        }
    }
    assert!(looks > 1);
    assert_eq!(treated(&ended.await.unwrap().done()), "rebuild built");
    stage.assert_whole("after a rebuild").await;
}

#[tokio::test]
async fn searches_see_new_rows_before_the_swap() {
    let stage = Stage::loaded_by(ITEMS, By::Owner).await;
    stage.configure("rebuild");
    // The chunk of new rows is committed, the changed ones are still to come.
    killed(&stage, "commit.after=return");
    let light = INDEX[0].replace("ef_construction='40'", "ef_construction='4'");
    assert_eq!(stage.index().await, [light]);
    assert!(stage.plan().await.contains(USES_INDEX));
    let found = stage.database().texts(FOUND).await;
    assert_eq!(found.len(), 600);
    // VACUUM would repair the graph with the least effort.
    for statement in [
        "delete from items where id between 10 and 150",
        "vacuum items",
    ] {
        stage.database().execute(statement).await;
    }
    assert_eq!(stage.database().texts(FOUND).await.len(), 459);
    assert_eq!(treated(&stage.home.run().done()), "rebuild built");
    assert_eq!(stage.index().await, INDEX);
}

#[tokio::test]
async fn a_build_that_waits_for_a_transaction_says_so_and_keeps_nobody_from_searching() {
    let stage = Stage::loaded_by(ITEMS, By::Owner).await;
    let database = stage.database();
    stage.configure("rebuild");
    killed(&stage, "index.before=return");
    let held = database
        .hold("lock table items in row exclusive mode")
        .await;
    let mut host = stage.home.start("");
    host.until("has to end first");
    assert!(stage.plan().await.contains(USES_INDEX));
    assert_eq!(database.texts(FOUND).await.len(), 600);
    held.rollback().await.unwrap();
    host.wait().done();
    stage.assert_whole("after a wait").await;
}

#[tokio::test]
async fn searches_keep_the_index_that_is_frozen() {
    let stage = Stage::loaded(ITEMS).await;
    let database = stage.database();
    stage.configure("rebuild-frozen");
    // The chunk of new rows is committed, the changed ones are still to come.
    killed(&stage, "commit.after=return");
    let away = INDEX[0].strip_suffix(", ready").unwrap();
    assert_eq!(stage.index().await, [away]);
    assert!(
        stage.plan().await.contains(USES_INDEX),
        "{}",
        stage.plan().await
    );
    // Old rows are found by it, new ones only by looking at all rows.
    assert_eq!(stage.nearest(17).await, "17");
    assert_ne!(stage.nearest(500).await, "500");
    let exact = "select id::text from items order by abs(number - 500) limit 1";
    assert_eq!(database.texts(exact).await, ["500"]);
    // Rows that are deleted leave places that the index still points to: were they taken by
    // other rows, it would find those.
    database
        .execute("create table gone as select * from items where id between 10 and 150")
        .await;
    database
        .execute("delete from items where id between 10 and 150")
        .await;
    database.execute("vacuum items").await;
    database
        .execute("insert into items select 9000 + n, 5, array[500, n]::real[]::vector from generate_series(1, 400) n")
        .await;
    assert!(stage.plan().await.contains(USES_INDEX));
    let found = "select found from gone, nearest(gone.vector) near(found) where found::int > 9000";
    let none: [&str; 0] = [];
    assert_eq!(database.texts(found).await, none);
    // The next start goes on, and puts everything back.
    let report = stage.home.run().done();
    assert_eq!(treated(&report), "rebuild-frozen built");
    database
        .execute("delete from items where id > 9000; insert into items select * from gone on conflict do nothing")
        .await;
    stage.assert_whole("after a rebuild").await;
}
