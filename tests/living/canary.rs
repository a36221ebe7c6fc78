//! A new version that misbehaves goes, and the last good one comes back.

use crate::stage::Stage;

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
async fn within_the_share_that_is_allowed_it_stays() {
    let stage = Stage::new("plugins.canary = { chunks = 3, faults = 0.5 }").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.put("1000");
    host.until("has proven itself");
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
