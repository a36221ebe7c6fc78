//! What is known about a database before the first row is moved.

use forebay::proto::FieldType;
use support::{Ended, Home, Script, row, rows};

/// A home with tables, and a pipeline of two rows into one of them.
async fn home(tables: &str, table: &str) -> (Home, support::Scripted) {
    let home = Home::new().await;
    home.database.execute(tables).await;
    let source = Script::new(600, &[]).chunk([row("1", &[0.5; 600]), row("2", &[0.25; 600])]);
    let source = source.serve();
    home.configure(&source.pipeline(&[table], ""));
    (home, source)
}

fn check(home: &Home) -> Ended {
    home.start_command(&["check"], "").wait()
}

/// The lines about the database and its tables, without those that say that the tests' server
/// does not wait for the disk, or that the disk is full.
fn shown(ended: &Ended) -> String {
    let lines = ended.stdout.lines();
    let lines =
        lines.skip_while(|line| !line.starts_with("ok   pipeline") && !line.starts_with("FAIL"));
    let mut shown = Vec::new();
    let mut skips = false;
    for line in lines {
        if !line.starts_with("     ") {
            skips = [
                "fsync is off",
                "full_page_writes is off",
                "synchronous_commit is off",
                "free on its disk",
            ]
            .iter()
            .any(|setting| line.contains(setting));
        }
        if !skips {
            shown.push(line);
        }
    }
    shown.join("\n")
}

#[tokio::test]
async fn what_could_be_better_is_said_and_does_not_stop_a_run() {
    let (home, _source) = home(
        "create unlogged table items (id int primary key, vector vector(600) not null, wide vector);
         create unlogged table parts (id int primary key, item int references items on delete cascade);
         create index near on items using hnsw (vector vector_l2_ops);
         create index near_again on items using hnsw (vector vector_l2_ops);
         create index around on items using ivfflat (vector vector_cosine_ops);
         create function nothing() returns trigger language plpgsql as 'begin return new; end';
         create trigger audit before insert on items for each row execute function nothing();",
        "items",
    )
    .await;
    let ended = check(&home);
    insta::assert_snapshot!(shown(&ended), @r#"
    ok   pipeline rows: dataset rows (0 fields, 1 embeddings, an unknown number of rows) into public.items
         index public.around (ivfflat): kept
         index public.near (hnsw): kept
         index public.near_again (hnsw): kept
         public.items: rows are found by id
           column  type         fed by
           id      integer      the row's key
           vector  vector(600)  the embedding vector
           wide    vector       nothing: null
    warn items: is unlogged: a server crash empties it
           hint: alter table public.items set logged; after a crash, the next snapshot run fills it again
    warn items: the indexes near and near_again are identical: each row is inserted into both
           hint: drop index near_again
    warn items: nothing feeds the column `wide`: null in new rows
           hint: map a field or an embedding to it with `rename`, unless others fill it
    note items: has triggers that run on writes: audit
           hint: the next run does not see their changes as changes of the row; a row for which one returns null is dropped (SWALLOWED)
    note parts (item): references items without an index: each row deleted there scans all of parts
           hint: create index on parts (item)
    note items: the ivfflat index around serves <=> on vector (vector_cosine_ops)
           hint: queries that order by another operator scan the whole table
    note items: the hnsw index near serves <-> on vector (vector_l2_ops)
           hint: queries that order by another operator scan the whole table
    note items.vector: fits into the page of its row, but is stored out of line: writing it is about a quarter slower
           hint: alter table public.items alter column "vector" set storage plain, which applies to rows written from then on
    note items.wide: declares no dimensions: it cannot be indexed
           hint: alter table public.items alter column "wide" type vector(N)
    "#);
    ended.exit(0);

    let ended = home.run();
    ended.said("is unlogged").said("fsync is off");
    for unsaid in ["storage plain", "shared with others by a pooler"] {
        assert!(!ended.log.contains(unsaid), "{}", ended.log);
    }
    assert_eq!(ended.done()["rows"]["inserted"], 2);
}

#[tokio::test]
async fn long_vectors_and_partitions_are_told_apart() {
    let (home, _source) = home(
        "create table items (id int primary key, vector vector(600) not null, large vector(3072),
             huge halfvec(4096)) partition by range (id);
         create table items_low partition of items for values from (0) to (2);",
        "items",
    )
    .await;
    let ended = check(&home);
    insta::assert_snapshot!(shown(&ended), @r#"
    ok   pipeline rows: dataset rows (0 fields, 1 embeddings, an unknown number of rows) into public.items
         public.items: rows are found by id
           column  type           fed by
           id      integer        the row's key
           vector  vector(600)    the embedding vector
           large   vector(3072)   nothing: null
           huge    halfvec(4096)  nothing: null
    warn items: nothing feeds the columns `large`, `huge`: null in new rows
           hint: map a field or an embedding to it with `rename`, unless others fill it
    note items: is partitioned without a default partition: rows outside all partitions are dead-lettered
           hint: create partitions for all keys, or a default partition
    note items.large: has 3072 dimensions, but an index on vector takes at most 2000
           hint: index it in half precision: create index on public.items using hnsw (("large"::halfvec(3072)) halfvec_cosine_ops)
    note items.huge: has 4096 dimensions, but an index on halfvec takes at most 4000
           hint: index its signs: create index on public.items using hnsw ((binary_quantize("huge")::bit(4096)) bit_hamming_ops)
    "#);
    ended.exit(0);
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 1);
    assert_eq!(report["rows"]["dead_lettered"], 1);
}

#[tokio::test]
async fn all_that_a_role_lacks_is_said_at_once() {
    let (home, source) = home(
        "create schema closed; create table closed.items (id int primary key, vector vector(600));
         create table items (id int primary key, vector vector(600) not null);
         alter table items enable row level security;",
        "items",
    )
    .await;
    home.configure(&source.pipeline(&["items", "closed.items"], ""));
    home.start_command(&["migrate"], "").wait().exit(0);
    let role = format!(
        "role_{}",
        home.database.url.split(['/', '?']).nth(3).unwrap()
    );
    let role = role.as_str();
    home.database
        .execute(&format!(
            "create role {role} login connection limit 1; grant usage on schema forebay to {role};
             grant select on all tables in schema forebay to {role}; grant select (id) on items to {role};"
        ))
        .await;
    let file = home.path().join("forebay.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("user=forebay", &format!("user={role}"))).unwrap();
    // The two connections that are opened to see whose they are.
    let ended = check(&home);
    assert!(
        ended.stdout.contains("too many connections"),
        "{}",
        ended.stdout
    );

    // Those of the first check may still be about to end.
    home.database
        .execute(&format!("alter role {role} connection limit 10"))
        .await;
    let gone = format!("select not exists (select from pg_stat_activity where usename = '{role}')");
    home.database.until(&gone).await;
    let ended = check(&home);
    insta::assert_snapshot!(shown(&ended).replace(role, "ROLE"), @r#"
    FAIL pipeline rows: closed.items: no such table
           hint: there is items: tables = ["items"]
         schema forebay: ROLE lacks delete, insert, update on its tables
           hint: grant delete, insert, update on all tables in schema forebay to ROLE
         items: ROLE lacks select, insert, update
           hint: grant select, insert, update on public.items to ROLE
         items: row-level security has no policy that lets ROLE select, insert, update
           hint: create policy … on public.items for all to ROLE using (true) with check (true)
         closed.items: ROLE lacks usage on the schema closed
           hint: grant usage on schema closed to ROLE
    "#);
    ended.exit(2);

    // With what is asked for, the very same role can do it: it creates nothing.
    home.database
        .execute(&format!(
            "grant select, insert, update, delete on all tables in schema forebay to {role};
             grant select (id, vector), insert (id, vector), update (vector) on items to {role};
             create policy all_rows on items to {role} using (true);"
        ))
        .await;
    std::fs::write(
        &file,
        std::fs::read_to_string(&file)
            .unwrap()
            .replace(", \"closed.items\"", ""),
    )
    .unwrap();
    let report = home.run().done();
    home.database
        .execute(&format!("drop owned by {role}; drop role {role}"))
        .await;
    assert_eq!(report["rows"]["inserted"], 2);
}

#[tokio::test]
async fn a_lock_that_is_held_for_too_long_is_waited_for_in_turns() {
    let (home, source) = home(
        "create table items (id int primary key, vector vector(600) not null);",
        "items",
    )
    .await;
    let plugins = support::guests("plugins");
    let timeouts = "database.lock_timeout = \"50ms\"";
    home.configure_with(&plugins, timeouts, &source.pipeline(&["items"], ""));
    let lock = home
        .database
        .hold("lock table items in exclusive mode")
        .await;
    let mut host = home.start("");
    host.until("another session held the lock for longer than database.lock_timeout");
    lock.rollback().await.unwrap();
    assert_eq!(host.wait().done()["rows"]["inserted"], 2);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_cancelled_and_tried_again() {
    let (home, source) = home(
        "create table items (id int primary key, vector vector(600) not null);
         create table slow as select 60 as seconds;
         create function wait() returns trigger language plpgsql as
             'begin perform pg_sleep(seconds) from slow; return new; end';
         create trigger wait before insert on items for each row execute function wait();",
        "items",
    )
    .await;
    let plugins = support::guests("plugins");
    let timeouts = "database.lock_timeout = \"1s\"\ndatabase.statement_timeout = \"2s\"";
    home.configure_with(&plugins, timeouts, &source.pipeline(&["items"], ""));
    let mut host = home.start("");
    host.until("database.statement_timeout limits the time of a statement");
    home.database.execute("delete from slow").await;
    assert_eq!(host.wait().done()["rows"]["inserted"], 2);
}

#[tokio::test]
async fn more_partitions_than_connections_are_refused() {
    let home = Home::new().await;
    home.database
        .execute("create table items (id int primary key, vector vector(2) not null)")
        .await;
    let mut source = Script::new(2, &[]);
    for key in ["1", "2", "3"] {
        source = source.partition(key, [row(key, &[0.5, 0.5])]);
    }
    let source = source.serve();
    let plugins = support::guests("plugins");
    let connections = |count: u32| {
        let connections = format!("database.connections = {count}");
        home.configure_with(&plugins, &connections, &source.pipeline(&["items"], ""));
        home.run()
    };
    let refused = connections(3);
    refused.said("database.connections: is 3, but the pipeline needs 4");
    refused.exit(2);
    assert_eq!(connections(4).done()["rows"]["inserted"], 3);
}

#[tokio::test]
async fn a_flag_that_cannot_be_is_said_before_the_first_row() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, number int, vector vector(2), note text,
                 since timestamptz not null default now(), gone boolean)",
        )
        .await;
    let source = Script::new(2, &[("number", FieldType::Integer)])
        .chunk(rows(1..=3))
        .serve();
    let refused = |missing: &str| {
        home.configure(&source.pipeline(&["items"], &format!("missing = {missing}")));
        let ended = home.run();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.log);
        let lines = ended.log.lines().filter(|line| !line.contains("INFO"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let mut said = String::new();
    for missing in [
        "{ flag = \"nowhere\" }",
        "{ flag = \"number\" }",
        "{ flag = \"note\" }",
        "{ flag = \"since\" }",
        "{ flag = \"id\" }",
    ] {
        said += &refused(missing);
    }
    source.change(Script::changes);
    said += &refused("\"remove\"");
    home.database
        .execute("alter table items alter gone set not null")
        .await;
    said += &refused("{ flag = \"gone\" }");
    insta::assert_snapshot!(said, @"
    error: pipeline rows: pipelines.rows.missing: no table has a column `nowhere`
      hint: add it as `boolean not null default false` or as a nullable `timestamptz`
    error: pipeline rows: pipelines.rows.missing: `number` is fed by the dataset
      hint: name a column that only Forebay writes
    error: pipeline rows: items.note: cannot hold the flag of missing rows
      hint: use `boolean not null default false` or a nullable `timestamptz`
    error: pipeline rows: items.since: cannot hold the flag of missing rows
      hint: use `boolean not null default false` or a nullable `timestamptz`
    error: pipeline rows: items.id: cannot hold the flag of missing rows
      hint: use `boolean not null default false` or a nullable `timestamptz`
    error: pipeline rows: pipelines.rows.missing: the dataset `rows` delivers changes: a row that does not arrive is not missing
      hint: remove `missing`; such a source marks deleted rows (Row.deleted)
    error: pipeline rows: items.gone: cannot hold the flag of missing rows
      hint: use `boolean not null default false` or a nullable `timestamptz`
    pipelines.rows.missing: the dataset `rows` delivers changes: a row that does not arrive is not missing
      hint: remove `missing`; such a source marks deleted rows (Row.deleted)
    ");
    for table in ["items", "forebay.run where starts > 0"] {
        let count = format!("select count(*) from {table}");
        assert_eq!(home.database.number(&count).await, 0, "{table}");
    }
}
