//! Values and counts are as the server has them: under any settings, beside triggers that swallow
//! rows, and with what other tools have written. What it refuses is said with its place.

use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use support::{Home, RowBuilder, Script, row};

/// The messages of the dead letters, by key.
async fn refusals(home: &Home) -> Vec<String> {
    let letters =
        "select format('%s %s [%s] %s', key, code, field, message) from forebay.dead_letter
        order by key::int";
    home.database.texts(letters).await
}

#[tokio::test]
async fn g_a_refusal_names_column_and_value() {
    let home = Home::new().await;
    home.database
        .execute(
            "create type mood as enum ('good', 'bad');
             create domain short as varchar(5) check (value <> 'none');
             create table items (id int primary key, code character(2), title text, amount numeric(4, 2),
                 mood mood, day interval, tags varchar(3)[], brief short, at timestamptz,
                 needed int not null check (needed <> 13), vector vector(2) not null);
             create table item_label (id int references items, label varchar(4), primary key (id, label));
             create function unlucky() returns trigger language plpgsql as
                 $$ begin if new.title = 'unlucky' then raise exception 'no luck'; end if;
                 if new.title = 'zero' then new.needed := 1 / 0; end if; return new; end $$;
             create trigger unlucky before insert or update on items for each row execute function unlucky();",
        )
        .await;
    let fields = [
        ("code", FieldType::Text),
        ("title", FieldType::Text),
        ("amount", FieldType::Real),
        ("mood", FieldType::Text),
        ("day", FieldType::Text),
        ("tags", FieldType::Texts),
        ("brief", FieldType::Text),
        ("at", FieldType::Timestamp),
        ("needed", FieldType::Integer),
        ("labels", FieldType::Texts),
    ];
    let good = |key: i64| {
        let row = row(&key.to_string(), &[key as f32, 1.0]);
        row.set("needed", Kind::Integer(1)).text("code", "ab")
    };
    let early = prost_types::Timestamp {
        seconds: -300_000_000_000,
        nanos: 0,
    };
    let rows = |title: &str| {
        [
            good(1).text("code", "abc"),
            good(2).text("title", "a\0b"),
            good(3).set("amount", Kind::Real(12_345.0)),
            good(4).text("mood", "middling"),
            good(5).text("day", "soon"),
            good(6).texts("tags", ["abc", "abcd"]),
            good(7).text("brief", "none"),
            good(8).set("at", Kind::Timestamp(early)),
            good(9).without("needed"),
            good(10).set("needed", Kind::Integer(13)),
            good(11).texts("labels", ["one", "seven"]),
            good(12).text("title", "unlucky"),
            good(13).text("title", "zero"),
            good(14).text("title", title),
        ]
    };
    let source = Script::new(2, &fields).chunk(rows("new")).serve();
    let more = "rename = { labels = \"item_label.label\" }\ndead_letter_limit = \"100%\"";
    home.configure(&source.pipeline(&["items", "item_label"], more));
    assert_eq!(home.run().done()["rows"]["inserted"], 1);
    insta::assert_snapshot!(refusals(&home).await.join("\n"), @r#"
    1 SQL_22001 [code] items.code: value too long for type character(2); received "abc"
    2 SQL_22021 [title] `title` cannot hold a NUL, and its text has one at byte 1
    3 SQL_22003 [amount] items.amount: numeric field overflow: A field with precision 4, scale 2 must round to an absolute value less than 10^2.; received "12345"
    4 SQL_22P02 [mood] items.mood: invalid input value for enum mood: "middling"
    5 SQL_22007 [day] items.day: invalid input syntax for type interval: "soon"
    6 SQL_22001 [tags] items.tags: value too long for type character varying(3); received "{\"abc\",\"abcd\"}"
    7 SQL_23514 [brief] items.brief: value for domain short violates check constraint "short_check"; received "none"
    8 SQL_22008 [at] `at` cannot hold a time -300000000000 s from 1970: the server's are from 4714 BC to 294276
    9 SQL_23502 [needed] null value in column "needed" of relation "items" violates not-null constraint: Failing row contains (9, ab, null, null, null, null, null, null, null, null, [9,1]).
    10 SQL_23514 [items_needed_check] new row for relation "items" violates check constraint "items_needed_check": Failing row contains (10, ab, null, null, null, null, null, null, null, 13, [10,1]).
    11 SQL_22001 [label] item_label.label: value too long for type character varying(4); received "seven"
    12 SQL_P0001 [] no luck
    13 SQL_22012 [] division by zero (in PL/pgSQL function unlucky() line 2 at assignment)
    "#);
}

#[tokio::test]
async fn g_an_error_of_the_server_is_said_with_its_sqlstate() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, vector vector(2));
             create schema forebay; create table forebay.migration (nothing int)",
        )
        .await;
    let source = Script::new(2, &[]).chunk([row("1", &[1.0, 2.0])]).serve();
    home.configure(&source.pipeline(&["items"], ""));
    let ended = home.run();
    ended.said("column \"version\" does not exist (SQLSTATE 42703)");
    assert!(!ended.log.contains(" at line "), "{}", ended.log);
    drop(ended.exit(1));
}

/// Columns that make the server cast texts, so that rows are inserted and not copied.
const WAYS: [&str; 2] = ["", ", day interval"];

/// Fields for the tables of these tests.
const FIELDS: [(&str, FieldType); 4] = [
    ("title", FieldType::Text),
    ("price", FieldType::Real),
    ("day", FieldType::Text),
    ("labels", FieldType::Texts),
];

/// Rows with the keys 1 to 100 in two chunks of 50.
fn hundred(title: &str, labels: [&'static str; 2]) -> Script {
    let make = |key: i64| {
        row(&key.to_string(), &[key as f32, 1.0])
            .text("title", &format!("{title} {key}"))
            .set("price", Kind::Real(12.25))
            .text("day", "1 day")
            .texts("labels", labels)
    };
    let script = Script::new(2, &FIELDS);
    script.chunk((1..=50).map(make)).chunk((51..=100).map(make))
}

const IN_FIFTIES: &str = "plugins = []";

#[tokio::test]
async fn c4_a_known_row_that_changes_takes_no_number_and_fires_no_trigger_of_inserts() {
    for way in WAYS {
        let home = Home::new().await;
        home.database
            .execute(&format!(
                "create table items (id int primary key, number bigint generated by default as identity,
                     counted bigserial, title text, price numeric(6, 2), vector vector(2){way});
                 create table label (item int references items, label text,
                     number int generated by default as identity, primary key (item, label));
                 create table fired (what text);
                 create function fire() returns trigger language plpgsql as
                     $$ begin insert into fired values (tg_table_name || ' ' || tg_op); return new; end $$;
                 create trigger fire before insert or update on items for each row execute function fire();
                 create trigger fire before insert or update on label for each row execute function fire();"
            ))
            .await;
        let source = hundred("old", ["a", "b"]).serve();
        let rename = "rename = { labels = \"label.label\" }";
        home.configure(&source.pipeline_with(&["items", "label"], IN_FIFTIES, 50, rename));
        assert_eq!(home.run().done()["rows"]["inserted"], 100);
        home.database.execute("truncate fired").await;
        source.change(|_| hundred("new", ["b", "c"]));
        let report = home.run().done();
        assert_eq!(report["rows"]["updated"], 100, "{report:#}");
        let numbers = "select format('%s %s %s', max(number), max(counted), count(*)) from items
            where title = 'new ' || id
            union all select format('%s %s', max(number), count(*)) from label
            union all select format('next %s %s %s', nextval('items_number_seq'), nextval('items_counted_seq'),
                nextval('label_number_seq'))";
        let expected = ["100 100 100", "300 200", "next 101 101 301"];
        assert_eq!(home.database.texts(numbers).await, expected, "{way}");
        let fired = "select what || ' ' || count(*) from fired group by what order by 1";
        let expected = ["items UPDATE 100", "label INSERT 100"];
        assert_eq!(home.database.texts(fired).await, expected, "{way}");
        assert_eq!(home.run().done()["rows"]["unchanged"], 100);
    }
}

#[tokio::test]
async fn e7_rows_that_another_tool_loaded_are_adopted_where_they_are_equal() {
    let home = Home::new().await;
    home.database
        .execute(
            "create extension citext;
             create table items (id int primary key, title citext, price numeric(6, 2), code char(3), at timestamptz,
                 extra jsonb, raw json, place point, tags text[], day interval(0), half halfvec(2),
                 updated_at timestamptz not null default '2001-01-01 00:00Z');
             create table vectors (id int primary key references items, vector vector(2) not null,
                 number int generated by default as identity);
             create table label (item int references items, label text, position int, primary key (item, label));
             insert into items select n, 'Title ' || n, 12.25, 'ab', '2009-02-13 23:31:30Z', '{\"b\": 2, \"a\": [1.0]}',
                 '{\"b\":1}', '(1,2)', '{x,y}', '26 hours', '[0.1,1]' from generate_series(1, 100) n;
             insert into vectors select n, format('[%s,1]', n)::vector from generate_series(1, 100) n;
             insert into label select n, label, place from generate_series(1, 100) n,
                 unnest(array['a', 'b']) with ordinality l(label, place);",
        )
        .await;
    let fields = [
        ("title", FieldType::Text),
        ("price", FieldType::Real),
        ("code", FieldType::Text),
        ("at", FieldType::Timestamp),
        ("extra", FieldType::Json),
        ("raw", FieldType::Json),
        ("place", FieldType::Text),
        ("tags", FieldType::Texts),
        ("day", FieldType::Text),
        ("labels", FieldType::Texts),
    ];
    let at = prost_types::Timestamp {
        seconds: 1_234_567_890,
        nanos: 0,
    };
    let make = |key: i64| {
        row(&key.to_string(), &[key as f32, 1.0])
            .vector("half", &[0.1, 1.0])
            .text("title", &format!("Title {key}"))
            .set("price", Kind::Real(12.2499))
            .text("code", "ab")
            .set("at", Kind::Timestamp(at))
            .json("extra", r#"{"a": [1], "b": 2}"#)
            .json("raw", r#"{"b":1}"#)
            .text("place", "1, 2")
            .texts("tags", ["x", "y"])
            .text("day", "1 day 2 hours -24 hours +24:00:00.3")
            .texts("labels", ["a", "b"])
    };
    let make = |key: i64| match key {
        1..=90 => make(key).text("day", "26:00:00.3"),
        91 => make(key).text("day", "26:00:01"),
        92 => make(key).text("day", "26:00:00").text("title", "TITLE 92"),
        93 => make(key)
            .text("day", "26:00:00")
            .texts("labels", ["a", "c"]),
        94 => row(&key.to_string(), &[0.0, 1.0])
            .vector("half", &[0.1, 1.0])
            .text("title", "Title 94"),
        _ => make(key).text("day", "26:00:00").text("code", "ab "),
    };
    let script = Script::new(2, &fields).embedding("half", 2);
    let source = script.chunk((1..=100).map(make)).serve();
    let more = "rename = { labels = \"label.label\" }
        notify = { grpc = \"http://127.0.0.1:9\", target = \"rows\" }
        missing = \"remove\"";
    home.configure(&source.pipeline(&["items", "label", "vectors"], more));
    let versions = "select max(t.xmin::text::bigint) from (select id, xmin from items union all
        select id, xmin from vectors union all select item, xmin from label) t where id not between 91 and 94";
    let before = home.database.number(versions).await;
    let report = home.run();
    let report = &report.report;
    assert_eq!(report["rows"]["unchanged"], 96, "{report:#}");
    assert_eq!(report["rows"]["updated"], 4, "{report:#}");
    assert_eq!(home.database.number(versions).await, before);
    let announced = "select sum(changed_rows)::bigint from forebay.outbox";
    assert_eq!(home.database.number(announced).await, 4);
    let touched = "select count(*) from items where updated_at > '2001-01-01 00:00Z'";
    assert_eq!(home.database.number(touched).await, 3);
    let numbers = "select nextval('vectors_number_seq')";
    assert_eq!(home.database.number(numbers).await, 101);
    let digests = "select count(*) from forebay.row_digest";
    assert_eq!(home.database.number(digests).await, 100);
}

/// A trigger of `items` that returns null where the condition holds.
fn swallow(when: &str, condition: &str) -> String {
    format!(
        "create or replace function swallow() returns trigger language plpgsql as
             $$ begin if {condition} then return null; end if; return new; end $$;
         drop trigger if exists swallow on items;
         create trigger swallow before {when} on items for each row execute function swallow();"
    )
}

#[tokio::test]
async fn c2_a_row_that_a_trigger_swallows_is_said_and_not_counted_as_inserted() {
    for way in WAYS {
        let home = Home::new().await;
        let tables = format!(
            "create table items (id int primary key, title text{way});
             create table vectors (id int primary key references items, vector vector(2));"
        );
        home.database.execute(&tables).await;
        let trigger = swallow("insert", "new.id % 10 = 0");
        home.database.execute(&trigger).await;
        let source = hundred("old", ["a", "b"]).serve();
        home.configure(&source.pipeline_with(&["items", "vectors"], IN_FIFTIES, 50, ""));
        let fates = |report: &serde_json::Value| {
            let fates = [
                "inserted",
                "updated",
                "unchanged",
                "dropped",
                "dead_lettered",
            ];
            fates.map(|fate| report["rows"][fate].as_i64().unwrap())
        };
        let report = home.run().done();
        assert_eq!(fates(&report), [90, 0, 0, 10, 0], "{report:#}");
        assert_eq!(report["codes"][0]["code"], "SWALLOWED", "{report:#}");
        for table in ["items", "vectors"] {
            let count = format!("select count(*) from {table}");
            assert_eq!(home.database.number(&count).await, 90);
        }
        assert_eq!(fates(&home.run().done()), [0, 0, 90, 10, 0]);

        // An update that is swallowed leaves the row as it is, and is tried again.
        let trigger = swallow("insert or update", "new.id % 5 = 0");
        home.database.execute(&trigger).await;
        source.change(|_| hundred("new", ["a", "b"]));
        assert_eq!(fates(&home.run().done()), [0, 80, 0, 20, 0]);
        let old = "select count(*) from items where starts_with(title, 'old')";
        assert_eq!(home.database.number(old).await, 10);
        assert_eq!(fates(&home.run().done()), [0, 0, 80, 20, 0]);
        // A value that a trigger changes is not swallowed.
        let trigger = swallow("insert or update", "false")
            .replace("return new", "new.title := upper(new.title); return new");
        home.database.execute(&trigger).await;
        assert_eq!(fates(&home.run().done()), [10, 10, 80, 0, 0]);
        assert_eq!(fates(&home.run().done()), [0, 0, 100, 0, 0]);
    }
}

#[tokio::test]
async fn c2_a_partition_or_a_later_table_may_swallow_as_well() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table items (id int primary key, title text) partition by range (id);
             create table low partition of items for values from (1) to (51);
             create table high partition of items for values from (51) to (101);
             create table vectors (id int primary key references items, vector vector(2));
             create table label (item int references items, label text, primary key (item, label));
             create function swallow() returns trigger language plpgsql as $$ begin return null; end $$;
             create trigger swallow before insert on high for each row when (new.id > 98) execute function swallow();
             create trigger swallow before insert on vectors for each row when (new.id < 4) execute function swallow();
             create trigger swallow before insert on label for each row when (new.item = 7) execute function swallow();",
        )
        .await;
    let source = hundred("old", ["a", "b"]).serve();
    let rename = "rename = { labels = \"label.label\" }";
    let tables = ["items", "vectors", "label"];
    home.configure(&source.pipeline_with(&tables, IN_FIFTIES, 50, rename));
    for fate in ["inserted", "unchanged"] {
        let report = home.run().done();
        assert_eq!(report["rows"][fate], 94, "{report:#}");
        assert_eq!(report["codes"][0]["code"], "SWALLOWED", "{report:#}");
        assert_eq!(report["codes"][0]["rows"], 6, "{report:#}");
    }
    let labels = "select count(*) from label where item <> 7";
    assert_eq!(home.database.number(labels).await, 2 * 94);
}

#[tokio::test]
async fn c2_a_row_whose_key_a_trigger_changes_is_refused() {
    for way in WAYS {
        let home = Home::new().await;
        home.database
            .execute(&format!(
                "create table items (id int primary key, title text, vector vector(2){way});
                 create function move() returns trigger language plpgsql as
                     $$ begin new.id := new.id + 1000; return new; end $$;
                 create trigger move before insert on items for each row when (new.id = 77) execute function move();"
            ))
            .await;
        let source = hundred("old", ["a", "b"]).serve();
        home.configure(&source.pipeline_with(&["items"], IN_FIFTIES, 50, ""));
        for fate in ["inserted", "unchanged"] {
            let report = home.run().done();
            assert_eq!(report["rows"][fate], 99, "{report:#}");
            assert_eq!(report["rows"]["dead_lettered"], 1, "{report:#}");
        }
        let letters = refusals(&home).await;
        assert!(
            letters[0].contains("does a trigger change the key?"),
            "{letters:?}"
        );
        assert_eq!(
            home.database
                .number("select max(id)::bigint from items")
                .await,
            100
        );
    }
}

#[tokio::test]
async fn e3_types_of_extensions_that_are_not_on_the_search_path() {
    let home = Home::new().await;
    home.database
        .execute(
            "drop extension vector;
             create schema extensions;
             create extension vector schema extensions; create extension citext schema extensions;
             create extension hstore schema extensions;
             create table items (id text, tenant extensions.citext, half extensions.halfvec(2),
                 vector extensions.vector(2) not null, primary key (tenant, id));
             create index on items using hnsw (vector extensions.vector_l2_ops);
             create table casts (id text, tenant extensions.citext, pairs extensions.hstore,
                 sparse extensions.sparsevec(3), vector extensions.vector(2), primary key (id, tenant));
             create table label (tenant extensions.citext, item text, label extensions.citext,
                 number extensions.citext[], primary key (tenant, item, label),
                 foreign key (tenant, item) references items (tenant, id));",
        )
        .await;
    let fields = ["tenant", "pairs", "sparse"].map(|name| (name, FieldType::Text));
    let fields = [&fields[..], &[("labels", FieldType::Texts)]].concat();
    let rows = |second: f32, labels: [&'static str; 2]| {
        let make = move |key: i64| {
            row(&key.to_string(), &[key as f32, second])
                .vector("half", &[second, 0.5])
                .text("tenant", if key % 2 == 0 { "North" } else { "south" })
                .text("pairs", &format!("a=>{second}"))
                .text("sparse", "{2:1.5}/3")
                .texts("labels", labels)
        };
        let script = Script::new(2, &fields).embedding("half", 2);
        script.chunk((1..=50).map(make)).chunk((51..=100).map(make))
    };
    let source = rows(1.0, ["a", "b"]).serve();
    let more = "rename = { labels = \"label.label\" }
        index = \"defer\"";
    let tables = ["items", "casts", "label"];
    home.configure(&source.pipeline_with(&tables, IN_FIFTIES, 50, more));
    assert_eq!(home.run().done()["rows"]["inserted"], 100);
    source.change(|_| rows(2.0, ["b", "c"]));
    assert_eq!(home.run().done()["rows"]["updated"], 100);
    let found = "select distinct format('%s %s %s %s', i.half, c.pairs, c.vector operator(extensions.=) i.vector,
            (select string_agg(label::text, ' ' order by label::text) from label l
                where l.tenant::text = i.tenant::text and l.item = i.id))
        from items i join casts c on c.id = i.id and c.tenant::text = i.tenant::text";
    let expected = [r#"[2,0.5] "a"=>"2" t b c"#];
    assert_eq!(home.database.texts(found).await, expected);
    assert_eq!(home.run().done()["rows"]["unchanged"], 100);
    home.start_command(&["check"], "").wait().exit(0);
    home.start_command(&["verify", "rows"], "").wait().exit(0);
    // Rows without a digest are compared with what is there.
    home.database
        .execute("delete from forebay.row_digest")
        .await;
    assert_eq!(home.run().done()["rows"]["unchanged"], 100);
}

#[tokio::test]
async fn c1_no_setting_of_database_or_role_changes_a_value() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table plain (id int primary key, price money, prices money[], span interval, spans interval[],
                 zoned tstzrange, at timestamp, stamped timestamp not null, days daterange, place point,
                 raw bytea, tags text[], real real, seen_on date);
             create table item (plain int references plain, fee money, note text, primary key (plain, fee));
             create table backslash (id int primary key references plain, \"a\\b'c\" text[]);
             do $$
             declare setting text;
             begin
                 foreach setting in array array['datestyle = \"SQL, DMY\"', 'timezone = \"Asia/Seoul\"',
                     'intervalstyle = sql_standard', 'bytea_output = escape', 'extra_float_digits = -15',
                     'standard_conforming_strings = off', 'backslash_quote = off', 'array_nulls = off',
                     'xmloption = document', 'xmlbinary = hex', 'quote_all_identifiers = on', 'lc_numeric = \"C\"',
                     'escape_string_warning = on', 'lc_monetary = \"de_DE.UTF-8\"'] loop
                     begin
                         execute format('set %s', setting);
                         execute format('alter database %I set %s', current_database(), setting);
                     exception when invalid_parameter_value then null;
                     end;
                 end loop;
             end $$;",
        )
        .await;
    let fields = [
        ("price", FieldType::Real),
        ("prices", FieldType::Texts),
        ("span", FieldType::Text),
        ("spans", FieldType::Texts),
        ("zoned", FieldType::Text),
        ("at", FieldType::Timestamp),
        ("days", FieldType::Text),
        ("place", FieldType::Text),
        ("raw", FieldType::Binary),
        ("tags", FieldType::Text),
        ("real", FieldType::Real),
        ("seen_on", FieldType::Timestamp),
        ("items", FieldType::Json),
        ("a\\b'c", FieldType::Texts),
    ];
    let at = prost_types::Timestamp {
        seconds: 1_234_567_890,
        nanos: 0,
    };
    let make = |key: i64, place: &str| {
        row(&key.to_string(), &[1.0])
            .set("price", Kind::Real(1.25))
            .texts("prices", ["1.25", "-1234.5"])
            .text("span", "-1 day 2 hours")
            .texts("spans", ["1 day", "-1 2:03"])
            .text("zoned", "[2009-02-03 23:31:30,)")
            .set("at", Kind::Timestamp(at))
            .text("days", "[02/03/2009,2009-02-04)")
            .text("place", place)
            .set("raw", Kind::Binary(bytes::Bytes::from_static(b"\0\\'\xff")))
            .text("tags", r#"{a,NULL,"\\'"}"#)
            .set("real", Kind::Real(0.1))
            .set("seen_on", Kind::Timestamp(at))
            .json(
                "items",
                r#"[{"fee": 1.25, "note": "it's \\"}, {"fee": "2.5"}]"#,
            )
            .texts("a\\b'c", ["x\\'y"])
    };
    let script = |place: &str| Script::new(1, &fields).chunk([make(1, place), make(2, place)]);
    let source = script("0.1,1").serve();
    let tables = ["plain", "item", "backslash"];
    home.configure(&source.pipeline(&tables, "rename = { items = \"item\" }"));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 2, "{report:#}");
    // A difference that output with few digits does not show.
    source.change(|_| script("0.10000000000000001,1.0000000000000002"));
    assert_eq!(home.run().done()["rows"]["updated"], 2);
    let connection = "set datestyle to 'ISO, MDY'; set timezone to 'UTC'; set intervalstyle to postgres;
        set extra_float_digits to 1; set bytea_output to hex; set standard_conforming_strings to on;";
    let mut transaction = home.database.hold(connection).await;
    let found: Vec<String> = sqlx::query_scalar(
        r#"select format('%s %s | %s %s | %s %s %s | %s | %s %s | %s %s | %s | %s', price::numeric, prices::numeric[],
             span, spans, zoned, at, days, place, raw, tags, real, seen_on,
             (select string_agg(fee::numeric || ' ' || coalesce(note, '-'), ' ' order by fee) from item where plain = p.id),
             b."a\b'c")
           from plain p join backslash b using (id) where now() at time zone 'UTC' - stamped between '0' and '1 hour'
           group by p.id, b.id"#,
    )
    .fetch_all(&mut *transaction)
    .await
    .unwrap();
    insta::assert_snapshot!(found.join("\n"), @r#"
    1.25 {1.25,-1234.50} | -1 days +02:00:00 {"1 day","-1 days +02:03:00"} | ["2009-02-03 23:31:30+00",) 2009-02-13 23:31:30 [2009-02-03,2009-02-04) | (0.1,1.0000000000000002) | \x005c27ff {a,NULL,"\\'"} | 0.1 2009-02-13 | 1.25 it's \ 2.50 - | {"x\\'y"}
    1.25 {1.25,-1234.50} | -1 days +02:00:00 {"1 day","-1 days +02:03:00"} | ["2009-02-03 23:31:30+00",) 2009-02-13 23:31:30 [2009-02-03,2009-02-04) | (0.1,1.0000000000000002) | \x005c27ff {a,NULL,"\\'"} | 0.1 2009-02-13 | 1.25 it's \ 2.50 - | {"x\\'y"}
    "#);
    drop(transaction);
    assert_eq!(home.run().done()["rows"]["unchanged"], 2);
}

#[tokio::test]
async fn e5_what_is_left_out_is_null_or_the_default() {
    for way in WAYS {
        let home = Home::new().await;
        home.database
            .execute(&format!(
                "create domain level as int default 3;
                 create table items (id int primary key, status text not null default 'new', amount int default 7,
                     number int generated by default as identity (start 50), level level, note text,
                     vector vector(2), half halfvec(2){way});
                 create table needed (id int primary key references items, vector vector(2) not null)"
            ))
            .await;
        let fields = [
            ("status", FieldType::Text),
            ("amount", FieldType::Integer),
            ("number", FieldType::Integer),
            ("level", FieldType::Integer),
            ("note", FieldType::Text),
            ("day", FieldType::Text),
        ];
        let script = |rows: [RowBuilder; 3]| {
            let script = Script::new(2, &fields).embedding("half", 2);
            script.embedding("other", 3).chunk(rows)
        };
        let full = || {
            row("1", &[1.0, 1.0])
                .vector("half", &[0.5, 2.0])
                .vector("other", &[1.0, 2.0, 3.0])
                .text("status", "x")
                .set("amount", Kind::Integer(1))
                .set("number", Kind::Integer(9))
                .set("level", Kind::Integer(4))
                .text("note", "n")
        };
        let bare = |key: &str| row(key, &[]).without_embedding("vector");
        let source = script([
            full(),
            bare("2"),
            bare("3")
                .null("amount")
                .null("level")
                .vector("other", &[f32::NAN]),
        ])
        .serve();
        home.configure(&source.pipeline(&["items"], ""));
        let report = home.run().done();
        assert_eq!(report["rows"]["inserted"], 3, "{report:#}");
        let found = "select format('%s %s %s %s %s %s %s %s', id, status, amount, number, level, note, vector, half)
            from items order by id";
        let first = [
            "1 x 1 9 4 n [1,1] [0.5,2]",
            "2 new 7 50 3   ",
            "3 new  51    ",
        ];
        assert_eq!(home.database.texts(found).await, first, "{way}");
        assert_eq!(home.run().done()["rows"]["unchanged"], 3);

        // A known row keeps what it has where a field is left out, and gets null where null is sent.
        source.change(|_| {
            let kept = full().without("status").without("number").text("note", "m");
            let nulled = bare("2").null("amount").set("number", Kind::Integer(8));
            script([kept, nulled, bare("3")])
        });
        let report = home.run().done();
        assert_eq!(report["rows"]["updated"], 2, "{report:#}");
        assert_eq!(report["rows"]["unchanged"], 1, "{report:#}");
        let second = [
            "1 x 1 9 4 m [1,1] [0.5,2]",
            "2 new  8 3   ",
            "3 new  51    ",
        ];
        assert_eq!(home.database.texts(found).await, second, "{way}");
        home.start_command(&["verify", "rows"], "").wait().exit(0);

        // A table that needs the embedding makes it needed.
        home.configure(&source.pipeline(&["items", "needed"], ""));
        let report = home.run().done();
        assert_eq!(
            report["codes"][0]["code"], "EMBEDDING_MISSING",
            "{report:#}"
        );
        assert_eq!(report["rows"]["dead_lettered"], 2, "{report:#}");
    }
}
