//! By which column rows are found, in tables whose server makes the primary key.

use super::*;
use crate::config::KeyChoice;
use crate::route::NearKey;

/// A table with these keys beside the primary one, which is its first column. A name with `?` may
/// be null, one with `!` is deferrable.
fn with_keys(name: &str, columns: &[(&str, &str)], keys: &[&str]) -> Table {
    let mut table = table(name, columns, &[]);
    for key in keys {
        let columns: Vec<String> = key
            .split(' ')
            .map(|name| name.replace(['?', '!'], ""))
            .collect();
        if key.contains(['?', '!']) {
            let nullable = key.split(' ').filter(|name| name.contains('?'));
            let nullable = nullable.map(|name| name.replace('?', "")).collect();
            table.near_keys.push(NearKey { columns, nullable });
        } else {
            table.unique_keys.push(columns);
        }
    }
    table
}

fn bound_by(tables: &[Table], key: &KeyChoice) -> String {
    let bound = bind(Binding {
        schema: &schema(),
        names: &tables.iter().map(|it| it.name.clone()).collect::<Vec<_>>(),
        tables: &tables.iter().cloned().map(Some).collect::<Vec<_>>(),
        rename: &Default::default(),
        key,
        meant: &Default::default(),
        transforms: false,
        key_is_apart: false,
    });
    match bound {
        Ok(targets) => {
            let keys = targets.tables.iter().map(|target| {
                let key: Vec<_> = target
                    .key
                    .iter()
                    .map(|it| it.column.name.as_str())
                    .collect();
                format!("{} by {}", target.table.name, key.join(", "))
            });
            keys.collect::<Vec<_>>().join("; ")
        }
        Err(misfits) => {
            let told = misfits
                .iter()
                .map(|it| format!("{}: {}\n  hint: {}", it.place, it.message, it.hint));
            told.collect::<Vec<_>>().join("\n")
        }
    }
}

fn column_of(key: &str) -> KeyChoice {
    KeyChoice::Column(key.into())
}

#[test]
fn a_key_is_found_where_only_one_is_possible_and_refused_otherwise() {
    let made = ("id", "int8 not null default");
    let always = ("id", "int8 not null generated");
    let outer = ("ext", "text not null");
    let other = ("code", "text not null");
    let company = ("company", "text not null");
    let public = ("public", "uuid not null default");
    let mut told = String::new();
    let mut tell = |columns: &[(&str, &str)], keys: &[&str]| {
        let bound = bound_by(&[with_keys("docs", columns, keys)], &KeyChoice::Found);
        let columns: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        told += &format!("{} | {}: {bound}\n", columns.join(" "), keys.join(", "));
    };
    tell(&[made], &[]);
    tell(&[made, outer], &["ext"]);
    tell(&[always, outer], &["ext"]);
    tell(&[("id", "int8 not null"), outer], &[]);
    tell(&[made, public], &["public"]);
    // Only the row's key can feed `ext`.
    tell(&[made, public, outer], &["public", "ext"]);
    tell(&[made, company, outer], &["company", "ext"]);
    tell(&[made, ("ext", "text")], &["ext?"]);
    tell(&[made, outer, ("old", "text")], &["ext", "old?"]);
    tell(&[made, company], &["company"]);
    tell(&[made, outer, other], &["ext", "code"]);
    tell(&[always, outer, other], &["ext", "code"]);
    tell(&[always, ("ext", "text")], &["ext?"]);
    tell(&[made, company, ("ext", "text")], &["company ext?"]);
    assert_snapshot!(told, @r#"
    id | : docs by id
    id ext | ext: docs by ext
    id ext | ext: docs by ext
    id ext | : docs.ext: is NOT NULL, but nothing feeds it
      hint: map a field to it with `rename`, or give it a default
    id public | public: docs by public
    id public ext | public, ext: docs by ext
    id company ext | company, ext: docs by ext
    id ext | ext?: docs: the server makes its primary key `id`; `ext` is unique, but may be null: it is not clear by which the source's rows are found
      hint: write in the pipeline key = "ext" after `alter table public.docs alter column "ext" set not null`, or key = "id" if the source's keys are the values of id
    id ext old | ext, old?: docs by ext
    id company | company: docs: the server makes its primary key `id`; `company` is unique: it is not clear by which the source's rows are found
      hint: write in the pipeline key = "company", or key = "id" if the source's keys are the values of id
    id ext code | ext, code: docs: the server makes its primary key `id`; `ext` is unique; `code` is unique: it is not clear by which the source's rows are found
      hint: write in the pipeline key = "ext", or key = "code", or key = "id" if the source's keys are the values of id
    id ext code | ext, code: docs: has several unique keys, and no primary key that can be fed
      hint: choose one in the pipeline: key = "ext", or key = "code"
    id ext | ext?: docs: its primary key is generated always, and it has no other key
      hint: choose one in the pipeline: key = "ext" after `alter table public.docs alter column "ext" set not null`
    id company ext | company ext?: docs by id
    "#);
}

#[test]
fn a_key_that_is_chosen_finds_rows_or_says_what_is_missing() {
    let columns = [
        ("id", "int8 not null default"),
        ("ext", "text not null"),
        ("old", "text"),
        ("slow", "text not null"),
        ("made", "int8 not null generated"),
        ("at", "timestamptz not null default"),
        ("loose", "text"),
        ("tenant", "text not null default"),
    ];
    let keys = ["ext", "old?", "slow!", "made", "at", "tenant loose"];
    let docs = with_keys("docs", &columns, &keys);
    let mut told = String::new();
    for name in [
        "id", "ext", "old", "slow", "made", "at", "loose", "tenant", "company", "exte",
    ] {
        let bound = bound_by(std::slice::from_ref(&docs), &column_of(name));
        told += &format!("{name}: {bound}\n");
    }
    assert_snapshot!(told, @r#"
    id: docs.ext: is NOT NULL, but nothing feeds it
      hint: map a field to it with `rename`, or give it a default
    docs.slow: is NOT NULL, but nothing feeds it
      hint: map a field to it with `rename`, or give it a default
    ext: docs.slow: is NOT NULL, but nothing feeds it
      hint: map a field to it with `rename`, or give it a default
    old: docs.old: may be null, so it cannot be the `key`
      hint: alter table public.docs alter column "old" set not null
    slow: docs.slow: has a deferrable constraint, by which rows cannot be found
      hint: create unique index on public.docs ("slow")
    made: docs.made: is generated always, which a row's key cannot feed
      hint: choose another column as `key`
    at: docs.at: has type timestamptz, which a row's key cannot feed
      hint: use uuid, integer or text
    loose: docs.loose: is unique only together with `tenant`
      hint: create unique index on public.docs ("loose"); alter table public.docs alter column "loose" set not null
    tenant: docs.tenant: is unique only together with `loose`
      hint: create unique index on public.docs ("tenant")
    company: docs.slow: is NOT NULL, but nothing feeds it
      hint: map a field to it with `rename`, or give it a default
    key: no table has a column `company`
      hint: name a column that is unique and not null
    exte: docs.slow: is NOT NULL, but nothing feeds it
      hint: map a field to it with `rename`, or give it a default
    key: no table has a column `exte`
      hint: did you mean `ext`?
    "#);
}

#[test]
fn tables_that_reference_the_key_or_what_the_server_makes_are_told_apart() {
    let docs = || {
        let columns = [("id", "uuid not null default"), ("ext", "uuid not null")];
        with_keys("docs", &columns, &["ext"])
    };
    let child = |columns: &[(&str, &str)], keys: &[&str], column: &str, referenced: &str| Table {
        foreign_keys: vec![ForeignKey {
            table: "docs".into(),
            columns: vec![column.into()],
            referenced: vec![referenced.into()],
        }],
        ..with_keys("child", columns, keys)
    };
    let own = ("id", "int8 not null default");
    let doc = ("doc", "uuid not null");
    let vector = ("vector", "vector(3)");
    let mut told = String::new();
    for child in [
        child(&[doc, vector], &[], "doc", "ext"),
        child(&[own, doc, vector], &["doc"], "doc", "ext"),
        child(&[doc, vector], &[], "doc", "id"),
        child(&[own, doc, vector], &["doc"], "doc", "id"),
        child(&[own, doc, vector], &[], "doc", "ext"),
        child(&[("id", "uuid not null"), vector, doc], &[], "doc", "id"),
    ] {
        told += &format!("{}\n", bound_by(&[child, docs()], &KeyChoice::Found));
    }
    // Other tables keep their own key, and each can be given one.
    let by_id = child(&[doc, vector], &[], "doc", "id");
    told += &format!("{}\n", bound_by(&[by_id, docs()], &column_of("id")));
    let columns = [("docs", "ext"), ("child", "id")];
    let columns = columns.map(|(table, column)| (table.into(), column.into()));
    let both = child(&[own, doc, vector], &["doc"], "doc", "ext");
    let each = KeyChoice::Tables(columns.into());
    told += &format!("{}\n", bound_by(&[both, docs()], &each));
    let wrong = KeyChoice::Tables([("docs".into(), "exd".into())].into());
    told += &format!("{}\n", bound_by(&[docs()], &wrong));
    // A primary key that another table references, which then needs it.
    let nullable = Table {
        unique_keys: Vec::new(),
        ..with_keys(
            "docs",
            &[("id", "uuid not null default"), ("old", "uuid")],
            &["old?"],
        )
    };
    let by_id = child(&[doc, vector], &[], "doc", "id");
    told += &bound_by(&[by_id, nullable], &KeyChoice::Found);
    assert_snapshot!(told, @r#"
    docs by ext; child by doc
    docs by ext; child by doc
    child.doc: is fed by the row's key, but references docs.id, which the server makes
      hint: let it reference the key that rows are found by: references public.docs ("ext")
    child.doc: is fed by the row's key, but references docs.id, which the server makes
      hint: let it reference the key that rows are found by: references public.docs ("ext")
    child.doc: references docs, but is not unique, and the server makes the primary key: no row can be found
      hint: create unique index on public.child ("doc")
    child.doc: is NOT NULL, but nothing feeds it
      hint: map a field to it with `rename`, or give it a default
    docs.ext: is NOT NULL, but nothing feeds it
      hint: map a field to it with `rename`, or give it a default
    child.doc: is NOT NULL, but nothing feeds it
      hint: map a field to it with `rename`, or give it a default
    docs: its key differs in type from those of the other tables
      hint: one row key feeds them all
    docs: has no column `exd`, which `key` names
      hint: did you mean `ext`?
    docs by id; child by doc
    "#);
}

#[test]
fn a_list_is_told_from_a_unique_key_beside_a_primary_key_of_the_server() {
    let columns = [
        ("number", "int8 not null default"),
        ("posting", "int8 not null"),
        ("skills", "text not null"),
    ];
    let second = Table {
        foreign_keys: vec![ForeignKey {
            table: "posting".into(),
            columns: vec!["posting".into()],
            referenced: vec!["id".into()],
        }],
        ..with_keys("second", &columns, &["posting skills"])
    };
    let posting = keyed("posting", &[("id", "int8 not null")], 1, &[]);
    let targets = with_lists(&[second, posting], &[], true).unwrap();
    let target = &targets.tables[1];
    let items = target.items.as_ref().unwrap();
    let fed = target.key.iter().map(|it| it.column.name.as_str());
    let fed = fed.chain(items.columns.iter().map(|it| it.column.name.as_str()));
    assert_eq!(fed.collect::<Vec<_>>(), ["posting", "skills"]);
    assert!(target.columns.is_empty());
}
