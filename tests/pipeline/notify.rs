//! The API server is told once the rows are there, however long that takes, and for nothing else.

use forebay::demo::api_server;
use support::{Home, Recruit, nowhere};

#[tokio::test]
async fn what_an_absent_api_server_is_owed_is_delivered_by_the_next_run() {
    let recruit = Recruit::new().await;
    let home = &recruit.home;
    let address = nowhere();
    let notify = format!("notify = {{ grpc = \"http://{address}\", target = \"recruit\" }}");
    home.configure_recruit(&recruit.source.url(), &notify);

    let report = home.run().done();
    assert_eq!(report["notify"]["status"], "pending");
    assert_eq!(report["notify"]["attempts"], 5);
    assert!(report["notify"]["error"].is_string());
    let owed = recruit.state().await;
    assert!(owed.part("outbox")[0].ends_with(" owed"), "{owed:?}");

    let api = api_server::start(address).unwrap();
    let again = home.run().done();
    assert_eq!(again["notify"]["status"], "delivered");
    assert!(api.received().iter().all(|call| call.target == "recruit"));
    assert!(
        recruit
            .state()
            .await
            .part("outbox")
            .iter()
            .all(|line| line.ends_with(" delivered"))
    );
    let first = recruit.dataset.expected();
    assert_eq!(
        api.received()[0].changed_rows,
        first.inserted + first.updated
    );
}

#[tokio::test]
async fn a_call_that_fails_is_made_again() {
    let recruit = Recruit::new().await;
    let api = api_server::start_failing(support::anywhere(), 2).unwrap();
    let notify = format!(
        "notify = {{ grpc = \"{}\", target = \"recruit\" }}",
        api.url()
    );
    recruit
        .home
        .configure_recruit(&recruit.source.url(), &notify);
    let report = recruit.home.run().done();
    assert_eq!(report["notify"]["status"], "delivered");
    assert_eq!(report["notify"]["attempts"], 3);
    let calls = api.received();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| *call == calls[0]), "{calls:?}");
}

#[tokio::test]
async fn nobody_is_told_when_nothing_has_changed() {
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, number int, vector vector(2))")
        .await;
    let script = support::Script::new(2, &[("number", forebay::proto::FieldType::Integer)]);
    let source = script.chunk(support::rows(1..=10)).serve();
    let api = api_server::start(support::anywhere()).unwrap();
    let notify = format!(
        "notify = {{ grpc = \"{}\", target = \"items\" }}",
        api.url()
    );
    home.configure(&source.pipeline(&["items"], &notify));
    assert_eq!(home.run().done()["notify"]["status"], "delivered");
    let again = home.run().done();
    assert_eq!(again["rows"]["unchanged"], 10);
    assert_eq!(again["notify"]["status"], "nothing_changed");
    assert_eq!(api.received().len(), 1);
}
