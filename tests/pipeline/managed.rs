//! A database that somebody else runs: standbys, copies, roles with few rights, settings and
//! policies of others.

use forebay::proto::FieldType;
use support::{As, Home, Script, Scripted, Server, row, rows};

const ITEMS: &str =
    "create table items (id int primary key, number int, vector vector(2) not null)";

fn numbers() -> Script {
    Script::new(2, &[("number", FieldType::Integer)])
}

fn migrate(home: &Home) {
    home.start_command(&["migrate"], "").wait().exit(0);
}

/// A role of this test, by the name of its database.
fn role(home: &Home) -> String {
    let database = home.database.url.split(['/', '?']).nth(3).unwrap();
    format!("role_{database}")
}

/// Connects the host as this role.
fn log_in(home: &Home, role: &str) {
    let url = &home.database.url;
    home.go_through(&url.replace("user=forebay", &format!("user={role}")));
}

async fn drop_role(home: &Home, role: &str) {
    home.database
        .execute(&format!("drop owned by {role} cascade; drop role {role}"))
        .await;
}

#[tokio::test]
async fn a_standby_is_waited_for_until_it_is_promoted() {
    let home = Home::new().await;
    let mut server = Server::new().await;
    server.execute(ITEMS).await;
    let source = numbers().chunk(rows(1..=3)).serve();
    home.configure(&source.pipeline_with(&["items"], "plugins = []", 3, ""));
    home.go_through(&server.url("forebay"));
    migrate(&home);

    // One that is a standby when the run begins.
    server.stop();
    server.start(As::Standby).await;
    let ended = home.start_command(&["check"], "").wait();
    assert!(
        ended
            .stdout
            .contains("the server is read-only, as a standby is"),
        "{}",
        ended.stdout
    );
    let mut host = home.start("");
    host.until("the server is read-only, as a standby is");
    server.promote().await;
    assert_eq!(host.wait().done()["rows"]["inserted"], 3);

    // One that takes over in the middle of a run.
    source.change(|script| script.chunk(rows(4..=6)).chunk(rows(7..=9)));
    let mut lock = server.connect().await;
    sqlx::raw_sql("begin; insert into items values (8, 8, '[0,0]')")
        .execute(&mut lock)
        .await
        .unwrap();
    let mut host = home.start("");
    host.until("chunk committed");
    server.stop();
    server.start(As::Standby).await;
    host.until("the server is read-only, as a standby is");
    server.promote().await;
    let report = host.wait().done();
    assert_eq!(report["starts"], 1);
    assert_eq!(report["rows"]["received"], 9);
    assert_eq!(report["rows"]["inserted"], 6);
    assert_eq!(server.number("select count(*) from items").await, 9);
}

#[tokio::test]
async fn commits_that_a_failover_has_lost_are_made_again() {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let source = (0..4).fold(numbers(), |script, chunk| {
        script.chunk(rows(chunk * 3 + 1..=chunk * 3 + 3))
    });
    let source = source.serve();
    let pipeline = source.pipeline_with(&["items"], "plugins = []", 3, "writers = 1");
    home.configure(&pipeline);
    migrate(&home);
    // The fourth chunk waits, and the database goes back to what it was after the second one. Its
    // connection stays, as behind a pooler.
    let held = home
        .database
        .hold("insert into items values (11, 11, '[0,0]')")
        .await;
    let mut host = home.start("");
    home.database
        .until("select exists (select from forebay.checkpoint where sequence = 3)")
        .await;
    home.database.until_blocked().await;
    home.database
        .execute(
            "update forebay.checkpoint set sequence = 2, rows = 6, position = '2';
             update forebay.run set chunks = 2, received = 6, inserted = 6;
             delete from forebay.digest;
             delete from items where id in (7, 8, 9)",
        )
        .await;
    held.rollback().await.unwrap();
    host.until("the database is behind what this host has committed: it has 2 chunks");
    let report = host.wait().done();
    assert_eq!(report["starts"], 1);
    assert_eq!(report["rows"]["received"], 12);
    assert_eq!(report["rows"]["inserted"], 12);
    assert_eq!(home.database.number("select count(*) from items").await, 12);
    assert_eq!(source.positions(), ["", "2"]);
}

#[tokio::test]
async fn a_copy_from_before_the_run_is_said() {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let source = numbers().chunk(rows(1..=3)).chunk(rows(4..=6)).serve();
    let pipeline = source.pipeline_with(&["items"], "plugins = []", 3, "writers = 1");
    home.configure(&pipeline);
    migrate(&home);
    let held = home
        .database
        .hold("insert into items values (5, 5, '[0,0]')")
        .await;
    let host = home.start("");
    home.database
        .until("select exists (select from forebay.checkpoint where sequence = 1)")
        .await;
    home.database.until_blocked().await;
    home.database
        .execute("delete from forebay.checkpoint; delete from items where id < 4")
        .await;
    held.rollback().await.unwrap();
    let ended = host.wait();
    ended
        .said("the database is an older copy")
        .said("the next start goes on from the positions in the database");
    ended.exit(1);
    assert_eq!(home.run().done()["rows"]["received"], 6);
    assert_eq!(home.database.number("select count(*) from items").await, 6);
}

#[tokio::test]
async fn settings_of_a_role_are_not_those_of_its_host() {
    let home = Home::new().await;
    // The row that is waited for takes longer than the role's limits.
    home.database
        .execute(&format!(
            "{ITEMS};
             create function wait() returns trigger language plpgsql as
                 'begin perform pg_sleep(1.5); return new; end';
             create trigger wait before insert on items for each row when (new.id = 2) execute function wait();"
        ))
        .await;
    let source = numbers().chunk(rows(1..=3)).serve();
    home.configure(&source.pipeline(&["items"], ""));
    let role = role(&home);
    let settings = [
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'repeatable read'",
        "statement_timeout = '1s'",
        "transaction_timeout = '1s'",
        "idle_in_transaction_session_timeout = '1s'",
        "idle_session_timeout = '1s'",
        "lock_timeout = '1ms'",
        "row_security = off",
        "enable_indexscan = off",
        "standard_conforming_strings = on",
        "bytea_output = 'escape'",
    ];
    let settings = settings.map(|setting| format!("alter role {role} set {setting};"));
    home.database
        .execute(&format!(
            "create role {role} login superuser; {}",
            settings.concat()
        ))
        .await;
    log_in(&home, &role);
    let ended = home.run();
    drop_role(&home, &role).await;
    assert_eq!(ended.done()["rows"]["inserted"], 3);
}

/// A schema with functions and operators of the server's names, for arguments that the host has. All
/// fail.
const HOSTILE: &str = r#"
    create schema hostile;
    create function hostile.boom() returns text language plpgsql as $$ begin raise 'the hostile one was called'; end $$;
    create function hostile.unnest(text[]) returns setof text language sql as 'select hostile.boom()';
    create function hostile.unnest(uuid[]) returns setof uuid language sql as 'select hostile.boom()::uuid';
    create function hostile.unnest(bigint[]) returns setof bigint language sql as 'select hostile.boom()::bigint';
    create function hostile.unnest(smallint[]) returns setof smallint language sql as 'select hostile.boom()::smallint';
    create function hostile.cardinality(int[]) returns int language sql as 'select hostile.boom()::int';
    create function hostile.cardinality(text[]) returns int language sql as 'select hostile.boom()::int';
    create function hostile.format(text, text, text) returns text language sql as 'select hostile.boom()';
    create function hostile.format(text, name, name) returns text language sql as 'select hostile.boom()';
    create function hostile.now() returns timestamptz language sql as 'select hostile.boom()::timestamptz';
    create function hostile.pg_backend_pid() returns int language sql as 'select hostile.boom()::int';
    create function hostile.to_regclass(text) returns regclass language sql as 'select hostile.boom()::regclass';
    create function hostile.current_setting(text) returns text language sql as 'select hostile.boom()';
    create function hostile.quote_ident(text) returns text language sql as 'select hostile.boom()';
    create function hostile.gen_random_uuid() returns uuid language sql as 'select hostile.boom()::uuid';
    create function hostile.same(varchar, varchar) returns bool language sql as 'select hostile.boom()::bool';
    create operator hostile.= (leftarg = varchar, rightarg = varchar, function = hostile.same);
    create function hostile.same(text, text) returns bool language sql as 'select hostile.boom()::bool';
    create operator hostile.= (leftarg = text, rightarg = text, function = hostile.same);
    create function hostile.same(int, int) returns bool language sql as 'select hostile.boom()::bool';
    create operator hostile.= (leftarg = int, rightarg = int, function = hostile.same);
    create type hostile.text as (boom int);
    create type hostile.uuid as (boom int);
    create table hostile.pg_class (boom int);
    create table hostile.checkpoint (boom int);
"#;

#[tokio::test]
async fn any_search_path_and_any_schema_of_pgvector_will_do() {
    let home = Home::new().await;
    home.database
        .execute(&format!(
            r#"drop extension vector; create schema "My Ext";
             create extension vector schema "My Ext"; create extension citext schema "My Ext";
             create schema app; {HOSTILE}
             create table app.items (id varchar(40) primary key, title "My Ext".citext, name varchar(40), tags text[],
                 vector "My Ext".vector(2) not null, half "My Ext".halfvec(2),
                 updated_at timestamptz not null default now());
             create index on app.items using hnsw (vector "My Ext".vector_l2_ops);
             create table app.notes (item varchar(40) references app.items on delete cascade, note "My Ext".citext, primary key (item, note));
             -- A trigger of the user's own needs the path that he has set.
             create table public.audit (id text);
             create function app.audit() returns trigger language plpgsql as $$ begin insert into audit values (new.id); return new; end $$;
             create trigger audit before insert or update on app.items for each row execute function app.audit();"#
        ))
        .await;
    let fields = [
        ("title", FieldType::Text),
        ("name", FieldType::Text),
        ("tags", FieldType::Texts),
        ("note", FieldType::Texts),
    ];
    let chunk = |version: &str| {
        ["a", "b", "c"].map(|key| {
            row(key, &[1.0, 2.0])
                .text("title", &format!("Title {version}"))
                .text("name", &format!("name {version}"))
                .texts("tags", ["x", version])
                .texts("note", ["n", version])
                .vector("half", &[0.5, 0.5])
        })
    };
    let script = |version| {
        let script = Script::new(2, &fields).embedding("half", 2);
        script.chunk(chunk(version))
    };
    let source = script("one").serve();
    let pipeline = |more: &str| {
        source.pipeline(
            &["app.items", "app.notes"],
            &format!("missing = \"remove\"\nmissing_limit = \"100%\"\n{more}"),
        )
    };
    let database = home.database.texts("select current_database()::text").await;
    let mut versions = (0..).map(|version: u32| format!("v{version}"));
    for (path, more) in [
        ("public", "index = \"defer\""),
        ("\"$user\", public, hostile", ""),
        ("hostile, public", ""),
        ("hostile, public, pg_catalog", ""),
    ] {
        let set = format!("alter database {} set search_path = {path}", database[0]);
        home.database.execute(&set).await;
        let version: &'static str = versions.next().unwrap().leak();
        source.change(|_| script(version));
        home.configure(&pipeline(more));
        let report = home.run().done();
        let changed = report["rows"]["inserted"].as_i64().unwrap()
            + report["rows"]["updated"].as_i64().unwrap();
        assert_eq!(changed, 3, "{path}: {report:#}");
        assert_eq!(home.run().done()["rows"]["unchanged"], 3, "{path}");
        let verified = home.start_command(&["verify", "rows"], "").wait();
        assert_eq!(
            verified.status.code(),
            Some(0),
            "{path}: {}{}",
            verified.stdout,
            verified.log
        );
        source.change(|script| Script {
            chunks: [(String::new(), vec![script.chunks[""][0][1..].to_vec()])].into(),
            ..script
        });
        assert_eq!(home.run().done()["missing"]["removed"], 1, "{path}");
    }
    // An empty path finds no trigger's table, and so is that of tables without such triggers.
    home.database
        .execute(&format!(
            "drop trigger audit on app.items; alter database {} set search_path = ''",
            database[0]
        ))
        .await;
    source.change(|_| script("last"));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 1);
    assert_eq!(report["rows"]["updated"], 2);
    let ended = home.start_command(&["check"], "").wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stdout);
}

#[tokio::test]
async fn what_is_granted_is_enough_and_is_all() {
    let home = Home::new().await;
    home.database
        .execute(
            "drop extension vector; create schema extensions; create extension vector schema extensions;
             create schema app;
             create table app.items (id int primary key, serial_number serial, vector extensions.vector(2) not null);
             revoke all on schema public from public",
        )
        .await;
    let database = home.database.texts("select current_database()::text").await;
    let (role, database) = (role(&home), database[0].as_str());
    let owner = format!("{role}_owner");
    // The schema may be made for a role that must not make any.
    home.database
        .execute(&format!(
            "revoke create, temporary on database {database} from public;
             create role {owner} login; create role {role} login;
             create schema forebay authorization {owner};
             grant usage on schema app to {owner};"
        ))
        .await;
    let source = Script::new(2, &[]).chunk([row("1", &[0.5; 2]), row("2", &[0.25; 2])]);
    let source = source.serve();
    let pipeline = source.pipeline(&["app.items"], "missing = \"remove\"");
    home.configure(&pipeline);
    log_in(&home, &owner);
    let ended = home
        .start_command(&["migrate", "--grants", &role], "")
        .wait();
    let grants = ended.stdout.clone();
    ended.exit(0);
    insta::assert_snapshot!(grants.lines().skip(1).collect::<Vec<_>>().join("\n").replace(&role, "ROLE"), @"
    grant usage on schema forebay to ROLE;
    grant select, insert, update, delete on all tables in schema forebay to ROLE;
    alter default privileges in schema forebay grant select, insert, update, delete on tables to ROLE;
    grant usage on schema app to ROLE;
    grant usage on schema extensions to ROLE;
    grant usage on sequence app.items_serial_number_seq to ROLE;
    grant select, insert, update, delete on app.items to ROLE;
    ");
    home.configure(&pipeline);
    log_in(&home, &role);
    let lacking = home.start_command(&["check"], "").wait();
    home.database.execute(&grants).await;
    let (first, again) = (home.run(), home.run());
    for role in [&role, &owner] {
        drop_role(&home, role).await;
    }
    assert_ne!(lacking.status.code(), Some(0), "{}", lacking.stdout);
    assert_eq!(first.done()["rows"]["inserted"], 2);
    assert_eq!(again.done()["rows"]["unchanged"], 2);
}

/// A pipeline of a role that policies apply to.
async fn under_policies(policies: &str) -> (Home, Scripted, String) {
    let home = Home::new().await;
    home.database.execute(ITEMS).await;
    let source = numbers().chunk(rows(1..=4)).serve();
    home.configure(&source.pipeline(&["items"], "dead_letter_limit = \"100%\""));
    migrate(&home);
    let role = role(&home);
    home.database
        .execute(&format!(
            "create role {role} login; grant usage on schema forebay to {role};
             grant select, insert, update, delete on all tables in schema forebay, public to {role};
             alter table items enable row level security; {policies}"
        ))
        .await;
    log_in(&home, &role);
    (home, source, role)
}

#[tokio::test]
async fn a_row_that_a_policy_refuses_costs_itself() {
    let (home, source, role) = under_policies(
        "create policy writes on items for all using (number <> 3) with check (number <> 3);",
    )
    .await;
    let checked = home.start_command(&["check"], "").wait();
    let first = home.run();
    // One that is hidden since is refused as well, and is no new one.
    source.change(|_| numbers().chunk(rows([1, 2, 4, 5])));
    home.database
        .execute("alter policy writes on items using (number not in (2, 3)) with check (true)")
        .await;
    let letters = home
        .database
        .texts("select key || ' ' || code from forebay.dead_letter")
        .await;
    home.database.execute("delete from forebay.digest").await;
    let second = home.run();
    let hidden = home
        .database
        .texts("select key || ' ' || code from forebay.dead_letter where key = '2'")
        .await;
    let kept = home.database.number("select count(*) from items").await;
    drop_role(&home, &role).await;

    assert!(
        checked.stdout.contains("row-level security applies to"),
        "{}",
        checked.stdout
    );
    let report = first.done();
    assert_eq!(report["rows"]["inserted"], 3, "{report:#}");
    assert_eq!(letters, ["3 SQL_42501"]);
    let report = second.done();
    assert_eq!(report["rows"]["inserted"], 1, "{report:#}");
    assert_eq!(report["rows"]["unchanged"], 2, "{report:#}");
    assert_eq!(hidden, ["2 SQL_42501"]);
    assert_eq!(kept, 4);
}

#[tokio::test]
async fn policies_that_let_nothing_pass_are_said_before_the_first_row() {
    let (home, _source, role) =
        under_policies("create policy reads on items for select using (true);").await;
    let closed = home.run();
    home.database
        .execute("create policy writes on items using (true)")
        .await;
    home.database
        .execute("alter table forebay.digest enable row level security")
        .await;
    let refused = home.run();
    let kept = home.database.number("select count(*) from items").await;
    drop_role(&home, &role).await;
    closed.said("items: row-level security has no policy that lets");
    closed.exit(2);
    refused
        .said("schema forebay: row-level security applies to")
        .said("on digest: hidden rows would be lost");
    refused.exit(2);
    assert_eq!(kept, 0);
}
