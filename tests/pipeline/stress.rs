//! The host under stress: asked to stop while nothing answers, stopped in the middle, met by a clock
//! that was set back and a pipeline that was renamed.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use forebay::demo::running::Running;
use forebay::proto::embedding_source_service_server::{
    EmbeddingSourceService, EmbeddingSourceServiceServer,
};
use forebay::proto::{
    Dataset, Delivery, ListDatasetsRequest, ListDatasetsResponse, StreamChunksRequest,
    StreamChunksResponse,
};
use futures_util::stream::BoxStream;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{Ended, Home, Host, Recruit, Script, Scripted, anywhere, guests, rows};
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

use super::outages::same_key;

/// A stop takes five seconds and what the report needs, and without a bound minutes.
const SOON: Duration = Duration::from_secs(60);

const ITEMS: &str =
    "create table items (id int primary key, number int, vector vector(2) not null)";

/// Sends SIGTERM and waits for the end, which comes soon.
#[track_caller]
fn stopped(host: Host) -> Ended {
    let begin = Instant::now();
    host.signal(Signal::SIGTERM);
    let ended = host.wait();
    assert!(begin.elapsed() < SOON, "{}", ended.log);
    ended
}

#[tokio::test]
async fn i3_a_stop_ends_soon_though_the_database_is_away() {
    let mut recruit = Recruit::new().await;
    let place = tempfile::tempdir().unwrap();
    let (_, query) = recruit.home.database.url.split_once("host=").unwrap();
    let socket = query.split('&').next().unwrap().to_owned();
    let link = place.path().join("socket");
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    let direct = recruit.home.database.url.clone();
    recruit.home.database.url = direct.replace(&socket, link.to_str().unwrap());
    recruit.configure("");
    let database = &recruit.home.database;
    let held = database.hold(&same_key(&recruit.clean_key(550))).await;
    let mut host = recruit.home.start("");
    database.until_blocked().await;
    std::fs::remove_file(&link).unwrap();
    let ended = database.number(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where datname = current_database() and application_name = 'forebay'",
    );
    assert!(ended.await >= 1);
    host.until("trying again");
    let report = stopped(host).exit(130);
    assert_eq!(report["status"], "interrupted", "{report:#}");
    // What it says is of this start, and is in the database.
    let received = report["rows"]["received"].as_u64().unwrap();
    assert_eq!(
        database.number("select received from forebay.run").await as u64,
        received
    );
    let message = report["message"].as_str().unwrap();
    assert!(message.contains("retry.stop_timeout (5s)"), "{message}");
    assert!(message.contains("the database did not answer"), "{message}");
    held.rollback().await.unwrap();
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    recruit.home.run().done();
    recruit
        .assert_undisturbed("a stop without a database")
        .await;
}

#[tokio::test]
async fn i3_a_stop_does_not_wait_for_a_lock_of_others() {
    let recruit = Recruit::new().await;
    let database = &recruit.home.database;
    let held = database.hold(&same_key(&recruit.clean_key(550))).await;
    let (plugins, more) = (guests("plugins"), "retry.stop_timeout = \"200ms\"");
    let config = std::fs::read_to_string(recruit.home.path().join("forebay.toml")).unwrap();
    let (_, pipelines) = config.split_once("[pipelines").unwrap();
    recruit
        .home
        .configure_with(&plugins, more, &format!("[pipelines{pipelines}"));
    let host = recruit.home.start("");
    database.until_blocked().await;
    let report = stopped(host).exit(130);
    assert_eq!(report["status"], "interrupted", "{report:#}");
    assert!(
        report["message"]
            .as_str()
            .unwrap()
            .contains("stop_timeout (200ms)"),
        "{report:#}"
    );
    // The database answers: the end is on record, with all that was committed.
    let run = "select status || ' ' || received from forebay.run";
    let said = format!("interrupted {}", report["rows"]["received"]);
    assert_eq!(database.texts(run).await, [said]);
    held.rollback().await.unwrap();
    recruit.home.run().done();
    recruit.assert_undisturbed("a stop at a lock").await;
}

#[tokio::test]
async fn i3_a_stop_does_not_wait_for_an_api_server_that_hangs() {
    let hangs = TcpListener::bind(anywhere()).unwrap();
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let source = items(100);
    let notify = format!(
        "notify = {{ grpc = \"http://{}\", target = \"items\" }}",
        hangs.local_addr().unwrap()
    );
    home.configure(&source.pipeline(&["items"], &notify));
    let host = home.start("");
    // It is asked, and says nothing.
    let (_asked, _) = hangs.accept().unwrap();
    let report = stopped(host).done();
    assert_eq!(report["rows"]["inserted"], 100, "{report:#}");
    assert_eq!(report["notify"]["status"], "pending", "{report:#}");
    let owed = "select count(*) from forebay.outbox where delivered_at is null";
    assert_eq!(home.database.number(owed).await, 1);
}

#[tokio::test]
async fn i3_a_stop_does_not_wait_for_a_source_that_hangs() {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let asked = std::sync::Arc::new(Notify::new());
    let service = EmbeddingSourceServiceServer::new(Hanging(asked.clone()));
    let router = tonic::transport::Server::builder().add_service(service);
    let source = Running::start("hanging-source", anywhere(), router).unwrap();
    home.configure(&format!(
        "[pipelines.rows]\nsource = {{ grpc = \"{}\", dataset = \"rows\" }}\nplugins = []\n\
         tables = [\"items\"]",
        source.url()
    ));
    for command in [
        &["run", "--report", "report.json"][..],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let host = home.start_command(command, "");
        asked.notified().await;
        let code = if command[0] == "run" { 130 } else { 0 };
        stopped(host).exit(code);
        let status = home.database.texts("select status from forebay.run").await;
        assert_eq!(status, ["interrupted"]);
    }
    let report = std::fs::read(home.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["status"], "interrupted");
}

/// Lists a dataset, and never answers a request for its chunks.
struct Hanging(std::sync::Arc<Notify>);

#[tonic::async_trait]
impl EmbeddingSourceService for Hanging {
    type StreamChunksStream = BoxStream<'static, Result<StreamChunksResponse, Status>>;

    async fn list_datasets(
        &self,
        _request: Request<ListDatasetsRequest>,
    ) -> Result<Response<ListDatasetsResponse>, Status> {
        let dataset = Dataset {
            name: "rows".to_owned(),
            fields: Vec::new(),
            embeddings: vec![forebay::proto::Embedding {
                name: "vector".to_owned(),
                dimensions: 2,
            }],
            partitions: Vec::new(),
            row_count: None,
            delivery: Delivery::Snapshot.into(),
        };
        Ok(Response::new(ListDatasetsResponse {
            datasets: vec![dataset],
        }))
    }

    async fn stream_chunks(
        &self,
        _request: Request<StreamChunksRequest>,
    ) -> Result<Response<Self::StreamChunksStream>, Status> {
        self.0.notify_one();
        std::future::pending().await
    }
}

/// A source of rows with the keys from 1 on, in chunks of 50.
fn items(keys: i64) -> Scripted {
    let mut script = Script::new(2, &[("number", forebay::proto::FieldType::Integer)]);
    for first in (1..=keys).step_by(50) {
        script = script.chunk(rows(first..first + 50));
    }
    script.serve()
}

#[tokio::test]
async fn i4_a_host_that_stands_still_in_a_transaction_holds_no_other_up() {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    // One chunk: a second writer that stands still within a COPY is ended by statement_timeout.
    let source = items(50);
    // With the defaults, the locks of the first host would outlive the patience of the second.
    let more = "database.idle_in_transaction_timeout = \"1s\"\ndatabase.lock_timeout = \"500ms\"\n\
                retry.give_up_after = \"100s\"";
    home.configure_with(&guests("plugins"), more, &source.pipeline(&["items"], ""));
    let stands = home.start("commit.before=pause");
    home.database
        .until(
            "select exists (select from pg_stat_activity a join pg_locks l using (pid)
                 join pg_locks c using (pid)
                 where datname = current_database() and state = 'idle in transaction'
                   and l.relation = 'items'::regclass and l.mode = 'RowExclusiveLock'
                   and c.relation = to_regclass('forebay.checkpoint') and c.mode = 'RowExclusiveLock')",
        )
        .await;
    stands.signal(Signal::SIGSTOP);
    let ended = home.run();
    let report = ended.done();
    assert_eq!(report["rows"]["inserted"], 50, "{report:#}");
    assert_eq!(report["starts"], 2);
    drop(stands);
}

#[tokio::test]
async fn i4_every_connection_has_its_time_outs() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, number int, vector vector(2) not null);
             create table settings (name text primary key, setting text);
             create function note() returns trigger language plpgsql as $$ begin
                 insert into settings select name, setting from pg_settings
                 where name in ('idle_in_transaction_session_timeout', 'statement_timeout', 'lock_timeout')
                 on conflict do nothing; return null; end $$;
             create trigger note after insert on items for each statement execute function note()",
        )
        .await;
    let source = items(50);
    home.configure(&source.pipeline(&["items"], ""));
    home.run().done();
    let settings = home
        .database
        .texts("select name || ' ' || setting from settings order by 1");
    assert_eq!(
        settings.await,
        [
            "idle_in_transaction_session_timeout 30000",
            "lock_timeout 30000",
            "statement_timeout 300000"
        ]
    );
}

const INDEXED: &str =
    "create table items (id int primary key, number int, vector vector(2) not null);
    create index near on items using hnsw (vector vector_l2_ops);";

const HAS_INDEX: &str = "select count(*) from pg_index where indrelid = 'items'::regclass
    and indexrelid = to_regclass('near') and indisvalid and indisready";

/// A load that was killed while the index of its table was away.
async fn killed_without_its_index() -> (Home, Scripted, String) {
    let home = Home::new().await;
    home.database.execute(INDEXED).await;
    let source = items(50);
    home.configure(&source.pipeline(&["items"], ""));
    home.run().done();
    source.change(|script| script.chunk(rows(51..=100)).chunk(rows(101..=150)));
    let pipeline = source.pipeline(&["items"], "index = \"defer-always\"");
    home.configure(&pipeline);
    let killed = home.start("commit.after=return").wait();
    assert_eq!(
        killed.status.signal(),
        Some(Signal::SIGKILL as i32),
        "{}",
        killed.log
    );
    assert_eq!(home.database.number(HAS_INDEX).await, 0);
    (home, source, pipeline)
}

#[tokio::test]
async fn i8_a_run_is_continued_whatever_the_clock_says() {
    let (home, _source, _) = killed_without_its_index().await;
    // As if the server's clock had been set back after the run before.
    home.database
        .execute("update forebay.run set started_at = started_at - interval '1 day' where status = 'running'")
        .await;
    let report = home.run().done();
    assert_eq!(report["starts"], 2, "{report:#}");
    assert_eq!(home.database.number(HAS_INDEX).await, 1);
    let unfinished = "select count(*) from forebay.run where status <> 'succeeded'";
    assert_eq!(home.database.number(unfinished).await, 0);
}

#[tokio::test]
async fn i8_a_run_that_was_lost_under_another_clock_is_ended() {
    let (home, _source, _) = killed_without_its_index().await;
    // What an earlier version made of such a clock: a later run took the checkpoints over.
    home.database
        .execute(
            "insert into forebay.run (id, pipeline, status) select gen_random_uuid(), pipeline, 'interrupted'
             from forebay.run limit 1;
             update forebay.checkpoint set run = (select id from forebay.run where status = 'interrupted')",
        )
        .await;
    home.run().done();
    assert_eq!(home.database.number(HAS_INDEX).await, 1);
    let states = home
        .database
        .texts("select status from forebay.run order by status");
    assert_eq!(states.await, ["abandoned", "succeeded", "succeeded"]);
}

#[tokio::test]
async fn i8_the_index_comes_back_under_another_name_of_the_pipeline() {
    let (home, _source, pipeline) = killed_without_its_index().await;
    home.configure(&pipeline.replace("pipelines.rows]", "pipelines.renamed]"));
    let ended = home.run();
    ended.said("the unfinished run of rows is not waited for");
    let report = ended.done();
    assert_eq!(report["indexes"][0]["state"], "built", "{report:#}");
    assert_eq!(home.database.number(HAS_INDEX).await, 1);
    assert_eq!(
        home.database
            .number("select count(*) from forebay.index_work")
            .await,
        0
    );
}

#[tokio::test]
async fn g_a_position_that_the_source_no_longer_knows_names_the_way_out() {
    let recruit = Recruit::new().await;
    let killed = recruit.home.start("commit.after=return").wait();
    assert_eq!(
        killed.status.signal(),
        Some(Signal::SIGKILL as i32),
        "{}",
        killed.log
    );
    recruit
        .home
        .database
        .execute("update forebay.checkpoint set position = 'lost'")
        .await;
    let ended = recruit.home.run();
    ended.said("`forebay checkpoint reset recruit` makes the next run start from the beginning");
    ended.said("no longer knows the position `lost`");
    ended.exit(1);
    recruit
        .home
        .start_command(&["checkpoint", "reset", "recruit"], "")
        .wait()
        .exit(0);
    recruit.home.run().done();
}
