//! What may happen to files while a host uses them.

use std::fs;
use std::fs::OpenOptions;
use std::io::Write;

use super::stage::Stage;

#[tokio::test]
async fn what_is_no_plugin_leaves_the_version_in_use() {
    let stage = Stage::new("").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;

    stage.put_bytes(b"\0asm, but not really");
    host.until("a file is refused; the active version stays");
    stage.put("5000");
    host.until("a new version is refused; the active version stays");
    stage.until_state(&mut host, "5000", "refused").await;

    let listed = stage.json(&["plugin", "list"]);
    let states: Vec<(&str, &str)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["state"].as_str().unwrap(),
                it["message"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(
        states.iter().any(|(state, why)| *state == "refused"
            && *why == "plugin stamp refuses its settings: version-5000 takes no settings"),
        "{states:?}"
    );
    assert!(
        states
            .iter()
            .any(|(state, _)| *state == "canary" || *state == "active")
    );
    assert_eq!(
        states
            .iter()
            .filter(|(state, _)| *state == "refused")
            .count(),
        2
    );

    stage.put("0001");
    stage.until_met(&mut host, "0001").await;
    stage.end(host).await;
    assert_eq!(stage.versions().await, ["0000", "0001"]);
}

#[tokio::test]
async fn a_file_that_is_written_slowly_is_never_seen_in_part() {
    let stage = Stage::new("").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    let component = Stage::component("0001");
    let mut file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(stage.file())
        .unwrap();
    // Each part stays long enough to be looked at, and to be found wanting.
    let (most, last) = component.split_at(component.len() - 10);
    for part in most.chunks(most.len() / 3 + 1) {
        file.write_all(part).unwrap();
        file.sync_all().unwrap();
        host.until("a file is refused; the active version stays");
    }
    file.write_all(last).unwrap();
    drop(file);
    stage.until_met(&mut host, "0001").await;
    stage.end(host).await;
    assert_eq!(stage.versions().await, ["0000", "0001"]);
}

#[tokio::test]
async fn a_plugin_in_use_cannot_be_removed() {
    let stage = Stage::new("").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    fs::remove_file(stage.file()).unwrap();
    host.until("the file of an active plugin was removed; the plugin stays in use");
    host.until("chunk committed");
    stage.end(host).await;
    let listed = stage.json(&["plugin", "list"]);
    assert_eq!(listed[0]["state"], "active", "{listed:#}");

    // Nor between two runs, as long as the configuration names it.
    stage.source.again();
    let mut host = stage.home.start("");
    host.until("its file is not in the directory; the copy of the last good version is used");
    host.until("chunk committed");
    stage.source.end();
    host.wait().done();
    assert_eq!(stage.versions().await, ["0000"]);
}

#[tokio::test]
async fn a_file_that_is_broken_at_the_start_is_an_error_only_without_a_good_version() {
    let stage = Stage::new("").await;
    let good = fs::read(stage.file()).unwrap();
    stage.put_bytes(b"broken");
    let ended = stage.home.start("").wait();
    ended.said("not a WebAssembly component");
    ended.exit(2);

    stage.put_bytes(&good);
    let mut host = stage.home.start("");
    host.until("chunk committed");
    stage.source.end();
    host.wait().done();

    stage.source.again();
    stage.put_bytes(b"broken");
    let mut host = stage.home.start("");
    host.until("the copy of the last good version is used");
    host.until("chunk committed");
    stage.source.end();
    host.wait().done();
    assert_eq!(stage.versions().await, ["0000"]);
}

#[tokio::test]
async fn a_version_that_fails_its_own_cases_is_not_taken_up() {
    let stage = Stage::new("").await;
    let cases = r#"
        [[case]]
        name = "stamps"
          [[case.row]]
          key = "a"
          fields = { number = 1 }
          expect = { set = { version = "version-0002" } }"#;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    fs::write(stage.plugins.join("stamp.cases.toml"), cases).unwrap();
    stage.put("0001");
    host.until("a file is refused; the active version stays");
    let refused = "select message from forebay.plugin_version where state = 'refused'";
    let why = loop {
        host.until("chunk committed");
        let why = stage.home.database.texts(refused).await.concat();
        if !why.is_empty() {
            break why;
        }
    };
    assert!(
        why.contains("1 of its cases fail") && why.contains("version-0001"),
        "{why}"
    );

    // Mended cases are as good as another file.
    let mended = cases.replace("0002", "0001");
    fs::write(stage.plugins.join("stamp.cases.toml"), mended).unwrap();
    stage.until_met(&mut host, "0001").await;
    stage.end(host).await;
    assert_eq!(stage.versions().await, ["0000", "0001"]);
    assert_eq!(
        stage.home.database.texts(refused).await,
        Vec::<String>::new()
    );
}

/// A pipeline that leaves `plugins` out uses what is in the directory when the host is started.
#[tokio::test]
async fn h9_a_plugin_that_nobody_names_is_gone_with_its_file_after_a_restart() {
    let gone = "the plugin is gone, since its file is";
    let stage = Stage::with("", "", "").await;
    let nullable = "alter table items alter version drop not null";
    stage.home.database.execute(nullable).await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    fs::remove_file(stage.file()).unwrap();
    host.until("the file of an active plugin was removed; the plugin stays in use");
    host.until("chunk committed");
    stage.source.end();
    let ended = host.wait();
    assert!(
        ended.log.contains("it is gone when the host is restarted"),
        "{}",
        ended.log
    );
    assert!(
        !ended.log.contains("remove the plugin from `plugins`"),
        "{}",
        ended.log
    );
    assert_eq!(stage.versions().await, ["0000"]);
    ended.done();

    stage.source.again();
    stage.home.database.execute("truncate items").await;
    let mut host = stage.home.start("");
    host.until(gone);
    host.until("chunk committed");
    stage.source.end();
    let ended = host.wait();
    assert_eq!(ended.log.matches(gone).count(), 1, "{}", ended.log);
    ended.done();
    let set = "select count(*) from items where version is not null";
    assert_eq!(stage.home.database.number(set).await, 0);
    assert_eq!(stage.states().await, ["0000 retired"]);

    stage.source.again();
    let mut host = stage.home.start("");
    host.until("chunk committed");
    stage.source.end();
    let ended = host.wait();
    assert!(!ended.log.contains(gone), "{}", ended.log);
    ended.done();
}

/// A file that is there and broken is another matter: rows do not go on without its plugin.
#[tokio::test]
async fn h9_a_plugin_that_nobody_names_stays_if_its_file_is_broken() {
    let stage = Stage::with("", "", "").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.end(host).await;
    stage.put_bytes(b"broken");
    stage.source.again();
    let mut host = stage.home.start("");
    host.until("the copy of the last good version is used");
    host.until("chunk committed");
    stage.source.end();
    host.wait().done();
    assert_eq!(stage.versions().await, ["0000"]);
}

/// A copy of the last good version does not make up for a file that takes its name.
#[tokio::test]
async fn two_files_of_one_name_are_an_error_at_the_start() {
    let stage = Stage::new("").await;
    let mut host = stage.home.start("");
    host.until("chunk committed");
    stage.end(host).await;
    fs::write(stage.plugins.join("a.wasm"), Stage::component("0001")).unwrap();
    let ended = stage.home.start("").wait();
    ended.said("a.wasm is also named stamp");
    ended.exit(2);
}

/// All pipelines are prepared before the first one runs.
#[tokio::test]
async fn a_version_that_comes_before_a_pipeline_runs_is_met_by_it() {
    let other = r#"
        [pipelines.then]
        source = { grpc = "SOURCE", dataset = "rows" }
        plugins = ["stamp"]
        tables = ["others"]"#;
    let stage = Stage::with("", "plugins = [\"stamp\"]", other).await;
    let table = "create table others (like items including all)";
    stage.home.database.execute(table).await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    stage.put("0001");
    stage.until_met(&mut host, "0001").await;
    stage.source.end();
    let ended = host.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let states = "select right(v.version, 4) || ' ' || v.state from forebay.plugin_version v
                  join forebay.pipeline p on p.id = v.pipeline where p.name = 'then' order by 1";
    let states = stage.home.database.texts(states).await;
    assert_eq!(states, ["0000 retired", "0001 canary"]);
}
