//! A new version runs beside the one in use, without effect, until it is promoted.

use support::endless::CHUNK;

use super::stage::Stage;

#[tokio::test]
async fn what_would_change_is_shown_and_promoted_by_hand() {
    let stage = Stage::new("plugins.shadow = { plugins = [\"stamp\"] }").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.put("4000");
    host.until("a new version runs as a shadow of the active one");
    let compared = "select coalesce(max(rows_compared), 0) from forebay.plugin_version";
    while stage.home.database.number(compared).await < 20 * i64::try_from(CHUNK).unwrap() {
        host.until("chunk committed");
    }
    assert_eq!(stage.versions().await, ["0000"], "it has no effect");

    let diff = stage.json(&["plugin", "diff", "stamp"]);
    let diff = &diff[0];
    assert_eq!(diff["version"], "version-4000");
    let rows = diff["rows_compared"].as_u64().unwrap();
    let differs = |is: &str, would_be: &str| {
        let all = diff["differences"].as_array().unwrap().iter();
        let mut found = all.filter(|it| it["is"] == is && it["would_be"] == would_be);
        found.next().map_or(0, |it| it["rows"].as_u64().unwrap())
    };
    // Of 70 rows in a row 7 are multiples of 10, and 9 others of 7.
    let sevens = differs("accept", "dead-letter SEVEN");
    assert!(
        (rows / 10..rows / 6).contains(&sevens),
        "{sevens} of {rows}: {diff:#}"
    );
    // The rest comes out with the other version in it.
    let others = differs("accept", "accept with other version");
    let queues = differs("TEN to queue version-0000", "TEN to queue version-4000");
    assert_eq!(sevens + others + rows / 10, rows, "{diff:#}");
    assert!(queues > 0, "{diff:#}");
    assert_eq!(diff["rows_different"], sevens + others + queues);

    stage.json(&["plugin", "promote", "stamp"]);
    host.until("promoted: the next chunk meets the new version");
    stage.until_state(&mut host, "4000", "active").await;
    stage.end(host).await;
    assert_eq!(stage.versions().await, ["0000", "4000"]);
    assert_eq!(stage.states().await, ["0000 retired", "4000 active"]);
}

#[tokio::test]
async fn promoted_by_itself_after_enough_rows() {
    let stage = Stage::new(
        "plugins.shadow = { plugins = [\"stamp\"], promote_after = 600, differences = 1.0 }",
    )
    .await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.put("0001");
    host.until("promoted: the next chunk meets the new version");
    stage.until_met(&mut host, "0001").await;
    stage.end(host).await;
}

#[tokio::test]
async fn a_shadow_that_traps_harms_nobody() {
    let stage = Stage::new("plugins.shadow = { plugins = [\"stamp\"] }").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.put("2000");
    host.until("the shadow is barred until its file changes");
    host.until("chunk committed");
    stage.end(host).await;
    assert_eq!(stage.versions().await, ["0000"]);
    assert_eq!(stage.states().await, ["0000 active", "2000 barred"]);
}

#[tokio::test]
async fn a_shadow_survives_a_restart() {
    let stage = Stage::new("plugins.shadow = { plugins = [\"stamp\"] }").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.source.end();
    host.wait().done();

    stage.source.again();
    stage.put("4000");
    let mut host = stage.home.start("");
    host.until("chunk committed");
    stage.source.end();
    host.wait().done();
    assert_eq!(stage.versions().await, ["0000"]);
    assert_eq!(stage.states().await, ["0000 active", "4000 shadow"]);

    // What is promoted while no host is at work is used by the next one.
    stage.json(&["plugin", "promote", "stamp"]);
    stage.source.again();
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "4000").await;
    stage.source.end();
    host.wait().done();
    assert_eq!(stage.states().await, ["0000 retired", "4000 active"]);
    let asked = "select count(*) from forebay.plugin_version where promote";
    assert_eq!(stage.home.database.number(asked).await, 0);
}

#[tokio::test]
async fn a_shadow_goes_when_the_version_in_use_is_in_its_file_again() {
    let stage = Stage::new("plugins.shadow = { plugins = [\"stamp\"] }").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.put("4000");
    stage.until_state(&mut host, "4000", "shadow").await;
    stage.put("0000");
    stage.until_state(&mut host, "4000", "retired").await;
    stage.end(host).await;
    assert_eq!(stage.states().await, ["0000 active", "4000 retired"]);
}
