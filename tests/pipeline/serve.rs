//! The host that stays: pipelines at their times, what it tells over HTTP, and how it ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::demo::dataset::Dataset;
use forebay::demo::embedding_server;
use insta::assert_snapshot;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{Home, Host, PATIENCE, Recruit, guests, nowhere};

const EVERY_SECOND: &str = "schedule = \"* * * * * ?\"";

/// Raised when a run is over and everything about it is noted.
const SUCCEEDED: &str = "forebay_runs_total{pipeline=\"recruit\",status=\"succeeded\"}";

/// A host that serves, and where it answers.
struct Serving {
    host: Host,
    address: SocketAddr,
}

impl Serving {
    fn start(home: &Home) -> Self {
        let mut host = home.start_command(&["serve", "--listen", "127.0.0.1:0"], "");
        let address = loop {
            let line = host.next_line().expect("the host ended before it listened");
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split('/').next().unwrap().parse().unwrap();
            }
        };
        Self { host, address }
    }

    /// Status and body of an answer.
    fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
    }

    fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    fn health(&self) -> (u16, Value) {
        let (status, body) = self.get("/health");
        (status, serde_json::from_str(&body).unwrap())
    }

    /// The value of one series, such as `forebay_chunks_total{pipeline="recruit"}`.
    #[track_caller]
    fn metric(&self, series: &str) -> f64 {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200);
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
            .unwrap_or_else(|| panic!("no {series} in:\n{text}"));
        value.parse().unwrap()
    }

    /// Waits until a series is at least at this value.
    #[track_caller]
    fn until_metric(&self, series: &str, value: f64) {
        let end = Instant::now() + PATIENCE;
        while self.metric(series) < value {
            assert!(Instant::now() < end, "{series} does not become {value}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for this line of the log, `times` times.
    fn until(&mut self, text: &str, times: usize) {
        for _ in 0..times {
            self.host.until(text);
        }
    }

    /// Asks it to stop, and waits until it has: that is how serving ends when all is well.
    fn stop(self) -> String {
        self.host.signal(Signal::SIGTERM);
        let ended = self.host.wait();
        let log = ended.log.clone();
        ended.exit(0);
        log
    }
}

#[tokio::test]
async fn a_pipeline_without_a_schedule_runs_once_and_is_told_of() {
    let recruit = Recruit::new().await;
    let mut serving = Serving::start(&recruit.home);
    serving.until("runs once, now", 1);
    serving.until("run ended", 1);
    recruit.assert_undisturbed("serving").await;

    let expected = recruit.dataset.expected();
    for (fate, rows) in [
        ("inserted", expected.inserted),
        ("updated", expected.updated),
        ("unchanged", expected.unchanged),
        ("dropped", expected.dropped),
        ("dead_lettered", expected.dead_lettered),
    ] {
        let series = format!("forebay_rows_total{{pipeline=\"recruit\",fate=\"{fate}\"}}");
        assert_eq!(serving.metric(&series), rows as f64, "{fate}");
    }
    assert_eq!(
        serving.metric("forebay_chunks_total{pipeline=\"recruit\"}"),
        15.0
    );
    assert_eq!(
        serving
            .metric("forebay_stage_duration_seconds_count{pipeline=\"recruit\",stage=\"commit\"}"),
        15.0
    );
    assert_eq!(
        serving.metric("forebay_remaining_rows{pipeline=\"recruit\"}"),
        0.0
    );
    // The last figure of a run: from then on nothing changes any more.
    serving.until_metric(SUCCEEDED, 1.0);
    assert_eq!(serving.metric(SUCCEEDED), 1.0);

    let (status, mut health) = serving.health();
    assert_eq!((status, &health["status"]), (200, &"ok".into()));
    let pipeline = &mut health["pipelines"][0];
    assert_eq!(pipeline["last_run"]["rows"]["received"], expected.received);
    for (key, kind) in [("ended", "time"), ("run_id", "id"), ("seconds", "seconds")] {
        assert!(!pipeline["last_run"][key].is_null(), "{key}");
        pipeline["last_run"][key] = kind.into();
    }
    assert!(!pipeline["last_success"].is_null());
    pipeline["last_success"] = "time".into();
    pipeline["last_run"]["rows"] = "rows".into();
    assert_snapshot!(serde_json::to_string_pretty(pipeline).unwrap(), @r#"
    {
      "name": "recruit",
      "state": "idle",
      "next": null,
      "last_success": "time",
      "last_run": {
        "run_id": "id",
        "status": "succeeded",
        "message": null,
        "ended": "time",
        "seconds": "seconds",
        "rows": "rows"
      }
    }
    "#);
    serving.stop();
}

#[tokio::test]
async fn metrics_have_names_types_and_help() {
    let recruit = Recruit::new().await;
    let serving = Serving::start(&recruit.home);
    serving.until_metric(SUCCEEDED, 1.0);
    let (_, text) = serving.get("/metrics");
    let mut families: Vec<&str> = text.lines().filter(|line| line.starts_with("# ")).collect();
    families.sort_unstable();
    assert_snapshot!(families.join("\n"), @r#"
    # HELP forebay_build_info Version of this host.
    # HELP forebay_chunks_total Chunks committed.
    # HELP forebay_dead_letter_ratio Dead letters among the latest rows of the pipeline, 0 to 1; `dead_letter_limit` bounds it.
    # HELP forebay_last_success_timestamp_seconds Time at which a run of the pipeline last succeeded, in seconds since 1970.
    # HELP forebay_lost_chunks_total Committed chunks that the database has lost: by a failover, or a restored copy.
    # HELP forebay_pipeline_running 1 while the pipeline is running, otherwise 0.
    # HELP forebay_plugin_call_duration_seconds Duration of plugin calls, including the copying of arguments and answers.
    # HELP forebay_plugin_failed_calls_total Plugin calls that trapped, exceeded their deadline or returned an invalid answer.
    # HELP forebay_plugin_memory_bytes Linear memory of the largest instance of a plugin so far.
    # HELP forebay_plugin_retired_instances_total Instances of a plugin that were replaced because their memory had grown.
    # HELP forebay_plugin_rows_total Rows answered by a plugin, once for each of its roles.
    # HELP forebay_received_bytes_total Size of the encoded rows of committed chunks.
    # HELP forebay_remaining_rows Rows of the dataset that the run has not committed yet, if the source knows their number.
    # HELP forebay_rows_total Rows committed, by fate.
    # HELP forebay_run_duration_seconds Duration of ended runs, by status.
    # HELP forebay_runs_total Ended runs, by status.
    # HELP forebay_skipped_times_total Scheduled times that were skipped because the pipeline was still running.
    # HELP forebay_stage_duration_seconds Duration of the stages of a chunk. Stages of different chunks run side by side.
    # TYPE forebay_build_info gauge
    # TYPE forebay_chunks_total counter
    # TYPE forebay_dead_letter_ratio gauge
    # TYPE forebay_last_success_timestamp_seconds gauge
    # TYPE forebay_lost_chunks_total counter
    # TYPE forebay_pipeline_running gauge
    # TYPE forebay_plugin_call_duration_seconds histogram
    # TYPE forebay_plugin_failed_calls_total counter
    # TYPE forebay_plugin_memory_bytes gauge
    # TYPE forebay_plugin_retired_instances_total counter
    # TYPE forebay_plugin_rows_total counter
    # TYPE forebay_received_bytes_total counter
    # TYPE forebay_remaining_rows gauge
    # TYPE forebay_rows_total counter
    # TYPE forebay_run_duration_seconds histogram
    # TYPE forebay_runs_total counter
    # TYPE forebay_skipped_times_total counter
    # TYPE forebay_stage_duration_seconds histogram
    "#);
    let plugin = "forebay_plugin_rows_total{plugin=\"recruit-rules\",digest=\"";
    assert_eq!(text.matches(plugin).count(), 1, "{text}");
    let memory = "forebay_plugin_memory_bytes{plugin=\"recruit-rules\",digest=\"";
    assert_eq!(text.matches(memory).count(), 1, "{text}");

    assert_eq!(serving.get("/metrics?name=x").0, 200);
    assert_snapshot!(format!("{:?}", serving.get("/")), @r#"(404, "available: /metrics, /livez, /readyz, /health\n")"#);
    assert_snapshot!(format!("{:?}", serving.ask("POST /metrics HTTP/1.1\r\ncontent-length: 0\r\n\r\n")), @r#"(405, "only GET and HEAD are supported\n")"#);
    let (status, body) = serving.ask("HEAD /health HTTP/1.1\r\n\r\n");
    assert_eq!((status, body.as_str()), (200, ""));
    serving.stop();
}

#[tokio::test]
async fn pipelines_run_at_their_times_and_one_that_fails_hinders_no_other() {
    let recruit = Recruit::new().await;
    let url = recruit.source.url();
    let pipelines = format!(
        r#"
        retry.give_up_after = "100ms"
        [pipelines.recruit]
        source = {{ grpc = "{url}", dataset = "recruit" }}
        tables = ["recruit_metadata", "recruit_embedding"]
        {EVERY_SECOND}
        [pipelines.misfit]
        source = {{ grpc = "{url}", dataset = "recruit" }}
        tables = ["nowhere"]
        {EVERY_SECOND}
        [pipelines.away]
        source = {{ grpc = "http://{}", dataset = "recruit" }}
        tables = ["recruit_metadata"]
        {EVERY_SECOND}
        [pipelines.yearly]
        source = {{ grpc = "{url}", dataset = "recruit" }}
        tables = ["nowhere"]
        schedule = "0 0 0 1 JAN ?""#,
        nowhere()
    );
    recruit.home.configure(&pipelines);
    let mut serving = Serving::start(&recruit.home);
    serving.until("with its schema pipeline=\"yearly\"", 1);
    let failed = |name| format!("forebay_runs_total{{pipeline=\"{name}\",status=\"failed\"}}");
    serving.until_metric(SUCCEEDED, 2.0);
    serving.until_metric(&failed("misfit"), 2.0);
    serving.until_metric(&failed("away"), 2.0);
    let (status, health) = serving.health();
    assert_eq!((status, &health["status"]), (200, &"failing".into()));
    let pipelines = health["pipelines"].as_array().unwrap();
    let shown: Vec<String> = pipelines
        .iter()
        .map(|pipeline| {
            let (name, last) = (&pipeline["name"], &pipeline["last_run"]);
            let (status, message) = (&last["status"], &last["message"]);
            format!("{name}: {status}, {message}, {}", pipeline["problem"])
        })
        .collect();
    insta::with_settings!({filters => vec![(r"127\.0\.0\.\d:\d+", "[address]")]}, {
        assert_snapshot!(shown.join("\n"), @r#"
        "away": "failed", "gave up after 100ms: source http://[address] is away: connection refused: nobody listens there\n  hint: start the server, or correct `source.grpc`", null
        "misfit": "failed", "nowhere: no such table\n  hint: create it, or name it with its schema", null
        "recruit": "succeeded", null, null
        "yearly": null, null, "nowhere: no such table\n  hint: create it, or name it with its schema"
        "#);
    });
    for pipeline in ["recruit", "yearly"] {
        assert_eq!(serving.metric(&failed(pipeline)), 0.0, "{pipeline}");
    }
    assert!(serving.metric("forebay_last_success_timestamp_seconds{pipeline=\"recruit\"}") > 1e9);
    assert!(serving.metric("forebay_next_run_timestamp_seconds{pipeline=\"yearly\"}") > 1e9);
    serving.stop();

    // What the second and later runs found was there already.
    let database = &recruit.home.database;
    let runs = "select count(*) from forebay.run where status = 'succeeded'";
    assert!(database.number(runs).await >= 2);
    assert_eq!(
        database
            .number("select count(*) from recruit_metadata")
            .await as u64,
        recruit.dataset.expected().inserted
    );
}

#[tokio::test]
async fn i10_silent_clients_keep_nobody_from_an_answer() {
    let recruit = Recruit::new().await;
    let serving = Serving::start(&recruit.home);
    // More than the endpoint holds at a time; some have begun to ask.
    let silent: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut stream = TcpStream::connect(serving.address).unwrap();
            if number % 2 == 0 {
                stream.write_all(b"GET /livez HT").unwrap();
            }
            stream
        })
        .collect();
    let begin = Instant::now();
    assert_eq!(serving.get("/livez"), (200, "ok\n".to_owned()));
    serving.until_metric(SUCCEEDED, 1.0);
    assert_eq!(serving.get("/readyz"), (200, "ok\n".to_owned()));
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    drop(silent);
    serving.stop();
}

#[tokio::test]
async fn i10_a_database_that_goes_away_is_not_ready_and_alive() {
    let mut home = Home::recruit(8).await;
    let place = tempfile::tempdir().unwrap();
    let (socket, link) = (socket_directory(&home), place.path().join("socket"));
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    home.database.url = home.database.url.replace(&socket, link.to_str().unwrap());
    let source =
        embedding_server::start(Arc::new(Dataset::new(100, 8).unwrap()), support::anywhere());
    home.configure_recruit(&source.unwrap().url(), "schedule = \"0 0 0 1 JAN ?\"");
    let serving = Serving::start(&home);
    let until = |status: u16| {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = serving.get("/readyz");
            if answer.0 == status {
                return answer.1;
            }
            assert!(Instant::now() < end, "{answer:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    assert_eq!(until(200), "ok\n");
    std::fs::remove_file(&link).unwrap();
    home.database
        .texts(
            "select pg_terminate_backend(pid)::text from pg_stat_activity
             where datname = current_database() and application_name = 'forebay'",
        )
        .await;
    let said = until(503);
    assert!(said.starts_with("database: "), "{said}");
    assert_eq!(serving.get("/livez").0, 200);
    let (status, health) = serving.health();
    assert_eq!((status, &health["status"]), (200, &"failing".into()));
    assert!(health["database"]["problem"].is_string(), "{health}");
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    assert_eq!(until(200), "ok\n");
    serving.stop();
}

#[tokio::test]
async fn i10_a_host_whose_every_pipeline_fails_is_not_ready() {
    let recruit = Recruit::new().await;
    let (url, tables) = (recruit.source.url(), "tables = [\"recruit_metadata\"]");
    let yearly = "schedule = \"0 0 0 1 JAN ?\"";
    let pipeline = |name: &str, dataset: &str| {
        format!(
            "[pipelines.{name}]\nsource = {{ grpc = \"{url}\", dataset = \"{dataset}\" }}\n\
             {tables}\n{yearly}\n"
        )
    };
    let bad = pipeline("bad", "nosuch");
    recruit.home.configure(&bad);
    let mut serving = Serving::start(&recruit.home);
    serving.until("the next run will fail unless this is fixed", 1);
    insta::with_settings!({filters => vec![(r"127\.0\.0\.\d:\d+", "[address]")]}, {
        assert_snapshot!(format!("{:?}", serving.get("/readyz")), @r#"(503, "pipeline bad: source http://[address]: no dataset `nosuch`; available: recruit hint: correct `source.dataset`\n")"#);
    });
    assert_eq!(serving.get("/livez").0, 200);
    serving.stop();

    // One that works is enough.
    recruit
        .home
        .configure(&(bad + &pipeline("good", "recruit")));
    let mut serving = Serving::start(&recruit.home);
    serving.until("the next run will fail unless this is fixed", 1);
    assert_eq!(serving.get("/readyz").0, 200);
    assert_eq!(serving.health().1["status"], "failing");
    serving.stop();
}

#[tokio::test]
async fn g_serving_without_a_schedule_is_refused_or_said() {
    let recruit = Recruit::new().await;
    let ended = recruit.home.start_command(&["serve"], "").wait();
    ended.said(
        "error: no pipeline has a schedule: each would run once, now, and nothing after that",
    );
    ended.said("hint: set a schedule, such as pipelines.recruit.schedule = \"0 0 2 * * ?\"");
    ended.exit(2);
    // With an address it can be seen what it does, and plugins may be tried.
    let mut serving = Serving::start(&recruit.home);
    serving.until(
        "every pipeline has run once, and none has a schedule: nothing runs any more",
        1,
    );
    let log = serving.stop();
    assert!(log.contains("no pipeline has a schedule"), "{log}");
}

#[tokio::test]
async fn i13_a_hangup_stops_as_a_termination_does() {
    let recruit = Recruit::new().await;
    recruit.configure(EVERY_SECOND);
    let serving = Serving::start(&recruit.home);
    serving.until_metric(SUCCEEDED, 1.0);
    serving.host.signal(Signal::SIGHUP);
    let ended = serving.host.wait();
    ended.said("stopped");
    ended.exit(0);
}

#[tokio::test]
async fn a_pipeline_never_overlaps_itself() {
    let recruit = Recruit::new().await;
    recruit.configure(EVERY_SECOND);
    let database = &recruit.home.database;
    let held = database.hold(&same_key(&recruit.clean_key(550))).await;
    let mut serving = Serving::start(&recruit.home);
    serving.until("still running: this scheduled time is skipped", 1);
    database.until_blocked().await;
    assert_eq!(serving.health().1["pipelines"][0]["state"], "running");
    assert_eq!(
        serving.metric("forebay_pipeline_running{pipeline=\"recruit\"}"),
        1.0
    );
    let skipped = "forebay_skipped_times_total{pipeline=\"recruit\"}";
    // One more, though it is not logged again.
    serving.until_metric(skipped, 2.0);
    assert_eq!(database.number("select count(*) from forebay.run").await, 1);
    held.rollback().await.unwrap();
    serving.until(
        "scheduled times were skipped, since the pipeline was still running",
        1,
    );
    serving.until("run ended", 1);
    serving.stop();
}

#[tokio::test]
async fn stopping_drains_and_the_next_start_goes_on() {
    let recruit = Recruit::new().await;
    let database = &recruit.home.database;
    let held = database.hold(&same_key(&recruit.clean_key(550))).await;
    let mut serving = Serving::start(&recruit.home);
    database.until_blocked().await;
    serving.host.signal(Signal::SIGTERM);
    serving.until("stopping after the received chunks are committed", 1);
    // It answers until the end.
    while serving.health().1["status"] != "stopping" {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(serving.health().0, 503);
    held.rollback().await.unwrap();
    let ended = serving.host.wait();
    ended.said("stopped");
    ended.exit(0);
    assert_eq!(
        database.texts("select status from forebay.run").await,
        ["interrupted"]
    );
    let report = recruit.home.run().done();
    assert_eq!(report["starts"], 2);
    recruit.assert_undisturbed("stopping").await;
}

#[tokio::test]
async fn what_is_away_at_the_start_is_waited_for_longer_than_a_run_would() {
    let mut home = Home::recruit(8).await;
    // The server's socket is to be found only later.
    let place = tempfile::tempdir().unwrap();
    let (socket, later) = (socket_directory(&home), place.path().join("later"));
    home.database.url = home.database.url.replace(&socket, later.to_str().unwrap());
    let source = nowhere();
    let pipeline = format!(
        "[pipelines.recruit]\nsource = {{ grpc = \"http://{source}\", dataset = \"recruit\" }}\n\
         tables = [\"recruit_metadata\", \"recruit_embedding\"]"
    );
    let patience = "retry.give_up_after = \"100ms\"";
    home.configure_with(&guests("plugins"), patience, &pipeline);
    let mut serving = Serving::start(&home);
    serving.until("the database is unreachable", 2);
    let (status, health) = serving.health();
    assert_eq!((status, &health["status"]), (503, &"starting".into()));

    std::os::unix::fs::symlink(socket, later).unwrap();
    serving.until("gave up after 100ms", 2);
    assert_eq!(serving.health().0, 200);
    let dataset = Arc::new(Dataset::new(500, 8).unwrap());
    let _source = embedding_server::start(Arc::clone(&dataset), source).unwrap();
    serving.until("run ended", 1);
    serving.until_metric(SUCCEEDED, 1.0);
    assert_eq!(serving.health().1["status"], "ok");
    let log = serving.stop();
    assert!(log.contains("status=\"succeeded\" rows=500"), "{log}");
}

#[tokio::test]
async fn what_cannot_be_served_is_said_at_once() {
    let home = Home::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let pipeline =
        "[pipelines.p]\nsource = { grpc = \"http://h:1\", dataset = \"d\" }\ntables = [\"t\"]";
    home.configure(&format!("serve.listen = \"{address}\"\n{pipeline}"));
    let ended = home.start_command(&["serve"], "").wait();
    ended.said(&format!(
        "error: cannot listen on {address}: Address already in use"
    ));
    ended.exit(1);
    for arguments in [&["serve", "q"][..], &["serve", "--listen", "9464"]] {
        home.start_command(arguments, "").wait().exit(2);
    }
    home.configure(&format!("{pipeline}\nschedule = \"0 2 * * *\""));
    for command in ["serve", "check", "run"] {
        let ended = home.start_command(&[command], "").wait();
        ended.said("pipelines.p.schedule: `0 2 * * *` is not a valid schedule");
        ended.exit(2);
    }
}

/// Where the socket of a home's database is.
fn socket_directory(home: &Home) -> String {
    let (_, query) = home.database.url.split_once("host=").unwrap();
    query.split('&').next().unwrap().to_owned()
}

/// A row that the host has to wait for.
fn same_key(key: &str) -> String {
    format!(
        "insert into recruit_metadata (id, company_name, exp_years) values ('{key}', 'held', 0)"
    )
}
