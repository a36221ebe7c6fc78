//! Two hosts, one pipeline: whoever claims it last may write, the other one writes nothing.

use support::Recruit;

use super::outages::same_key;

#[tokio::test]
async fn a_host_that_is_overtaken_writes_nothing() {
    let recruit = Recruit::new().await;
    let database = &recruit.home.database;
    let held = database.hold(&same_key(&recruit.clean_key(550))).await;
    let first = recruit.home.start("");
    database.until_blocked().await;
    let mut second = recruit.home.start("");
    second.until("run started");
    held.rollback().await.unwrap();
    let first = first.wait();
    first.said("another host has taken over");
    assert_eq!(first.status.code(), Some(1), "{}", first.log);
    assert_eq!(second.wait().done()["starts"], 2);
    recruit.assert_undisturbed("a host that is overtaken").await;
}

#[tokio::test]
async fn a_reset_fences_a_host_at_work() {
    let recruit = Recruit::new().await;
    let database = &recruit.home.database;
    let held = database.hold(&same_key(&recruit.clean_key(550))).await;
    let host = recruit.home.start("");
    database.until_blocked().await;
    let reset = recruit
        .home
        .start_command(&["checkpoint", "reset", "recruit"], "");
    reset.wait().exit(0);
    let before = recruit.state().await;
    held.rollback().await.unwrap();
    let ended = host.wait();
    ended.said("another host has taken over");
    ended.exit(1);
    let after = recruit.state().await;
    for part in [
        "recruit_metadata",
        "recruit_embedding",
        "dead letters",
        "checkpoints",
        "runs",
        "codes",
    ] {
        assert_eq!(after.part(part), before.part(part), "{part}");
    }

    let report = recruit.home.run().done();
    assert_eq!(report["starts"], 1);
    assert_eq!(report["rows"]["received"], 1_500);
    // The first 500 rows were there.
    assert!(report["rows"]["unchanged"].as_u64().unwrap() > 400);
}
