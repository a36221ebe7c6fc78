//! A new version that misbehaves goes, and the last good one comes back.

use std::fs;

use super::stage::Stage;

/// A version comes, fails, and is gone with no row having suffered from it.
async fn goes_back_from(version: &str, faults_of: &str) {
    let stage = Stage::new("").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.put(version);
    host.until("barred until its file changes");
    host.until("chunk committed");
    let report = stage.end(host).await;
    assert_eq!(stage.versions().await, ["0000"]);
    let faulty = format!("select count(*) from forebay.dead_letter where code like '{faults_of}'");
    assert_eq!(stage.home.database.number(&faulty).await, 0, "{report:#}");
    assert_eq!(
        stage.states().await,
        ["0000 active".to_owned(), format!("{version} barred")]
    );

    // The next run finds the same file, and does not try it again.
    stage.source.again();
    let mut host = stage.home.start("");
    host.until("the last good version is used");
    host.until("chunk committed");
    stage.source.end();
    host.wait().done();
    assert_eq!(stage.versions().await, ["0000"]);

    // Another file is another chance.
    stage.source.again();
    stage.put("0007");
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0007").await;
    stage.source.end();
    host.wait().done();
    let states = stage.states().await;
    assert!(states.contains(&"0007 active".to_owned()), "{states:?}");
}

#[tokio::test]
async fn from_a_version_that_traps_on_every_row() {
    goes_back_from("2000", "PLUGIN_%").await;
}

#[tokio::test]
async fn from_a_version_that_traps_on_a_third_of_the_rows() {
    goes_back_from("1000", "PLUGIN_%").await;
}

#[tokio::test]
async fn from_a_version_that_never_answers() {
    goes_back_from("3000", "PLUGIN_%").await;
}

#[tokio::test]
async fn from_a_policy_that_traps() {
    goes_back_from("6000", "PLUGIN_%").await;
}

#[tokio::test]
async fn a_barred_file_that_comes_again_stays_barred() {
    let stage = Stage::new("").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.put("2000");
    stage.until_state(&mut host, "2000", "barred").await;
    stage.put("0001");
    stage.until_met(&mut host, "0001").await;
    stage.put("2000");
    host.until("this file is barred");
    stage.end(host).await;
    let states = stage.states().await;
    assert!(states.contains(&"2000 barred".to_owned()), "{states:?}");
}

#[tokio::test]
async fn with_nothing_to_go_back_to_no_row_goes_on_without() {
    let stage = Stage::new("").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.end(host).await;
    let before = stage.source.sent();

    // As on another machine, which has no copy of what was good.
    fs::remove_dir_all(stage.home.path().join(".forebay/plugins")).unwrap();
    stage.source.again();
    stage.put("2000");
    let ended = stage.home.start("").wait();
    ended.said("there is no version to fall back to");
    ended.exit(3);
    let rows = "select count(*) from items";
    let letters = "select count(*) from forebay.dead_letter";
    let database = &stage.home.database;
    let written = database.number(rows).await + database.number(letters).await;
    assert_eq!(u64::try_from(written).unwrap(), before);

    // It is not tried again.
    let ended = stage.home.start("").wait();
    ended.said("is barred");
    ended.exit(2);
}

#[tokio::test]
async fn a_trial_that_a_run_cuts_short_goes_on_in_the_next() {
    let stage = Stage::new("plugins.canary = { chunks = 1000000 }").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.put("0001");
    stage.until_met(&mut host, "0001").await;
    stage.end(host).await;
    assert_eq!(stage.states().await, ["0000 retired", "0001 canary"]);

    // A version that was there from the beginning to the end of a run has proven itself.
    stage.source.again();
    let mut host = stage.home.start("");
    host.until("chunk committed");
    stage.source.end();
    host.wait().done();
    assert_eq!(stage.states().await, ["0000 retired", "0001 active"]);
}

#[tokio::test]
async fn within_the_share_that_is_allowed_it_stays() {
    let stage = Stage::new("plugins.canary = { chunks = 3, faults = 0.5 }").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.put("1000");
    host.until("has passed its trial");
    stage.end(host).await;
    let states = stage.states().await;
    assert_eq!(states, ["0000 retired", "1000 active"]);
    let traps = "select count(*) from forebay.dead_letter where code = 'PLUGIN_TRAP'";
    assert!(stage.home.database.number(traps).await > 0);
}

#[tokio::test]
async fn a_bar_is_lifted_by_hand() {
    let stage = Stage::new("plugins.canary = { chunks = 3, faults = 0.1 }").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.put("1000");
    stage.until_state(&mut host, "1000", "barred").await;
    let promoted = stage.json(&["plugin", "promote", "stamp"]);
    assert_eq!(promoted[0]["pipeline"], "rows", "{promoted}");
    host.until("the next chunk meets a new version");
    host.until("barred until its file changes");
    stage.end(host).await;
}
