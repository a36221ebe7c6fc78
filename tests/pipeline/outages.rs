//! Source and database go away and come back: the run ends as if nothing had been.

use std::net::TcpListener;
use std::sync::Arc;

use forebay::demo::dataset::Dataset;
use forebay::demo::embedding_server;

use crate::support::{Home, Recruit};

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
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
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
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    home.configure_with(
        &crate::support::guests("plugins"),
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
    let recruit = Recruit::new().await;
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
