//! A run that is stopped on purpose, by a signal or by the policy, goes on later.

use nix::sys::signal::Signal;
use support::Recruit;

use super::outages::same_key;

#[tokio::test]
async fn a_signal_drains_and_the_next_run_goes_on() {
    let recruit = Recruit::new().await;
    let database = &recruit.home.database;
    let held = database.hold(&same_key(&recruit.clean_key(550))).await;
    let mut host = recruit.home.start("");
    database.until_blocked().await;
    host.signal(Signal::SIGTERM);
    host.until("stopping after the received chunks are committed");
    held.rollback().await.unwrap();
    let first = host.wait().exit(130);
    assert_eq!(first["status"], "interrupted");
    let committed = first["rows"]["received"].as_u64().unwrap();
    assert!((600..1_500).contains(&committed), "{first:#}");
    assert_eq!(first["checkpoint"][0]["rows"], committed);
    assert_eq!(
        database.number("select received from forebay.run").await as u64,
        committed
    );

    let second = recruit.home.run().done();
    assert_eq!(second["run_id"], first["run_id"]);
    assert_eq!(second["starts"], 2);
    assert_eq!(second["this_start"]["received"], 1_500 - committed);
    recruit.assert_undisturbed("a signal").await;
}

#[tokio::test]
async fn the_second_signal_does_not_wait() {
    let recruit = Recruit::new().await;
    let database = &recruit.home.database;
    let held = database.hold(&same_key(&recruit.clean_key(550))).await;
    let mut host = recruit.home.start("");
    database.until_blocked().await;
    host.signal(Signal::SIGTERM);
    host.until("stopping after the received chunks are committed");
    host.signal(Signal::SIGINT);
    assert_eq!(host.wait().status.code(), Some(130));
    held.rollback().await.unwrap();
    recruit.home.run().done();
    recruit.assert_undisturbed("two signals").await;
}

#[tokio::test]
async fn a_policy_that_halts_in_a_plugins_stage_writes_nothing_of_the_chunk() {
    halt("FIELD_RANGE").await;
}

#[tokio::test]
async fn a_policy_that_halts_in_the_database_writes_nothing_of_the_chunk() {
    halt("SQL_23514").await;
}

async fn halt(code: &str) {
    let recruit = Recruit::new().await;
    let settings = format!("settings = {{ recruit-dlq = {{ halt_codes = \"{code}\" }} }}");
    recruit.configure(&settings);
    let first_such = (0..).find(|index| {
        let fate = recruit.dataset.dirt(*index).map(|dirt| dirt.fate());
        format!("{fate:?}").contains(code)
    });
    let before = first_such.unwrap() / 100 * 100;
    let ended = recruit.home.run();
    ended.said(code);
    let report = ended.exit(3);
    assert_eq!(report["status"], "halted");
    assert!(
        report["message"].as_str().unwrap().contains(code),
        "{report:#}"
    );
    assert_eq!(report["rows"]["received"], before);
    let row = recruit.clean_key(before);
    for table in ["recruit_metadata", "recruit_embedding"] {
        let count = format!("select count(*) from {table} where id = '{row}'");
        assert_eq!(recruit.home.database.number(&count).await, 0, "{table}");
    }
    // Asked again, it says the same.
    assert_eq!(recruit.home.run().exit(3)["rows"]["received"], before);

    recruit.configure("");
    recruit.home.run().done();
    recruit.assert_undisturbed(code).await;
}
