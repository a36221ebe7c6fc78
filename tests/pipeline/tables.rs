//! Tables of every shape: keys of several columns, several embeddings, columns that the server
//! makes, names that need quotes.

use forebay::proto::FieldType;
use forebay::proto::value::Kind;
use support::{Home, RowBuilder, Script, row, tombstone};

const FIELDS: [(&str, FieldType); 4] = [
    ("tenant", FieldType::Text),
    ("number", FieldType::Integer),
    ("company", FieldType::Text),
    ("tags", FieldType::Texts),
];

fn posting(tenant: &str, number: i64) -> RowBuilder {
    row(&format!("{tenant}/{number}"), &[number as f32, 1.0])
        .text("tenant", tenant)
        .set("number", Kind::Integer(number))
        .text("company", "Acme")
}

#[tokio::test]
async fn a_key_of_several_columns_is_fed_by_fields() {
    let home = Home::new().await;
    home.database
        .execute(
            "create type tenant as enum ('north', 'south');
             create table posting (number bigint, tenant tenant, company text, primary key (tenant, number));
             create table posting_tag (number bigint, tenant tenant, tag text, primary key (tenant, tag, number),
                 foreign key (tenant, number) references posting (tenant, number));",
        )
        .await;
    let rows = |company: &str| {
        let rows = [("north", 1), ("south", 1), ("north", 2)];
        let rows = rows.map(|(tenant, number)| {
            posting(tenant, number)
                .text("company", company)
                .texts("tags", ["a", tenant])
        });
        Script::new(2, &FIELDS).chunk(rows)
    };
    let source = rows("Acme").serve();
    home.configure(&source.pipeline(&["posting_tag", "posting"], "rename = { tags = \"tag\" }"));
    assert_eq!(home.run().done()["rows"]["inserted"], 3);
    let found = "select format('%s %s %s %s', tenant, number, company,
            (select string_agg(tag, ' ' order by tag) from posting_tag t
                where (t.tenant, t.number) = (p.tenant, p.number)))
        from posting p order by tenant, number";
    assert_eq!(
        home.database.texts(found).await,
        [
            "north 1 Acme a north",
            "north 2 Acme a north",
            "south 1 Acme a south"
        ]
    );
    assert_eq!(home.run().done()["rows"]["unchanged"], 3);
    source.change(|_| rows("Bolt"));
    assert_eq!(home.run().done()["rows"]["updated"], 3);
    // A row that somebody deletes is found missing by all columns of its key.
    home.database
        .execute("delete from posting_tag where number = 2; delete from posting where number = 2")
        .await;
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 1, "{report:#}");
    assert_eq!(report["rows"]["unchanged"], 2, "{report:#}");
    let bolts = home.database.texts(found).await;
    assert_eq!(bolts[1], "north 2 Bolt a north");

    // Not even to be looked up by such keys is possible.
    source.change(|script| {
        let east = posting("east", 4);
        let none = posting("north", 5).without("number");
        script.chunk([posting("north", 3), east, none, posting("north", 1)])
    });
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 1, "{report:#}");
    assert_eq!(report["rows"]["updated"], 1, "{report:#}");
    let codes = "select key || ' ' || code from forebay.dead_letter order by 1";
    let refused = ["east/4 SQL_22P02", "north/5 SQL_23502"];
    assert_eq!(home.database.texts(codes).await, refused);

    // By their own keys alone rows cannot be found, so they cannot be deleted either.
    source.change(|script| script.chunk([tombstone("north/1")]));
    assert_eq!(home.run().done()["rows"]["deleted"], 0);
    let refused = [
        "east/4 SQL_22P02",
        "north/1 DELETE_KEY",
        "north/5 SQL_23502",
    ];
    assert_eq!(home.database.texts(codes).await, refused);
    home.configure(&source.pipeline(&["posting"], "missing = \"remove\""));
    let ended = home.run();
    ended.said("posting: its key is not the row's key alone");
    drop(ended.exit(2));
}

#[tokio::test]
async fn the_rows_key_feeds_the_column_of_a_key_that_no_field_does() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table posting (tenant text, id int, company text, primary key (tenant, id));
             create table embedding (tenant text, posting int, vector vector(2) not null,
                 primary key (posting, tenant), foreign key (tenant, posting) references posting);
             create table by_model (id int, tenant text, vector vector(2), primary key (id, tenant));",
        )
        .await;
    let rows = (1..=300).map(|key: i64| {
        let tenant = if key == 77 { "a tenant\0" } else { "north" };
        row(&key.to_string(), &[key as f32, 1.0]).text("tenant", tenant)
    });
    let source = Script::new(2, &FIELDS).chunk(rows).serve();
    home.configure(&source.pipeline(&["embedding", "by_model", "posting"], ""));
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 299, "{report:#}");
    let joined = "select count(*) from posting p join embedding e on (e.tenant, e.posting) = (p.tenant, p.id)
        join by_model m on (m.tenant, m.id) = (p.tenant, p.id) where m.vector = e.vector";
    assert_eq!(home.database.number(joined).await, 299);
    assert_eq!(home.run().done()["rows"]["unchanged"], 299);
}

#[tokio::test]
async fn several_embeddings_arrive_in_one_table_and_in_several() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table both_of (id uuid primary key, vector vector(2) not null, title halfvec(3) not null);
             create table titles (id uuid primary key references both_of, vector vector(3) not null);
             create table summaries (id uuid primary key references titles, vector vector(1) not null);",
        )
        .await;
    let key = "6f9619ff-8b86-d011-b42d-00cf4fc964ff";
    let rows = |title: &[f32]| {
        let row = row(key, &[1.0, 2.0]).vector("title", title);
        Script::new(2, &[])
            .embedding("title", 3)
            .embedding("summary", 1)
            .chunk([row.vector("summary", &[7.0])])
    };
    let source = rows(&[3.0, 4.0, 5.0]).serve();
    let tables = ["summaries", "titles", "both_of"];
    let rename = "rename = { summary = \"summaries.vector\" }";
    home.configure(&source.pipeline(&tables, rename));
    let refused = home.run();
    refused.said("titles.vector: has 3 dimensions, but the dataset's embedding has 2");
    drop(refused.exit(2));

    // The other embeddings have a column of their own name each.
    home.database
        .execute("alter table titles rename vector to title")
        .await;
    assert_eq!(home.run().done()["rows"]["inserted"], 1);
    let found = "select format('%s %s %s %s', b.vector, b.title, t.title, s.vector)
        from both_of b join titles t using (id) join summaries s using (id)";
    assert_eq!(
        home.database.texts(found).await,
        ["[1,2] [3,4,5] [3,4,5] [7]"]
    );
    source.change(|_| rows(&[3.0, 4.0, 6.0]));
    assert_eq!(home.run().done()["rows"]["updated"], 1);
    assert_eq!(
        home.database.texts(found).await,
        ["[1,2] [3,4,6] [3,4,6] [7]"]
    );
}

#[tokio::test]
async fn what_the_server_makes_is_left_to_it() {
    let home = Home::new().await;
    home.database
        .execute(
            "create table posting (
                 id bigint generated always as identity primary key,
                 external uuid not null unique,
                 place int generated by default as identity (start 100),
                 number int generated by default as identity,
                 company text,
                 loud text generated always as (upper(company)) stored,
                 quiet text generated always as (lower(company)) virtual,
                 tenant text default 'nobody',
                 vector vector(2) not null)",
        )
        .await;
    let key = |number: i64| format!("6f9619ff-8b86-d011-b42d-{number:012}");
    let rows = |company: &'static str| {
        let rows = (1..=2).map(move |number| {
            let row = row(&key(number), &[1.0, 2.0]).text("company", company);
            row.set("number", Kind::Integer(number * 7))
        });
        Script::new(2, &FIELDS[1..3]).chunk(rows)
    };
    let source = rows("Acme").serve();
    home.configure(&source.pipeline(&["posting"], ""));
    assert_eq!(home.run().done()["rows"]["inserted"], 2);
    source.change(|_| rows("Bolt"));
    assert_eq!(home.run().done()["rows"]["updated"], 2);
    let found = "select format('%s %s %s %s %s %s %s', id, right(external::text, 1), place, number, loud, quiet, tenant)
        from posting order by id";
    assert_eq!(
        home.database.texts(found).await,
        ["1 1 100 7 BOLT bolt nobody", "2 2 101 14 BOLT bolt nobody"]
    );
}

#[tokio::test]
async fn names_may_need_quotes() {
    let home = Home::new().await;
    home.database
        .execute(
            r#"create schema "Größe";
             create type "Größe"."Stand der ""Dinge""" as enum ('auf', 'zu');
             create table "Größe"."Straße 1.""b""" ("Id" text primary key, "Ort, ""neu""" text, "select" int,
                 "Stand" "Größe"."Stand der ""Dinge""", "ключ" text[], "Vektor" vector(2) not null,
                 "updated_AT" timestamptz);
             create table "Größe"."Tafel" ("Straße" text references "Größe"."Straße 1.""b""", "Wort's \ Ende" text,
                 primary key ("Straße", "Wort's \ Ende"));"#,
        )
        .await;
    let fields = [
        ("Ort, \"neu\"", FieldType::Text),
        ("select", FieldType::Integer),
        ("Stand", FieldType::Text),
        ("ключ", FieldType::Texts),
        ("Tafel", FieldType::Json),
    ];
    let make = |number: i64| {
        row("a'b\"c", &[1.0, 2.0])
            .text(fields[0].0, "Łódź")
            .set("select", Kind::Integer(number))
            .text("Stand", "zu")
            .texts("ключ", ["ü", ""])
            .json("Tafel", "[\"eins\", {\"Wort's \\\\ Ende\": \"zwei\"}, 3]")
    };
    let script = |number| Script::new(2, &fields).chunk([make(number)]);
    let source = script(1).serve();
    let tables = [r#""Größe"."Tafel""#, r#""Größe"."Straße 1.""b""""#];
    home.configure(&source.pipeline(&tables, "rename = { vector = \"Vektor\" }"));
    assert_eq!(home.run().done()["rows"]["inserted"], 1);
    source.change(|_| script(2));
    assert_eq!(home.run().done()["rows"]["updated"], 1);
    let found = r#"select format('%s %s %s %s %s %s', "Id", "Ort, ""neu""", "select", "Stand", "ключ", "Vektor")
        from "Größe"."Straße 1.""b""" union all select "Wort's \ Ende" from "Größe"."Tafel" order by 1"#;
    assert_eq!(
        home.database.texts(found).await,
        ["3", "a'b\"c Łódź 2 zu {ü,\"\"} [1,2]", "eins", "zwei"]
    );
}
