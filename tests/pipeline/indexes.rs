//! Vector indexes that are out of the way while a run loads: they come back as they were, from
//! whatever state a host has left them in, and searches keep what they were promised.

use std::os::unix::process::ExitStatusExt;

use forebay::proto::value::Kind;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{Database, Home, Host, RowBuilder, Script, Scripted, State, row};
use tokio::sync::OnceCell;

const FIELDS: [(&str, forebay::proto::FieldType); 1] =
    [("number", forebay::proto::FieldType::Integer)];

const MODES: [&str; 4] = ["keep", "defer", "defer-always", "rebuild"];

const ITEMS: &str =
    "create table items (id int primary key, number int not null, vector vector(2) not null)
        with (fillfactor = 90, vacuum_index_cleanup = auto);
    create index \"Items vector\" on items using hnsw (vector vector_l2_ops)
        with (m = 8, ef_construction = 40) where number >= 0;
    comment on index \"Items vector\" is 'for the search''s sake';";

/// What a search by the index finds first, and how it is planned. The tables are so small that
/// the planner has to be told.
const SEARCHES: &str = "create function nearest(x vector) returns text language sql
        set enable_seqscan = off set enable_sort = off set hnsw.ef_search = 1000 as
        $$ select id::text from items where number >= 0
           order by vector <-> x limit 1 $$;
    create function nearest(x int) returns text language sql as
        $$ select nearest(vector) from items where id = x $$;
    create function plan() returns setof text language plpgsql
        set enable_seqscan = off set enable_sort = off as
        $$ begin return query execute
           'explain (costs off) select id from items where number >= 0
            order by vector <-> ''[17,1]'' limit 1'; end $$;";

/// Rows whose vectors are scattered evenly over a disc: a sunflower's seeds.
fn rows(keys: impl IntoIterator<Item = i64>) -> Vec<RowBuilder> {
    let scattered = |key: i64| {
        let (angle, radius) = (2.4 * key as f32, (key as f32).sqrt());
        row(
            &key.to_string(),
            &[radius * angle.cos(), radius * angle.sin()],
        )
        .set("number", Kind::Integer(key))
    };
    keys.into_iter().map(scattered).collect()
}

/// A table with the first `keys` rows in it, and a pipeline that brings more.
struct Stage {
    home: Home,
    source: Scripted,
}

impl Stage {
    async fn new(index: &str) -> Self {
        let home = Home::new().await;
        home.database.execute(index).await;
        home.database.execute(SEARCHES).await;
        let source = Script::new(2, &FIELDS)
            .changes()
            .chunk(rows(1..=300))
            .chunk(rows(301..=400))
            .serve();
        Self { home, source }
    }

    /// With the first rows loaded and then two chunks more: new rows, and 20 that are changed.
    async fn loaded(index: &str) -> Self {
        let stage = Self::new(index).await;
        stage.configure("keep");
        stage.home.run().done();
        stage.add();
        stage
    }

    fn add(&self) {
        let changed = |row: RowBuilder| row.set("number", Kind::Integer(7));
        self.source.change(|script| {
            script
                .chunk(rows(401..=600))
                .chunk(rows(41..=60).into_iter().map(changed))
        });
    }

    fn configure(&self, mode: &str) {
        let mode = format!("index = \"{mode}\"");
        self.home
            .configure(&self.source.pipeline(&["items"], &mode));
    }

    fn database(&self) -> &Database {
        &self.home.database
    }

    async fn state(&self) -> State {
        State::of(self.database(), &["items"]).await
    }

    /// Asserts that index and table are what they were before any run, and that searches find
    /// every row.
    async fn assert_whole(&self, what: &str) {
        assert_eq!(self.index().await, INDEX, "{what}");
        let options = "select reloptions::text from pg_class where relname = 'items'";
        assert_eq!(
            self.database().texts(options).await,
            ["{fillfactor=90,vacuum_index_cleanup=auto}"],
            "{what}"
        );
        let left = "select (select count(*) from forebay.index_work) + (select count(*) from forebay.index_wait)";
        assert_eq!(self.database().number(left).await, 0, "{what}");
        for key in [1, 300, 45, 450, 600] {
            assert_eq!(self.nearest(key).await, key.to_string(), "{what}");
        }
    }

    /// The vector indexes, with what is particular about them.
    async fn index(&self) -> Vec<String> {
        self.database()
            .texts(
                "select pg_get_indexdef(i.indexrelid) || ' -- ' || obj_description(i.indexrelid, 'pg_class')
                     || case when i.indisvalid then ', valid' else '' end
                     || case when i.indisready then ', ready' else '' end
                 from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
                 where m.amname = 'hnsw' and indrelid = 'items'::regclass order by 1",
            )
            .await
    }

    async fn nearest(&self, key: i32) -> String {
        let found = self
            .database()
            .texts(&format!("select nearest({key})"))
            .await;
        found.into_iter().next().unwrap()
    }

    async fn plan(&self) -> String {
        self.database().texts("select plan()").await.join("\n")
    }
}

const INDEX: [&str; 1] = [
    "CREATE INDEX \"Items vector\" ON public.items USING hnsw (vector vector_l2_ops) \
     WITH (m='8', ef_construction='40') WHERE (number >= 0) -- for the search's sake, valid, ready",
];

/// Mode and state of the only index of a report.
fn treated(report: &Value) -> String {
    let [index] = report["indexes"].as_array().unwrap().as_slice() else {
        panic!("{report:#}");
    };
    assert_eq!(index["name"], "public.\"Items vector\"");
    assert_eq!(
        index["build_seconds"].is_number(),
        index["state"] == "built",
        "{report:#}"
    );
    let text = |key: &str| index[key].as_str().unwrap().to_owned();
    format!("{} {}", text("mode"), text("state"))
}

/// What an undisturbed run with the index kept comes to.
async fn undisturbed() -> &'static State {
    static UNDISTURBED: OnceCell<State> = OnceCell::const_new();
    let run = || async {
        let stage = Stage::loaded(ITEMS).await;
        stage.home.run().done();
        stage.state().await
    };
    UNDISTURBED.get_or_init(run).await
}

#[tokio::test]
async fn every_mode_comes_to_the_same_rows_and_the_same_index() {
    let mut seen = Vec::new();
    let undisturbed = undisturbed().await;
    for mode in MODES {
        let stage = Stage::new(ITEMS).await;
        stage.configure(mode);
        let empty = treated(&stage.home.run().done());
        stage.add();
        let ended = stage.home.run();
        if mode == "defer" {
            ended.said("kept, since its table has rows");
        }
        let filled = treated(&ended.done());
        seen.push(format!("{mode}: empty {empty}, filled {filled}"));
        stage.assert_whole(mode).await;
        undisturbed.assert_same(&stage.state().await, mode);
    }
    insta::assert_snapshot!(seen.join("\n"), @r"
    keep: empty keep kept, filled keep kept
    defer: empty defer built, filled keep kept
    defer-always: empty defer built, filled defer built
    rebuild: empty defer built, filled rebuild built
    ");
}

#[tokio::test]
async fn searches_keep_the_index_that_is_rebuilt() {
    let stage = Stage::loaded(ITEMS).await;
    let database = stage.database();
    stage.configure("rebuild");
    // The chunk of new rows is committed, the changed ones are still to come.
    killed(&stage, "commit.after=return");
    let away = INDEX[0].strip_suffix(", ready").unwrap();
    assert_eq!(stage.index().await, [away]);
    let uses_index = "Index Scan using \"Items vector\" on items";
    assert!(
        stage.plan().await.contains(uses_index),
        "{}",
        stage.plan().await
    );
    // Old rows are found by it, new ones only by looking at all rows.
    assert_eq!(stage.nearest(17).await, "17");
    assert_ne!(stage.nearest(500).await, "500");
    let exact = "select id::text from items order by abs(number - 500) limit 1";
    assert_eq!(database.texts(exact).await, ["500"]);
    // Rows that are deleted leave places that the index still points to: were they taken by
    // other rows, it would find those.
    database
        .execute("create table gone as select * from items where id between 10 and 150")
        .await;
    database
        .execute("delete from items where id between 10 and 150")
        .await;
    database.execute("vacuum items").await;
    database
        .execute("insert into items select 9000 + n, 5, array[500, n]::real[]::vector from generate_series(1, 400) n")
        .await;
    assert!(stage.plan().await.contains(uses_index));
    let found = "select found from gone, nearest(gone.vector) near(found) where found::int > 9000";
    let none: [&str; 0] = [];
    assert_eq!(database.texts(found).await, none);
    // The next start goes on, and puts everything back.
    let report = stage.home.run().done();
    assert_eq!(treated(&report), "rebuild built");
    database
        .execute("delete from items where id > 9000; insert into items select * from gone on conflict do nothing")
        .await;
    stage.assert_whole("after a rebuild").await;
}

/// Runs until the host kills itself at a point.
fn killed(stage: &Stage, faults: &str) {
    let ended = stage.home.start(faults).wait();
    let signal = ended.status.signal();
    assert_eq!(
        signal,
        Some(Signal::SIGKILL as i32),
        "{faults}: {}",
        ended.log
    );
}

/// Kills at a point, and goes on with the same mode and with another one.
async fn killed_at(mode: &str, points: &[&str]) {
    let undisturbed = undisturbed().await;
    for point in points {
        for next in [mode, "keep"] {
            let what = format!("{mode} killed at {point}, then {next}");
            let stage = Stage::loaded(ITEMS).await;
            stage.configure(mode);
            killed(&stage, &format!("{point}=return"));
            // The table can be used as ever.
            let rows = "select count(*) from items where number >= 0";
            assert!(stage.database().number(rows).await >= 400, "{what}");
            stage.configure(next);
            stage.home.run().done();
            stage.assert_whole(&what).await;
            undisturbed.assert_same(&stage.state().await, &what);
        }
    }
}

#[tokio::test]
async fn a_host_that_dies_while_an_index_is_dropped() {
    let points = [
        "index.joined",
        "index.taken",
        "commit.after",
        "index.before",
        "index.built",
        "index.back",
    ];
    killed_at("defer-always", &points).await;
}

#[tokio::test]
async fn a_host_that_dies_while_an_index_is_rebuilt() {
    let points = [
        "index.taken",
        "commit.after",
        "index.before",
        "index.built",
        "index.back",
    ];
    killed_at("rebuild", &points).await;
}

/// Building it waits for whoever holds advisory lock 7.
const SLOW: &str =
    "create table items (id int primary key, number int not null, vector vector(2) not null)
        with (fillfactor = 90, vacuum_index_cleanup = auto);
    create function waits(v vector) returns vector immutable language plpgsql as
        $$ begin perform pg_advisory_xact_lock_shared(7); return v; end $$;
    create index slow on items using hnsw ((waits(vector)::vector(2)) vector_l2_ops);
    comment on index slow is 'slow';";

const SLOW_INDEX: [&str; 1] = [
    "CREATE INDEX slow ON public.items USING hnsw (((waits(vector))::vector(2)) vector_l2_ops) -- slow, valid, ready",
];

/// A host that is at building the index.
fn building(stage: &Stage) -> Host {
    let mut host = stage.home.start("");
    host.until("building index");
    host
}

#[tokio::test]
async fn a_build_is_shown_can_be_stopped_and_is_made_up_for() {
    for (mode, manner) in [("defer-always", "defer"), ("rebuild", "rebuild")] {
        let stage = Stage::loaded(SLOW).await;
        stage.configure(mode);
        let held = stage
            .database()
            .hold("select pg_advisory_xact_lock(7)")
            .await;
        let host = building(&stage);
        host.signal(Signal::SIGINT);
        let report = host.wait().exit(130);
        assert_eq!(report["status"], "interrupted", "{report:#}");
        assert_eq!(report["indexes"][0]["mode"], manner);
        assert_eq!(report["indexes"][0]["state"], "away");
        assert_eq!(report["rows"]["inserted"], 200);
        held.rollback().await.unwrap();
        let report = stage.home.run().done();
        assert_eq!(report["indexes"][0]["state"], "built", "{report:#}");
        assert_eq!(stage.index().await, SLOW_INDEX, "{mode}");
    }
}

#[tokio::test]
async fn what_a_build_leaves_that_was_cut_off_is_removed() {
    let stage = Stage::loaded(SLOW).await;
    stage.configure("rebuild");
    let held = stage
        .database()
        .hold("select pg_advisory_xact_lock(7)")
        .await;
    let host = building(&stage);
    host.signal(Signal::SIGKILL);
    host.wait();
    // The server notices by itself that nobody waits for it any more.
    stage
        .database()
        .until("select not exists (select from pg_stat_progress_create_index where datname = current_database())")
        .await;
    held.rollback().await.unwrap();
    let invalid =
        "select count(*) from pg_index where indrelid = 'items'::regclass and not indisvalid";
    assert_eq!(stage.database().number(invalid).await, 1);
    stage.home.run().done();
    assert_eq!(stage.index().await, SLOW_INDEX);
    assert_eq!(stage.database().number(invalid).await, 0);
}

#[tokio::test]
async fn a_server_without_the_memory_builds_it_with_less() {
    for mode in ["defer-always", "rebuild"] {
        let stage = Stage::loaded(ITEMS).await;
        let index = format!("index = \"{mode}\"\nindex_memory = \"1900GiB\"");
        let pipeline = stage.source.pipeline(&["items"], &index);
        stage.home.configure(&pipeline);
        killed(&stage, "index.before=return");
        // No server has that much for its workers to share.
        let wide = "update forebay.index_work set vector_bytes = 10000000000";
        stage.database().execute(wide).await;
        let ended = stage.home.run();
        ended.said("could not resize shared memory segment");
        ended.said("trying with less");
        ended.done();
        stage.assert_whole(mode).await;
    }
}

#[tokio::test]
async fn who_may_not_is_told_before_the_first_row() {
    let stage = Stage::loaded(ITEMS).await;
    let role = format!("plain_{}", std::process::id());
    let database = stage.database();
    database
        .execute(&format!(
            "create role {role}; grant create on database {} to {role}; grant usage on schema public to {role};
             grant all on schema forebay to {role}; grant all on all tables in schema forebay to {role};
             grant all on items to {role}",
            database.texts("select current_database()::text").await[0]
        ))
        .await;
    let mut said = Vec::new();
    for mode in ["rebuild", "defer"] {
        stage.configure(mode);
        let config = stage.home.path().join("forebay.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let as_role = format!("{}&options=-c%20role%3D{role}", database.url);
        std::fs::write(&config, text.replace(&database.url, &as_role)).unwrap();
        let ended = stage.home.run();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.log);
        let hint = ended.log.split("pipelines.rows.index: ").nth(1).unwrap();
        said.push(hint.trim().to_owned());
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    "rebuild" of public."Items vector" changes the catalog, which only a superuser may do
      hint: run it as a superuser, or use "keep" or "defer-always"; with "defer-always" searches have no index meanwhile
    "defer" drops and creates public."Items vector", which this role must not do
      hint: make it the owner of the table and grant it CREATE on the schema, or use "keep"
    "#);
    assert_eq!(database.number("select count(*) from items").await, 400);
    database
        .execute(&format!("drop owned by {role}; drop role {role}"))
        .await;
}

#[tokio::test]
async fn an_index_that_several_pipelines_load_without_is_built_by_the_last() {
    let stage = Stage::loaded(ITEMS).await;
    let other = Script::new(2, &FIELDS).chunk(rows(601..=700)).serve();
    let configure = |mine: &str, others: &str| {
        let index = |mode: &str| format!("index = \"{mode}\"");
        let mine = stage.source.pipeline(&["items"], &index(mine));
        let others = other.pipeline(&["items"], &index(others));
        stage
            .home
            .configure(&format!("{mine}\n{}", others.replace(".rows]", ".others]")));
    };
    let run = |pipeline: &str| stage.home.start_command(&["run", pipeline], "").wait();
    configure("defer-always", "keep");
    let ended = stage
        .home
        .start_command(&["run", "rows"], "commit.after=return")
        .wait();
    assert_eq!(ended.status.signal(), Some(Signal::SIGKILL as i32));
    // Whoever keeps indexes does not build what another still loads without.
    let ended = run("others");
    ended.said("is built at the end of the unfinished run of rows");
    ended.exit(0);
    assert!(stage.index().await.is_empty());
    // Nor does one that could take it away itself.
    configure("defer-always", "defer-always");
    other.change(|script| script.chunk(rows(701..=720)));
    run("others").exit(0);
    assert!(stage.index().await.is_empty());
    run("rows").exit(0);
    stage.assert_whole("two pipelines").await;

    // A run that was given up is waited for no longer.
    stage.source.change(|script| script.chunk(rows(721..=740)));
    let ended = stage
        .home
        .start_command(&["run", "rows"], "index.taken=return")
        .wait();
    assert_eq!(ended.status.signal(), Some(Signal::SIGKILL as i32));
    let reset = stage
        .home
        .start_command(&["checkpoint", "reset", "rows"], "")
        .wait();
    reset.exit(0);
    configure("keep", "keep");
    run("others").exit(0);
    stage.assert_whole("one that was given up").await;
}

#[tokio::test]
async fn a_check_says_what_the_index_will_cost() {
    let stage = Stage::loaded(ITEMS).await;
    stage.source.change(|script| script.counting(90_000));
    let mut said = Vec::new();
    for mode in MODES {
        stage.configure(mode);
        let ended = stage.home.start_command(&["check"], "").wait();
        let lines = ended.stdout.lines().map(str::trim);
        let lines = lines.filter(|line| line.starts_with("index "));
        said.extend(lines.map(|line| format!("{mode}: {line}")));
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    keep: index public."Items vector" (hnsw): kept; estimate for 89,600 more rows: 2 min to insert them one by one, 23 s to build it from all 90,000; if all 400 known rows change, 2 min one by one; from 17,430 new or changed rows on, index = "rebuild" is faster
    defer: index public."Items vector" (hnsw): kept, since its table has rows (index = "defer-always" drops it anyway, "rebuild" keeps it for searches); estimate for 89,600 more rows: 2 min to insert them one by one, 23 s to build it from all 90,000; if all 400 known rows change, 2 min one by one; from 17,430 new or changed rows on, index = "rebuild" is faster
    defer-always: index public."Items vector" (hnsw): dropped, built at the end; estimate for 89,600 more rows: 2 min to insert them one by one, 23 s to build it from all 90,000; if all 400 known rows change, 2 min one by one
    rebuild: index public."Items vector" (hnsw): left to searches as it is, rebuilt at the end (which adds new and changed rows); estimate for 89,600 more rows: 2 min to insert them one by one, 23 s to build it from all 90,000; if all 400 known rows change, 2 min one by one
    "#);
}
