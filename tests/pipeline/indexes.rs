//! Vector indexes that are out of the way while a run loads: they come back as they were, from
//! whatever state a host has left them in, and searches keep what they were promised.

mod kinds;
mod partitions;
mod searches;

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU32, Ordering};

use forebay::proto::value::Kind;
use nix::sys::signal::Signal;
use serde_json::Value;
use sqlx::{Postgres, Transaction};
use support::{Database, Home, Host, RowBuilder, Script, Scripted, State, row};
use tokio::sync::OnceCell;

const FIELDS: [(&str, forebay::proto::FieldType); 1] =
    [("number", forebay::proto::FieldType::Integer)];

const MODES: [&str; 5] = ["keep", "defer", "defer-always", "rebuild", "rebuild-frozen"];

/// Who runs the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Superuser,
    /// A role that owns the table and may create in the schema, as on a managed server.
    Owner,
}

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
    /// The role that runs the host, if it is no superuser.
    role: Option<String>,
}

impl Stage {
    async fn by(index: &str, by: By) -> Self {
        let home = Home::new().await;
        home.database.execute(index).await;
        home.database.execute(SEARCHES).await;
        let role = match by {
            By::Superuser => None,
            By::Owner => Some(owner(&home.database).await),
        };
        let source = Script::new(2, &FIELDS)
            .changes()
            .chunk(rows(1..=300))
            .chunk(rows(301..=400))
            .serve();
        Self { home, source, role }
    }

    /// With the first rows loaded and then two chunks more: new rows, and 20 that are changed.
    async fn loaded(index: &str) -> Self {
        Self::loaded_by(index, By::Superuser).await
    }

    async fn loaded_by(index: &str, by: By) -> Self {
        let stage = Self::by(index, by).await;
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
        if let Some(role) = &self.role {
            run_as(&self.home, role);
        }
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

/// Makes a role the owner of the tables.
async fn owner(database: &Database) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let role = format!("owner_{}_{number}", std::process::id());
    let name = database.texts("select current_database()::text").await;
    database
        .execute(&format!(
            "create role {role} login; grant create on database {} to {role};
             grant create on schema public to {role};
             do $$ declare it record; begin
                 for it in select oid::regclass as name from pg_class
                           where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') loop
                     execute format('alter table %s owner to {role}', it.name);
                 end loop;
             end $$",
            name[0]
        ))
        .await;
    role
}

/// Lets the host connect as a role.
fn run_as(home: &Home, role: &str) {
    let config = home.path().join("forebay.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let url = &home.database.url;
    let as_role = url.replacen("user=forebay&", &format!("user={role}&"), 1);
    assert_ne!(*url, as_role);
    std::fs::write(&config, text.replace(url, &as_role)).unwrap();
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
    for (mode, by) in MODES.into_iter().zip([
        By::Superuser,
        By::Owner,
        By::Owner,
        By::Owner,
        By::Superuser,
    ]) {
        let stage = Stage::by(ITEMS, by).await;
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
    rebuild-frozen: empty defer built, filled rebuild-frozen built
    ");
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
async fn killed_at(mode: &str, by: By, points: &[&str]) {
    let undisturbed = undisturbed().await;
    for point in points {
        for next in [mode, "keep"] {
            let what = format!("{mode} killed at {point}, then {next}");
            let stage = Stage::loaded_by(ITEMS, by).await;
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
    killed_at("defer-always", By::Owner, &points).await;
}

const REBUILD: [&str; 5] = [
    "index.taken",
    "commit.after",
    "index.before",
    "index.built",
    "index.back",
];

#[tokio::test]
async fn a_host_that_dies_while_an_index_is_rebuilt() {
    killed_at("rebuild", By::Owner, &REBUILD).await;
}

#[tokio::test]
async fn a_host_that_dies_while_a_frozen_index_is_rebuilt() {
    killed_at("rebuild-frozen", By::Superuser, &REBUILD).await;
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

/// A host that has loaded everything, and is at building the index for as long as lock 7 is held.
/// Rows that enter the index wait for it too.
async fn building(stage: &Stage) -> (Host, Transaction<'static, Postgres>) {
    killed(stage, "index.before=return");
    let held = stage
        .database()
        .hold("select pg_advisory_xact_lock(7)")
        .await;
    let mut host = stage.home.start("");
    host.until("building index");
    (host, held)
}

#[tokio::test]
async fn a_build_is_shown_can_be_stopped_and_is_made_up_for() {
    for (mode, manner, by) in [
        ("defer-always", "defer", By::Owner),
        ("rebuild", "rebuild", By::Owner),
        ("rebuild-frozen", "rebuild-frozen", By::Superuser),
    ] {
        let stage = Stage::loaded_by(SLOW, by).await;
        stage.configure(mode);
        let (host, held) = building(&stage).await;
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
    for (mode, by) in [("rebuild", By::Owner), ("rebuild-frozen", By::Superuser)] {
        removed(Stage::loaded_by(SLOW, by).await, mode).await;
    }
}

async fn removed(stage: Stage, mode: &str) {
    stage.configure(mode);
    let (host, held) = building(&stage).await;
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
    for mode in ["defer-always", "rebuild", "rebuild-frozen"] {
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
    let stage = Stage::loaded_by(ITEMS, By::Owner).await;
    let database = stage.database();
    let role = stage.role.as_deref().unwrap();
    let refused = |mode: &str| {
        stage.configure(mode);
        let ended = stage.home.run();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.log);
        let hint = ended.log.split("pipelines.rows.index: ").nth(1).unwrap();
        hint.trim().to_owned()
    };
    let mut said = vec![refused("rebuild-frozen")];
    database
        .execute(&format!("revoke create on schema public from {role}"))
        .await;
    said.push(refused("defer"));
    database
        .execute(&format!(
            "alter table items owner to forebay; grant all on items to {role}"
        ))
        .await;
    said.extend(["rebuild", "defer"].map(refused));
    insta::assert_snapshot!(said.join("\n"), @r#"
    "rebuild-frozen" of public."Items vector" changes the catalog, which only a superuser may do
      hint: use "rebuild", which needs no superuser
    "defer" creates public."Items vector", which this role must not do
      hint: grant it CREATE on the schema, or use "keep"
    "rebuild" rebuilds public."Items vector", which this role must not do
      hint: make it the owner of the table, or use "keep"
    "defer" drops and creates public."Items vector", which this role must not do
      hint: make it the owner of the table, or use "keep"
    "#);
    assert_eq!(database.number("select count(*) from items").await, 400);
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
    let outlook = |mode: &str| {
        stage.configure(mode);
        let ended = stage.home.start_command(&["check"], "").wait();
        let mut lines = ended.stdout.lines().map(str::trim);
        let line = lines.find(|line| line.starts_with("index "));
        line.unwrap().to_owned()
    };
    let mut said = vec![format!("unknown: {}", outlook("keep"))];
    stage.source.change(|script| script.counting(90_000));
    said.extend(MODES.map(|mode| format!("{mode}: {}", outlook(mode))));
    // What the last run brought is what the next one is expected to bring.
    stage.source.change(|script| script.counting(600));
    stage.configure("keep");
    stage.home.run().done();
    stage
        .database()
        .execute(
            "insert into items select n, n, array[n, n]::real[]::vector from generate_series(601, 2000) n;
             update forebay.run set received = received + 1500, updated = updated + 1500
             where started_at = (select max(started_at) from forebay.run)",
        )
        .await;
    stage.source.change(|script| script.counting(2_100));
    said.extend(["keep", "rebuild"].map(|mode| format!("again, {mode}: {}", outlook(mode))));
    insta::assert_snapshot!(said.join("\n"), @r#"
    unknown: index public."Items vector" (hnsw): kept; estimate for 0 new rows: keep less than a second, rebuild less than a second, defer-always less than a second; if all 400 known rows change, keep less than a second, rebuild less than a second; from 126 new or changed rows on, index = "rebuild" is faster
    keep: index public."Items vector" (hnsw): kept; estimate for 89,600 new rows: keep 20 s, rebuild 8 s, defer-always 5 s; if all 400 known rows change, keep 20 s, rebuild 8 s; index = "rebuild" is faster
    defer: index public."Items vector" (hnsw): kept, since its table has rows (index = "defer-always" drops it anyway, "rebuild" keeps it for searches); estimate for 89,600 new rows: keep 20 s, rebuild 8 s, defer-always 5 s; if all 400 known rows change, keep 20 s, rebuild 8 s; index = "rebuild" is faster
    defer-always: index public."Items vector" (hnsw): dropped, built at the end; estimate for 89,600 new rows: keep 20 s, rebuild 8 s, defer-always 5 s; if all 400 known rows change, keep 20 s, rebuild 8 s
    rebuild: index public."Items vector" (hnsw): left to searches, which rows enter with little effort; a new one is built beside it at the end; estimate for 89,600 new rows: keep 20 s, rebuild 8 s, defer-always 5 s; if all 400 known rows change, keep 20 s, rebuild 8 s
    rebuild-frozen: index public."Items vector" (hnsw): left to searches as it is, rebuilt at the end (which adds new and changed rows); estimate for 89,600 new rows: keep 20 s, rebuild 8 s, defer-always 5 s; if all 400 known rows change, keep 20 s, rebuild 8 s
    again, keep: index public."Items vector" (hnsw): kept; estimate for 100 new rows and 1,520 that change, as in the last run: keep less than a second, rebuild less than a second, defer-always less than a second; if all 2,000 known rows change, keep less than a second, rebuild less than a second; index = "rebuild" is faster
    again, rebuild: index public."Items vector" (hnsw): left to searches, which rows enter with little effort; a new one is built beside it at the end; estimate for 100 new rows and 1,520 that change, as in the last run: keep less than a second, rebuild less than a second, defer-always less than a second; if all 2,000 known rows change, keep less than a second, rebuild less than a second
    "#);
}
