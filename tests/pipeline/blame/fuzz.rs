//! Random tables with checks, triggers that raise random SQLSTATEs, generated columns and a second
//! table; random rows in random chunks, read again and again. The end of each is that of a plain
//! oracle, which writes rows one by one in the source's order, and none is lost.
//!
//! Some tables have unique values as well, and some references to other rows. There the oracle finds
//! the largest set of rows that is right as a whole, and writes that. (No table has both: a row that
//! waits for the value of one that refers to it is refused, which the oracle would not do.)
//!
//! `FOREBAY_FUZZ_RUNS=5000 cargo test --release --test pipeline blame::fuzz` runs more of them;
//! `FOREBAY_TEST_SEED` begins at the seed that a failure names.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use forebay::config::Config;
use forebay::pipeline::{Host, Pipeline};
use forebay::plugin::{Directory, Engine};
use forebay::progress::Progress;
use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use forebay::report::Report;
use forebay::rollout::PluginWatcher;
use forebay::store::Store;
use forebay::store::run::Status;
use sqlx::{AssertSqlSafe, PgConnection};
use support::{Home, PATIENCE, RowBuilder, Script, Scripted, row};
use tokio_util::sync::CancellationToken;

/// Number of runs unless `FOREBAY_FUZZ_RUNS` says another.
const RUNS: u64 = 100;

const FIELDS: [(&str, FieldType); 8] = [
    ("a", FieldType::Integer),
    ("b", FieldType::Text),
    ("c", FieldType::Integer),
    ("lang", FieldType::Text),
    ("other", FieldType::Integer),
    ("state", FieldType::Text),
    ("slug", FieldType::Text),
    ("parent", FieldType::Text),
];

/// Codes that a trigger may raise: of values, statements, permissions, and those of a server in
/// trouble.
const CODES: [&str; 14] = [
    "P0001", "23514", "22000", "42P01", "42501", "0A000", "XX000", "57014", "53100", "40001",
    "08006", "25006", "55P03", "ZZ123",
];

/// A row of the source.
#[derive(Clone, Debug)]
struct Doc {
    key: u32,
    a: i64,
    b: String,
    c: i64,
    lang: &'static str,
    other: i64,
    state: &'static str,
    vector: [f32; 2],
    slug: Option<u32>,
    parent: Option<u32>,
}

impl Doc {
    fn random(rng: &mut Rng, keys: u32) -> Self {
        let rarely = |rng: &mut Rng| rng.u32(0..100) < 7;
        let vector = [rng.u32(0..4) as f32, if rarely(rng) { 9.0 } else { 1.0 }];
        Self {
            key: rng.u32(1..=keys),
            a: rng.i64(0..8),
            b: ["x", "y", "much too long"][rng.usize(0..3)].into(),
            c: if rarely(rng) { 70_000 } else { rng.i64(0..9) },
            lang: if rarely(rng) { "klingon" } else { "english" },
            other: rng.i64(1..=2) + if rarely(rng) { 7 } else { 0 },
            state: if rarely(rng) {
                CODES[rng.usize(0..CODES.len())]
            } else {
                ""
            },
            vector,
            slug: None,
            parent: None,
        }
    }

    /// Rows of different keys, each with a slug of its own: values move between rows, in chains and
    /// in circles, and rows refer to others before they come.
    fn set(rng: &mut Rng, set: Set, keys: u32, count: usize) -> Vec<Self> {
        let shuffled = |rng: &mut Rng| {
            let mut numbers: Vec<u32> = (1..=keys).collect();
            rng.shuffle(&mut numbers);
            numbers
        };
        let (numbers, slugs) = (shuffled(rng), shuffled(rng));
        let docs = numbers.iter().zip(slugs).take(count);
        docs.map(|(key, slug)| {
            let parent = rng.u32(1..=2 * keys);
            Self {
                key: *key,
                slug: (set == Set::Slugs && rng.u32(0..10) > 0).then_some(slug),
                // Most rows refer to none; some to a row that never comes.
                parent: (set == Set::Parents && (parent < *key || rng.u32(0..40) == 0))
                    .then_some(parent),
                ..Self::random(rng, keys)
            }
        })
        .collect()
    }

    fn encoded(&self) -> RowBuilder {
        let text = |row: RowBuilder, (name, number): (&str, Option<u32>)| match number {
            Some(number) => row.text(name, &number.to_string()),
            None => row,
        };
        let row = row(&self.key.to_string(), &self.vector);
        let set = [("slug", self.slug), ("parent", self.parent)];
        set.into_iter()
            .fold(row, text)
            .set("a", Kind::Integer(self.a))
            .text("b", &self.b)
            .set("c", Kind::Integer(self.c))
            .text("lang", self.lang)
            .set("other", Kind::Integer(self.other))
            .text("state", self.state)
    }

    /// Statements that write it, for the oracle.
    fn sql(&self, shape: &Shape) -> String {
        let Self {
            key,
            a,
            b,
            c,
            lang,
            other,
            state,
            vector: [x, y],
            slug,
            parent,
        } = self;
        let text = |number: &Option<u32>| match number {
            Some(number) => format!("'{number}'"),
            None => "null".into(),
        };
        let (slug, parent) = (text(slug), text(parent));
        let mut sql = format!(
            "insert into docs (id, a, b, c, lang, other, state, slug, parent)
             values ('{key}', {a}, '{b}', '{c}', '{lang}', {other}, '{state}', {slug}, {parent})
             on conflict (id) do update set (a, b, c, lang, other, state, slug, parent) = (excluded.a, excluded.b,
                 excluded.c, excluded.lang, excluded.other, excluded.state, excluded.slug, excluded.parent);"
        );
        if shape.vectors {
            write!(
                sql,
                "insert into vectors values ('{key}', '[{x},{y}]') on conflict (id) do update set vector = excluded.vector;"
            )
            .unwrap();
        }
        sql
    }
}

/// What makes rows depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Slugs,
    Parents,
}

/// Tables, and when their constraints speak up.
#[derive(Debug)]
struct Shape {
    vectors: bool,
    /// With unique values, or references, which `tables` has between marks.
    sets: Option<Set>,
    tables: String,
}

impl Shape {
    fn random(rng: &mut Rng) -> Self {
        let maybe = |rng: &mut Rng, text: &'static str| if rng.bool() { text } else { "" };
        let sets = [None, None, Some(Set::Slugs), Some(Set::Parents)][rng.usize(0..4)];
        let key = if sets.is_some() || rng.bool() {
            "text"
        } else {
            "int"
        };
        let mut tables = String::from(
            "create table others (id int primary key); insert into others values (1), (2);",
        );
        write!(
            tables,
            "create table docs (id {key} primary key, a int {}, b varchar({}) {}, c smallint, lang {}, other int {}, state text {},
                slug text @1 unique 1@, parent text @2 references docs{} 2@);",
            maybe(rng, "check (a <> 3)"),
            if rng.bool() { 9 } else { 20 },
            maybe(rng, "not null"),
            ["text", "regconfig", "regconfig, tsv tsvector generated always as (to_tsvector(lang, b)) stored"][rng.usize(0..3)],
            maybe(rng, "references others"),
            maybe(rng, "check (length(state) < 6)"),
            maybe(rng, " deferrable initially deferred"),
        )
        .unwrap();
        let raise = "create function raise_it() returns trigger language plpgsql as $$ begin
                if new.state <> '' then raise exception 'refused' using errcode = new.state; end if;
                return new; end $$;";
        tables.push_str(&[
            String::new(),
            format!("{raise} create trigger t before insert or update on docs for each row execute function raise_it();"),
            format!("{raise} create trigger t after insert or update on docs for each row execute function raise_it();"),
            format!("{raise} create constraint trigger t after insert or update on docs deferrable initially deferred
                for each row execute function raise_it();"),
        ][rng.usize(0..4)]);
        let vectors = rng.bool();
        if vectors {
            write!(
                tables,
                "create table vectors (id {key} primary key {}, vector vector(2) {});
                 insert into docs (id, a, b, c, lang, other, state) values ('0', 1, 'x', 1, 'english', 1, ''); insert into vectors values ('0', '[1,1]');",
                maybe(rng, "references docs deferrable initially deferred"),
                maybe(rng, "check (vector <-> '[0,0]' < 6)"),
            )
            .unwrap();
        } else {
            tables.push_str(
                "alter table docs add vector vector(2);
                 insert into docs (id, a, b, c, lang, other, state) values ('0', 1, 'x', 1, 'english', 1, '');",
            );
        }
        Self {
            vectors,
            sets,
            tables,
        }
    }

    fn names(&self) -> &'static [&'static str] {
        if self.vectors {
            &["docs", "vectors"]
        } else {
            &["docs"]
        }
    }

    fn content(&self) -> &'static str {
        if self.vectors {
            "select concat_ws('|', d.id, a, b, c, lang, other, state, slug, parent, vector) from docs d
             full join vectors v on v.id = d.id order by 1"
        } else {
            "select concat_ws('|', id, a, b, c, lang, other, state, slug, parent) from docs order by 1"
        }
    }
}

/// What all cases share.
struct Stage {
    home: Home,
    store: Store,
    source: Scripted,
    connection: PgConnection,
}

impl Stage {
    async fn new() -> Self {
        let home = Home::new().await;
        let source = Script::new(2, &FIELDS).serve();
        home.configure(&source.pipeline(&["docs"], ""));
        let config = Config::load(&home.path().join("forebay.toml")).unwrap();
        let url = config.database_url().unwrap();
        let store = Store::connect(&url, &config.sessions).await.unwrap();
        store.migrate().await.unwrap();
        let connection = home.database.pool.acquire().await.unwrap().detach();
        Self {
            home,
            store,
            source,
            connection,
        }
    }

    async fn execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql)
            .execute(&mut self.connection)
            .await
            .map(|_| ())
    }

    /// The content of the tables in a schema.
    async fn content(&mut self, schema: &str, shape: &Shape) -> Vec<String> {
        self.execute(&format!("set search_path = {schema}, public"))
            .await
            .unwrap();
        let query = sqlx::query_scalar(AssertSqlSafe(shape.content()));
        query.fetch_all(&mut self.connection).await.unwrap()
    }

    /// Writes rows one by one; true for each that is refused.
    async fn oracle(&mut self, schema: &str, shape: &Shape, docs: &[Doc]) -> Vec<bool> {
        self.execute(&format!("set search_path = {schema}, public"))
            .await
            .unwrap();
        let mut refused = Vec::new();
        for doc in docs {
            let sql = format!("begin; {}; commit", doc.sql(shape));
            refused.push(self.execute(&sql).await.is_err());
            if refused.ends_with(&[true]) {
                self.execute("rollback").await.unwrap();
            }
        }
        refused
    }

    /// Writes the largest set of rows that is right as a whole; true for each that is not in it.
    async fn oracle_of_sets(&mut self, schema: &str, shape: &Shape, docs: &[Doc]) -> Vec<bool> {
        self.execute(&format!("set search_path = {schema}, public"))
            .await
            .unwrap();
        let mut refused = HashSet::new();
        for doc in docs {
            let sql = format!("begin; {}; set constraints all immediate", doc.sql(shape));
            if self.execute(&sql).await.is_err() {
                refused.insert(doc.key);
            }
            self.execute("rollback").await.unwrap();
        }
        let there: Vec<(String, Option<String>)> = sqlx::query_as("select id, slug from docs")
            .fetch_all(&mut self.connection)
            .await
            .unwrap();
        let number = |text: &String| text.parse::<u32>().unwrap();
        let there: HashMap<u32, Option<u32>> = there
            .iter()
            .map(|(key, slug)| (number(key), slug.as_ref().map(number)))
            .collect();
        let wanted: HashMap<u32, Option<u32>> =
            docs.iter().map(|doc| (doc.key, doc.slug)).collect();
        loop {
            let comes = |key: &u32| wanted.contains_key(key) && !refused.contains(key);
            let is_right = |doc: &Doc| {
                let parent = doc.parent.is_none_or(|parent| {
                    parent == doc.key || there.contains_key(&parent) || comes(&parent)
                });
                // Whoever has the value now has to get another one.
                let is_free = doc.slug.is_none()
                    || there.iter().all(|(holder, slug)| {
                        *slug != doc.slug || *holder == doc.key || comes(holder)
                    });
                parent && is_free
            };
            let wrong: Vec<u32> = docs
                .iter()
                .filter(|doc| !refused.contains(&doc.key) && !is_right(doc))
                .map(|doc| doc.key)
                .collect();
            if wrong.is_empty() {
                break;
            }
            refused.extend(wrong);
        }
        for doc in docs.iter().filter(|doc| !refused.contains(&doc.key)) {
            self.execute(&doc.sql(shape)).await.unwrap();
        }
        docs.iter().map(|doc| refused.contains(&doc.key)).collect()
    }

    /// Runs the pipeline of a case to its end.
    async fn run(&mut self, schema: &str, shape: &Shape, more: &str) -> (Report, Option<String>) {
        let tables: Vec<String> = shape
            .names()
            .iter()
            .map(|name| format!("{schema}.{name}"))
            .collect();
        let tables: Vec<&str> = tables.iter().map(|name| &**name).collect();
        let pipeline = self
            .source
            .pipeline(&tables, more)
            .replace("pipelines.rows", &format!("pipelines.{schema}"));
        let config =
            Arc::new(Config::parse(Path::new("forebay.toml"), &pipeline, &|_| None).unwrap());
        let engine = Engine::new(config.plugins.limits, None).unwrap();
        let pass = Box::new(|_: &_| Ok(()));
        let nowhere = self.home.path().join("plugins");
        let directory = Directory::open(engine, &nowhere, &nowhere, pass).unwrap();
        let host = Host {
            config: Arc::clone(&config),
            store: self.store.clone(),
            plugins: PluginWatcher::new(directory),
        };
        let pipeline = Pipeline::prepare(&host, &config.pipelines[0])
            .await
            .unwrap();
        let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
        let ran = tokio::time::timeout(PATIENCE, pipeline.run(&progress, &stop, |_| ())).await;
        let (report, error) = ran.expect("it hangs").unwrap();
        (report, error.map(|error| error.to_string()))
    }

    async fn case(&mut self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let shape = Shape::random(&mut rng);
        let (ours, theirs) = (format!("ours_{seed}"), format!("theirs_{seed}"));
        for schema in [&ours, &theirs] {
            let chosen = match shape.sets.filter(|_| schema == &ours) {
                None => "0",
                Some(Set::Slugs) => "1",
                Some(Set::Parents) => "2",
            };
            let mut tables = shape.tables.clone();
            for mark in ["1", "2"] {
                let (open, close) = if mark == chosen {
                    ("", "")
                } else {
                    ("/*", "*/")
                };
                tables = tables.replace(&format!("@{mark}"), open);
                tables = tables.replace(&format!("{mark}@"), close);
            }
            let sql =
                format!("create schema {schema}; set search_path = {schema}, public; {tables}");
            self.execute(&sql).await.unwrap();
        }
        let more = format!("dead_letter_limit = \"100%\"\nwriters = {}", rng.u32(1..=3));
        // Keys that were ever refused, and those whose latest row was.
        let (mut ever, mut latest) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..rng.u32(1..=3) {
            let keys = rng.u32(3..60);
            let count = rng.usize(1..50);
            let docs: Vec<Doc> = match shape.sets {
                Some(set) => Doc::set(&mut rng, set, keys, count),
                None => (0..count).map(|_| Doc::random(&mut rng, keys)).collect(),
            };
            let mut script = Script::new(2, &FIELDS);
            let mut rest = &docs[..];
            while !rest.is_empty() {
                let (chunk, later) = rest.split_at(rng.usize(1..=rest.len().min(20)));
                script = script.chunk(chunk.iter().map(Doc::encoded));
                rest = later;
            }
            self.source.change(|_| script);
            let refused = match shape.sets {
                Some(_) => self.oracle_of_sets(&theirs, &shape, &docs).await,
                None => self.oracle(&theirs, &shape, &docs).await,
            };
            let (report, error) = self.run(&ours, &shape, &more).await;
            let what = format!("seed {seed}: {shape:#?}\n{docs:#?}\n{report:#?}");
            assert_eq!((report.status, error), (Status::Succeeded, None), "{what}");
            assert!(report.rows.balanced(), "{what}");
            assert_eq!(report.rows.received, docs.len() as u64, "{what}");
            assert_eq!(
                self.content(&ours, &shape).await,
                self.content(&theirs, &shape).await,
                "{what}"
            );
            let letters = refused.iter().filter(|refused| **refused).count();
            assert_eq!(report.rows.dead_lettered, letters as u64, "{what}");
            for (doc, refused) in docs.iter().zip(&refused) {
                let key = doc.key.to_string();
                latest.remove(&key);
                if *refused {
                    ever.insert(key.clone());
                    latest.insert(key);
                }
            }
            let letters = format!(
                "select distinct d.key from forebay.dead_letter d join forebay.pipeline p on p.id = d.pipeline
                 where p.name = '{ours}' and d.status = 'open'"
            );
            let letters: BTreeSet<String> = self
                .home
                .database
                .texts(&letters)
                .await
                .into_iter()
                .collect();
            assert!(letters.is_subset(&ever), "{letters:?} {ever:?} {what}");
            assert!(
                letters.is_superset(&latest),
                "{letters:?} {latest:?} {what}"
            );
        }
        self.frozen(&mut rng, &shape, &ours, &theirs, &more).await;
        self.execute(&format!(
            "drop schema {ours} cascade; drop schema {theirs} cascade"
        ))
        .await
        .unwrap();
    }

    /// A table that takes no row any more: nothing is charged to rows, and nothing is missing once
    /// it is mended.
    async fn frozen(&mut self, rng: &mut Rng, shape: &Shape, ours: &str, theirs: &str, more: &str) {
        let table = shape.names()[rng.usize(0..shape.names().len())];
        let code = CODES[rng.usize(0..CODES.len())];
        let when = ["before", "after"][rng.usize(0..2)];
        let freeze = format!(
            "set search_path = {ours}, public; create function freeze() returns trigger language plpgsql as
                 $$ begin raise exception 'frozen' using errcode = '{code}'; end $$;
             create trigger a {when} insert or update on {table} for each row execute function freeze()"
        );
        self.execute(&freeze).await.unwrap();
        let docs: Vec<Doc> = (100..100 + rng.u32(1..30))
            .map(|key| Doc {
                key,
                a: 1,
                c: 1,
                b: "x".into(),
                lang: "english",
                other: 1,
                state: "",
                vector: [1.0, 1.0],
                slug: None,
                parent: None,
            })
            .collect();
        let chunk = rng.usize(1..30);
        let script = docs
            .chunks(chunk)
            .fold(Script::new(2, &FIELDS), |script, docs| {
                script.chunk(docs.iter().map(Doc::encoded))
            });
        self.source.change(|_| script);
        let (report, error) = self.run(ours, shape, more).await;
        let what = format!("frozen {table} {when} {code}: {shape:#?}\n{report:#?}");
        assert_eq!(report.status, Status::Halted, "{error:?} {what}");
        assert!(error.unwrap().contains("refuses"), "{what}");
        assert_eq!(report.rows.dead_lettered, 0, "{what}");
        self.execute(&format!("drop trigger a on {ours}.{table}"))
            .await
            .unwrap();
        let (report, error) = self.run(ours, shape, more).await;
        assert_eq!((report.status, error), (Status::Succeeded, None), "{what}");
        assert_eq!(report.rows.inserted, docs.len() as u64, "{what}");
        assert!(!self.oracle(theirs, shape, &docs).await.contains(&true));
        assert_eq!(
            self.content(ours, shape).await,
            self.content(theirs, shape).await,
            "{what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_that_of_rows_written_one_by_one() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let runs = number("FOREBAY_FUZZ_RUNS").unwrap_or(RUNS);
    let first = number("FOREBAY_TEST_SEED").unwrap_or_else(|| fastrand::u64(0..1 << 40));
    println!("FOREBAY_TEST_SEED={first} FOREBAY_FUZZ_RUNS={runs}");
    let mut stage = Stage::new().await;
    for seed in first..first + runs {
        stage.case(seed).await;
    }
}
