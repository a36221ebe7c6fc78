//! A plugin that misbehaves on one row of a chunk costs that row, and the host nothing.

use forebay::proto::FieldType;
use serde_json::Value;
use support::component::leaky;
use support::{Home, Script, row, rows};

#[tokio::test]
async fn a_trap_costs_its_row() {
    one_bad_row("trap_on", "PLUGIN_TRAP").await;
}

#[tokio::test]
async fn an_endless_loop_costs_its_row() {
    one_bad_row("loop_on", "PLUGIN_DEADLINE").await;
}

#[tokio::test]
async fn memory_without_end_costs_its_row() {
    one_bad_row("eat_on", "PLUGIN_MEMORY").await;
}

#[tokio::test]
async fn a_short_answer_costs_its_row() {
    one_bad_row("short_on", "PLUGIN_OUTPUT").await;
}

#[tokio::test]
async fn reasons_without_end_do_not_lengthen_the_report() {
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, number int not null, vector vector(2) not null)")
        .await;
    let mut script = Script::new(2, &[("number", FieldType::Integer)]);
    for chunk in 0..9 {
        script = script.chunk(rows(300 * chunk + 1..=300 * chunk + 300));
    }
    let source = script.serve();
    let plugins = "plugins = [\"faulty\"]\nsettings = { faulty = { drop_each_on = \"*\" } }";
    home.configure_with(
        &home.only("faulty"),
        "",
        &source.pipeline_with(&["items"], plugins, 300, ""),
    );
    let report = home.run().done();
    assert_eq!(report["rows"]["dropped"], 2_700, "{:#}", report["rows"]);
    let codes = report["codes"].as_array().unwrap();
    assert_eq!(codes.len(), 1_201);
    let other = codes.iter().find(|code| code["code"] == "OTHER").unwrap();
    assert_eq!(other["rows"], 1_500);
}

/// Two chunks of 300 rows, of which row 217 sets the fault off.
async fn one_bad_row(fault: &str, code: &str) {
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, number int not null, vector vector(2) not null)")
        .await;
    let script = Script::new(2, &[("number", FieldType::Integer)]);
    let source = script.chunk(rows(1..=300)).chunk(rows(301..=600)).serve();
    let plugins =
        format!("plugins = [\"faulty\"]\nsettings = {{ faulty = {{ {fault} = \"217\" }} }}");
    home.configure_with(
        &home.only("faulty"),
        "plugins.limits = { memory = \"8MiB\", deadline = \"300ms\" }",
        &source.pipeline_with(&["items"], &plugins, 300, ""),
    );

    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 599, "{report:#}");
    assert_eq!(report["rows"]["dead_lettered"], 1);
    let missing = "select string_agg(id::text, ',') from generate_series(1, 600) id
                   where id not in (select id from items)";
    assert_eq!(home.database.texts(missing).await, ["217"]);

    let plugin = &report["plugins"][0];
    // The other chunk takes one call.
    let calls = plugin["calls"].as_u64().unwrap() - 1;
    assert!((2..=20).contains(&calls), "{calls} calls for one chunk");
    let letter = home.database.texts(
        "select jsonb_build_object('key', key, 'stage', stage, 'code', code, 'plugin', plugin,
             'digest', plugin_digest)::text
         from forebay.dead_letter",
    );
    let letter: Value = serde_json::from_str(&letter.await.concat()).unwrap();
    assert_eq!(letter["key"], "217");
    assert_eq!(letter["stage"], "transform");
    assert_eq!(letter["code"], code);
    assert_eq!(letter["plugin"], "faulty");
    assert_eq!(letter["digest"], plugin["digest"]);
}

#[tokio::test]
async fn a_plugin_that_fails_on_every_row_halts_with_nothing_lost() {
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, number int, vector vector(2))")
        .await;
    let script = Script::new(2, &[("number", FieldType::Integer)]);
    let source = script.chunk(rows(1..=300)).serve();
    let configure = |settings: &str| {
        let plugins = format!("plugins = [\"faulty\"]\nsettings = {{ faulty = {{ {settings} }} }}");
        let pipeline = source.pipeline_with(&["items"], &plugins, 300, "");
        home.configure_with(&home.only("faulty"), "", &pipeline);
    };
    configure("trap_on = \"*\"");
    let ended = home.run();
    ended.said("faulty");
    let report = ended.exit(3);
    assert_eq!(report["status"], "halted");
    assert_eq!(
        home.database
            .number("select count(*) from forebay.dead_letter")
            .await,
        0
    );
    configure("");
    assert_eq!(home.run().done()["rows"]["inserted"], 300);
}

#[tokio::test]
async fn a_plugin_that_refuses_its_settings_stops_the_run_before_the_first_row() {
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, number int, vector vector(2))")
        .await;
    let source = Script::new(2, &[("number", FieldType::Integer)])
        .chunk(rows(1..=3))
        .serve();
    let plugins = "plugins = [\"faulty\"]\nsettings = { faulty = { refuse = \"not today\" } }";
    let pipeline = source.pipeline_with(&["items"], plugins, 300, "");
    home.configure_with(&home.only("faulty"), "", &pipeline);
    let ended = home.run();
    ended.said("not today");
    ended.exit(2);
    assert_eq!(
        home.database
            .number("select count(*) from forebay.run where starts > 0")
            .await,
        0
    );
}

/// A plugin that keeps each name, and that does not look whether it got the memory for it.
#[tokio::test]
async fn h1_no_row_is_written_with_the_value_of_another() {
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, company_name text, vector vector(2))")
        .await;
    let named = |id: i64| {
        let row = row(&id.to_string(), &[1.0, 2.0]);
        row.text("company_name", &format!("company {id}"))
    };
    let mut script = Script::new(2, &[("company_name", FieldType::Text)]);
    for chunk in 0..40 {
        script = script.chunk((300 * chunk + 1..=300 * chunk + 300).map(named));
    }
    let source = script.serve();
    let directory = home.path().join("plugins");
    std::fs::create_dir_all(&directory).unwrap();
    // Each second call is refused memory.
    std::fs::write(directory.join("leaky.wasm"), leaky(10_000)).unwrap();
    let pipeline = source.pipeline_with(&["items"], "plugins = [\"leaky\"]", 300, "");
    home.configure_with(&directory, "plugins.limits.memory = \"4MiB\"", &pipeline);

    let ended = home.run();
    let said = "a fresh instance takes over; the plugin may keep something from each call";
    assert_eq!(ended.log.matches(said).count(), 1, "{}", ended.log);
    let report = ended.done();
    assert_eq!(report["rows"]["inserted"], 12_000, "{report:#}");
    assert_eq!(report["rows"]["dead_lettered"], 0);
    let wrong = "select count(*) from items where company_name is distinct from 'company ' || id";
    assert_eq!(home.database.number(wrong).await, 0);
}

#[tokio::test]
async fn h7_a_clock_that_stands_still_is_said_once_with_the_grant() {
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, company_name text, vector vector(2))")
        .await;
    let script = Script::new(2, &[("company_name", FieldType::Text)]);
    let plain = |id: i64| row(&id.to_string(), &[1.0, 2.0]);
    let source = script
        .chunk((1..=300).map(plain))
        .chunk((301..=600).map(plain))
        .serve();
    let pipeline = source.pipeline_with(&["items"], "plugins = [\"wasi-user\"]", 300, "");
    let clock = "reads a clock that stands still at 2024-01-01";
    let random = "reads random numbers that repeat";
    for (grants, clocks, randoms) in [
        ("", 1, 1),
        ("plugins.grants.wasi-user = [\"clock\"]", 0, 1),
        ("plugins.grants.wasi-user = [\"clock\", \"random\"]", 0, 0),
    ] {
        home.configure_with(&home.only("wasi-user"), grants, &pipeline);
        let ended = home.run();
        let said = |text: &str| ended.log.matches(text).count();
        assert_eq!(
            (said(clock), said(random)),
            (clocks, randoms),
            "{}",
            ended.log
        );
        if clocks > 0 {
            ended.said("[plugins.grants] wasi-user = [\\\"clock\\\"]");
        }
        ended.done();
    }
}

#[tokio::test]
async fn h8_a_missed_deadline_names_the_limit_and_the_time() {
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, number int, vector vector(2))")
        .await;
    let script = Script::new(2, &[("number", FieldType::Integer)]);
    let source = script.chunk(rows(1..=300)).serve();
    let plugins = "plugins = [\"faulty\"]\nsettings = { faulty = { loop_on = \"217\" } }";
    let pipeline = source.pipeline_with(&["items"], plugins, 300, "");
    let limits =
        "[plugins.limits]\ndeadline = \"10s\"\n[plugins.limits.faulty]\ndeadline = \"150ms\"";
    home.configure_with(&home.only("faulty"), limits, &pipeline);
    let report = home.run().done();
    assert_eq!(report["rows"]["dead_lettered"], 1, "{report:#}");
    let message = home
        .database
        .texts("select message from forebay.dead_letter");
    let message = message.await.concat();
    let named = "did not answer before its deadline of 150 ms (`plugins.limits.faulty.deadline`): stopped after ";
    assert!(message.contains(named), "{message}");
}
