//! Source and database go away and come back: the run ends as if nothing had been.

use std::sync::Arc;

use forebay::demo::dataset::Dataset;
use forebay::demo::embedding_server;
use forebay::proto::FieldType;
use support::{Home, Over, Recruit, Script, nowhere, row};

#[tokio::test]
async fn a_source_that_breaks_off_is_asked_again_from_the_checkpoint() {
    let recruit = Recruit::breaking(&[4, 0, 5]).await;
    let ended = recruit.home.run();
    ended.said("the stream was made to break here");
    let report = ended.done();
    assert_eq!(report["starts"], 1);
    recruit.assert_undisturbed("a source that breaks off").await;
}

#[tokio::test]
async fn a_source_that_comes_later_is_waited_for() {
    let home = Home::recruit(8).await;
    let address = nowhere();
    home.configure_recruit(&format!("http://{address}"), "");
    let mut host = home.start("");
    host.until("trying again");
    let dataset = Arc::new(Dataset::new(500, 8).unwrap());
    let _source = embedding_server::start(Arc::clone(&dataset), address).unwrap();
    let report = host.wait().done();
    assert_eq!(report["rows"]["received"], 500);
    assert_eq!(report["rows"]["inserted"], dataset.expected().inserted);
}

#[tokio::test]
async fn a_source_that_stays_away_is_given_up() {
    let home = Home::recruit(8).await;
    let address = nowhere();
    home.configure_with(
        &support::guests("plugins"),
        "retry.give_up_after = \"100ms\"",
        &format!(
            "[pipelines.recruit]\nsource = {{ grpc = \"http://{address}\", dataset = \"recruit\" }}\n\
             tables = [\"recruit_metadata\", \"recruit_embedding\"]"
        ),
    );
    let ended = home.run();
    ended.said("gave up after 100ms").said("is away");
    ended.exit(1);
}

#[tokio::test]
async fn a_database_that_ends_its_connections_is_connected_again() {
    let recruit = Recruit::over(Over::Tcp).await;
    let database = &recruit.home.database;
    // Chunk 6 waits for this row; by then there is something to lose.
    let held = database.hold(&same_key(&recruit.clean_key(550))).await;
    let mut host = recruit.home.start("");
    database.until_blocked().await;
    let ended = database.number(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where datname = current_database() and application_name = 'forebay'",
    );
    assert!(ended.await >= 1);
    host.until("trying again");
    held.rollback().await.unwrap();
    // New connections are as fast.
    host.until("TCP_NODELAY is set");
    let report = host.wait().done();
    assert_eq!(report["starts"], 1);
    recruit
        .assert_undisturbed("a database that ends its connections")
        .await;
}

/// A row that the host has to wait for.
pub(crate) fn same_key(key: &str) -> String {
    format!(
        "insert into recruit_metadata (id, company_name, exp_years) values ('{key}', 'held', 0)"
    )
}

#[tokio::test]
async fn a_database_that_stands_still_holds_the_source() {
    const CHUNKS: u64 = 400;
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, body text, vector vector(2))")
        .await;
    let mut script = Script::new(2, &[("body", FieldType::Text)]);
    for key in 0..CHUNKS {
        let body = "x".repeat(100_000);
        script = script.chunk([row(&key.to_string(), &[1.0, 2.0]).text("body", &body)]);
    }
    let source = script.serve();
    home.configure_with(
        &support::guests("plugins"),
        "database.lock_timeout = \"1s\"\nlimits.in_flight = \"1MiB\"",
        &source.pipeline(&["items"], ""),
    );
    let mut lock = home.database.pool.begin().await.unwrap();
    sqlx::query("lock table items in exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let mut host = home.start("");
    // It has waited for the lock as long as it may, and the source had that time to send.
    host.until("trying again");
    // What may be in flight, what gRPC may send ahead, and as much for what lies between.
    let (taken, most) = (source.taken(), (1 + 2 * 8) * 1_048_576 / 100_000);
    assert!(
        taken > 0 && taken < most,
        "{taken} chunks of {CHUNKS} were taken"
    );
    lock.rollback().await.unwrap();
    let report = host.wait().done();
    assert_eq!(report["rows"]["inserted"], CHUNKS);
}
