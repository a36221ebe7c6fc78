#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use insta::assert_snapshot;

use super::*;
use crate::route::{Binding, ForeignKey, Table, bind};
use crate::row;
use crate::row::{EmbeddingColumn, FieldType, Schema};

fn table(name: &str, columns: &[(&str, &str)], key: &[&str], parent: &[(&str, &str)]) -> Table {
    let column = |(name, type_name): &(&str, &str)| crate::route::Column {
        name: (*name).into(),
        type_name: (*type_name).into(),
        type_sql: (*type_name).into(),
        declared_sql: (*type_name).into(),
        equals: crate::route::EQUALS.into(),
        category: match *type_name {
            "mood" => "E",
            name if name.starts_with('_') => "A",
            _ => "U",
        }
        .into(),
        type_oid: 0,
        array_oid: 0,
        dimensions: None,
        required: key.contains(name),
        has_default: *name == "level",
        default_sql: (*name == "level").then(|| "1".into()),
        omitted_sql: None,
        generated: false,
    };
    let reference = ForeignKey {
        table: "posting".into(),
        columns: parent.iter().map(|(from, _)| (*from).into()).collect(),
        referenced: parent.iter().map(|(_, to)| (*to).into()).collect(),
    };
    Table {
        name: name.into(),
        bare: name.into(),
        quoted: format!("public.{name}"),
        columns: columns.iter().map(column).collect(),
        primary_key: key.iter().map(|name| (*name).into()).collect(),
        unique_keys: Vec::new(),
        near_keys: Vec::new(),
        guarded: false,
        has_triggers: false,
        own_checks: Vec::new(),
        copies: true,
        foreign_keys: if parent.is_empty() {
            Vec::new()
        } else {
            vec![reference]
        },
    }
}

/// The statements for these tables, for a dataset with lists for each.
fn statements(tables: &[Table]) -> Statements {
    let fields = [
        ("tenant", FieldType::Text),
        ("mood", FieldType::Text),
        ("skill", FieldType::Texts),
        ("line", FieldType::Texts),
        ("languages", FieldType::Json),
    ];
    let columns = fields.map(|(name, field_type)| row::Column {
        name: name.into(),
        field_type: Some(field_type),
    });
    let schema = Schema {
        columns: columns.into(),
        embeddings: vec![EmbeddingColumn {
            name: "vector".into(),
            dimensions: 3,
        }],
    };
    let names: Vec<String> = tables.iter().map(|table| table.name.clone()).collect();
    let targets = bind(Binding {
        schema: &schema,
        names: &names,
        tables: &tables.iter().cloned().map(Some).collect::<Vec<_>>(),
        rename: &Default::default(),
        key: &Default::default(),
        meant: &Default::default(),
        transforms: false,
        key_is_apart: false,
    });
    Statements::new(&targets.unwrap())
}

fn posting() -> Table {
    let columns = [
        ("tenant", "text"),
        ("id", "uuid"),
        ("mood", "mood"),
        ("updated_at", "timestamptz"),
    ];
    table("posting", &columns, &["tenant", "id"], &[])
}

#[test]
fn rows_are_found_and_written_by_all_columns_of_their_key() {
    let columns = [
        ("posting", "uuid"),
        ("tenant", "text"),
        ("vector", "vector"),
    ];
    let parent = [("tenant", "tenant"), ("posting", "id")];
    let embedding = table("embedding", &columns, &["posting", "tenant"], &parent);
    let statements = statements(&[embedding, posting()]);
    let copy = statements.tables[1].copy.as_ref().unwrap();
    let texts = [
        &*statements.lookup,
        statements.tables[0].insert.as_deref().unwrap(),
        &*statements.tables[0].change[0],
        &*statements.tables[0].missing,
        copy.statement.as_str(),
    ];
    assert_snapshot!(texts.join("\n\n"), @r#"
    select pg_catalog.array_agg(d.digest order by k.position), pg_catalog.array_agg(t0.found is not null order by k.position), pg_catalog.array_agg(t1.found is not null order by k.position)
    from unnest($2::uuid[], $3::text[], $4::uuid[]) with ordinality k(id, k0, k1, position)
    left join lateral (select digest from forebay.digest r
        where r.pipeline = $1 and r.id = k.id and r.key is null limit 1) d on true
    left join lateral (select true as found from public.posting t where t."tenant" operator(pg_catalog.=) k.k0 and t."id" operator(pg_catalog.=) k.k1 limit 1) t0 on true
    left join lateral (select true as found from public.embedding t where t."posting" operator(pg_catalog.=) k.k1 and t."tenant" operator(pg_catalog.=) k.k0 limit 1) t1 on true

    insert into public.posting as t ("tenant", "id", "mood", "updated_at")
    select u.c0, u.c1, u.c2, now()
    from (select r.c0 as c0, r.c1 as c1, r.c2 as c2, r.position
        from unnest($1::text[], $2::uuid[], $3::mood[]) with ordinality r(c0, c1, c2, position) offset 0) u
    on conflict ("tenant", "id") do update set "mood" = excluded."mood", "updated_at" = now()
    where ((t."mood"::text) is distinct from ((excluded."mood")::text))

    with done as (
        update public.posting as t set "mood" = u.c2, "updated_at" = now()
        from (select r.c0 as c0, r.c1 as c1, r.c2 as c2, r.position
        from unnest($1::text[], $2::uuid[], $3::mood[]) with ordinality r(c0, c1, c2, position) offset 0) u
        where t."tenant" operator(pg_catalog.=) any(array[u.c0]) and t."id" operator(pg_catalog.=) any(array[u.c1])
            and ((t."mood"::text) is distinct from ((u.c2)::text))
        returning u.position)
    select pg_catalog.array_agg(position) from done

    select pg_catalog.array_agg(u.position) from (select r.c0 as c0, r.c1 as c1, r.position
        from unnest($1::text[], $2::uuid[]) with ordinality r(c0, c1, position) offset 0) u
    where not exists (select from public.posting t where t."tenant" operator(pg_catalog.=) any(array[u.c0]) and t."id" operator(pg_catalog.=) any(array[u.c1]))

    copy public.embedding ("posting", "tenant", "vector") from stdin (format binary)
    "#);
    // The server has to set the time of a change.
    assert!(statements.tables[0].copy.is_none());
}

#[test]
fn a_table_is_made_equal_to_its_lists() {
    let parent = [("tenant", "tenant"), ("id", "id")];
    let list = |name, columns: &[(&str, &str)], extra| {
        let key = [("tenant", "text"), ("id", "uuid")];
        table(
            name,
            &[&key[..], columns].concat(),
            &["tenant", "id", extra],
            &parent,
        )
    };
    let statements = statements(&[
        posting(),
        list(
            "skills",
            &[("skill", "varchar"), ("position", "int4")],
            "skill",
        ),
        list(
            "lines",
            &[
                ("position", "int4"),
                ("line", "text"),
                ("updated_at", "timestamptz"),
            ],
            "position",
        ),
        list(
            "languages",
            &[("language", "text"), ("level", "int4")],
            "language",
        ),
    ]);
    let [_, skills, lines, languages] = statements.tables.as_slice() else {
        panic!("{statements:?}");
    };
    let texts = |table: &TableStatements| {
        let mut texts: Vec<&str> = table.change.iter().map(|text| &**text).collect();
        texts.extend(table.copy.as_ref().map(|copy| copy.statement.as_str()));
        texts.join("\n\n")
    };
    assert_snapshot!(texts(skills), @r#"
    with done as (delete from public.skills t using (select r.k0 as k0, r.k1 as k1, coalesce((r.list)::varchar[], '{}') as list, r.place
        from unnest($1::text[], $2::uuid[], $3::text[]) with ordinality r(k0, k1, list, place) offset 0) p
    where t."tenant" operator(pg_catalog.=) any(array[p.k0])
        and t."id" operator(pg_catalog.=) any(array[p.k1])
        and not t."skill" operator(pg_catalog.=) any (p.list)
    returning p.place)
    select pg_catalog.array_agg(distinct place) from done

    with done as (update public.skills as t set "position" = u.c1
    from (select distinct on (p.k0, p.k1, i.item) p.k0, p.k1, i.item as c0, i.position::int4 as c1, p.place
    from (select r.k0 as k0, r.k1 as k1, coalesce((r.list)::varchar[], '{}') as list, r.place
        from unnest($1::text[], $2::uuid[], $3::text[]) with ordinality r(k0, k1, list, place) offset 0) p
        cross join lateral pg_catalog.unnest(p.list) with ordinality i(item, position)
        order by p.k0, p.k1, i.item, i.position offset 0) u
    where t."tenant" operator(pg_catalog.=) any(array[u.k0]) and t."id" operator(pg_catalog.=) any(array[u.k1]) and t."skill" operator(pg_catalog.=) any(array[u.c0])
        and ((t."position") is distinct from (u.c1))
    returning u.place)
    select pg_catalog.array_agg(distinct place) from done

    with u as materialized (select * from (select distinct on (p.k0, p.k1, i.item) p.k0, p.k1, i.item as c0, i.position::int4 as c1, p.place
    from (select r.k0 as k0, r.k1 as k1, coalesce((r.list)::varchar[], '{}') as list, r.place
        from unnest($1::text[], $2::uuid[], $3::text[]) with ordinality r(k0, k1, list, place) offset 0) p
        cross join lateral pg_catalog.unnest(p.list) with ordinality i(item, position)
        order by p.k0, p.k1, i.item, i.position offset 0) u
        where not exists (select from public.skills t where t."tenant" operator(pg_catalog.=) any(array[u.k0]) and t."id" operator(pg_catalog.=) any(array[u.k1]) and t."skill" operator(pg_catalog.=) any(array[u.c0]))),
    done as (
    insert into public.skills as t ("tenant", "id", "skill", "position")
    select u.k0, u.k1, u.c0, u.c1
    from u
    on conflict ("tenant", "id", "skill") do update set "position" = excluded."position"
    where ((t."position") is distinct from (excluded."position"))
    returning "tenant", "id")
    select pg_catalog.array_agg(distinct u.place) filter (where (u.k0, u.k1) in (select "tenant", "id" from done)) from u

    copy public.skills ("tenant", "id", "skill", "position") from stdin (format binary)
    "#);
    assert_snapshot!(texts(lines), @r#"
    with done as (delete from public.lines t using (select r.k0 as k0, r.k1 as k1, coalesce((r.list)::text[], '{}') as list, r.place
        from unnest($1::text[], $2::uuid[], $3::text[]) with ordinality r(k0, k1, list, place) offset 0) p
    where t."tenant" operator(pg_catalog.=) any(array[p.k0])
        and t."id" operator(pg_catalog.=) any(array[p.k1])
        and t."position" not between 1 and pg_catalog.cardinality(p.list)
    returning p.place)
    select pg_catalog.array_agg(distinct place) from done

    with done as (update public.lines as t set "line" = u.c1, "updated_at" = now()
    from (select p.k0, p.k1, i.position::int4 as c0, i.item as c1, p.place
    from (select r.k0 as k0, r.k1 as k1, coalesce((r.list)::text[], '{}') as list, r.place
        from unnest($1::text[], $2::uuid[], $3::text[]) with ordinality r(k0, k1, list, place) offset 0) p
        cross join lateral pg_catalog.unnest(p.list) with ordinality i(item, position) offset 0) u
    where t."tenant" operator(pg_catalog.=) any(array[u.k0]) and t."id" operator(pg_catalog.=) any(array[u.k1]) and t."position" operator(pg_catalog.=) any(array[u.c0])
        and ((t."line") is distinct from (u.c1))
    returning u.place)
    select pg_catalog.array_agg(distinct place) from done

    with u as materialized (select * from (select p.k0, p.k1, i.position::int4 as c0, i.item as c1, p.place
    from (select r.k0 as k0, r.k1 as k1, coalesce((r.list)::text[], '{}') as list, r.place
        from unnest($1::text[], $2::uuid[], $3::text[]) with ordinality r(k0, k1, list, place) offset 0) p
        cross join lateral pg_catalog.unnest(p.list) with ordinality i(item, position) offset 0) u
        where not exists (select from public.lines t where t."tenant" operator(pg_catalog.=) any(array[u.k0]) and t."id" operator(pg_catalog.=) any(array[u.k1]) and t."position" operator(pg_catalog.=) any(array[u.c0]))),
    done as (
    insert into public.lines as t ("tenant", "id", "position", "line", "updated_at")
    select u.k0, u.k1, u.c0, u.c1, now()
    from u
    on conflict ("tenant", "id", "position") do update set "line" = excluded."line", "updated_at" = now()
    where ((t."line") is distinct from (excluded."line"))
    returning "tenant", "id")
    select pg_catalog.array_agg(distinct u.place) filter (where (u.k0, u.k1) in (select "tenant", "id" from done)) from u
    "#);
    assert_snapshot!(texts(languages), @r#"
    with done as (delete from public.languages t using (select r.k0 as k0, r.k1 as k1, coalesce(nullif(r.list::jsonb, 'null'), '[]') as list, r.place
        from unnest($1::text[], $2::uuid[], $3::text[]) with ordinality r(k0, k1, list, place) offset 0) p
    where t."tenant" operator(pg_catalog.=) any(array[p.k0])
        and t."id" operator(pg_catalog.=) any(array[p.k1])
        and not t."language" operator(pg_catalog.=) any (array(select (i.item ->> E'language')::text from jsonb_array_elements(p.list) with ordinality i(item, position)))
    returning p.place)
    select pg_catalog.array_agg(distinct place) from done

    with done as (update public.languages as t set "level" = u.c1
    from (select distinct on (p.k0, p.k1, (i.item ->> E'language')::text) p.k0, p.k1, (i.item ->> E'language')::text as c0, coalesce((i.item ->> E'level')::int4, 1) as c1, p.place
    from (select r.k0 as k0, r.k1 as k1, coalesce(nullif(r.list::jsonb, 'null'), '[]') as list, r.place
        from unnest($1::text[], $2::uuid[], $3::text[]) with ordinality r(k0, k1, list, place) offset 0) p
        cross join lateral jsonb_array_elements(p.list) with ordinality i(item, position)
        order by p.k0, p.k1, (i.item ->> E'language')::text, i.position offset 0) u
    where t."tenant" operator(pg_catalog.=) any(array[u.k0]) and t."id" operator(pg_catalog.=) any(array[u.k1]) and t."language" operator(pg_catalog.=) any(array[u.c0])
        and ((t."level") is distinct from (u.c1))
    returning u.place)
    select pg_catalog.array_agg(distinct place) from done

    with u as materialized (select * from (select distinct on (p.k0, p.k1, (i.item ->> E'language')::text) p.k0, p.k1, (i.item ->> E'language')::text as c0, coalesce((i.item ->> E'level')::int4, 1) as c1, p.place
    from (select r.k0 as k0, r.k1 as k1, coalesce(nullif(r.list::jsonb, 'null'), '[]') as list, r.place
        from unnest($1::text[], $2::uuid[], $3::text[]) with ordinality r(k0, k1, list, place) offset 0) p
        cross join lateral jsonb_array_elements(p.list) with ordinality i(item, position)
        order by p.k0, p.k1, (i.item ->> E'language')::text, i.position offset 0) u
        where not exists (select from public.languages t where t."tenant" operator(pg_catalog.=) any(array[u.k0]) and t."id" operator(pg_catalog.=) any(array[u.k1]) and t."language" operator(pg_catalog.=) any(array[u.c0]))),
    done as (
    insert into public.languages as t ("tenant", "id", "language", "level")
    select u.k0, u.k1, u.c0, u.c1
    from u
    on conflict ("tenant", "id", "language") do update set "level" = excluded."level"
    where ((t."level") is distinct from (excluded."level"))
    returning "tenant", "id")
    select pg_catalog.array_agg(distinct u.place) filter (where (u.k0, u.k1) in (select "tenant", "id" from done)) from u
    "#);
    // JSON is read only by the server.
    assert!(languages.copy.is_none());
}

#[test]
fn only_a_column_that_the_server_has_to_cast_keeps_a_table_from_copy() {
    for (type_name, field, copies) in [
        ("mood", "mood", true),
        ("citext", "mood", true),
        ("numeric", "mood", true),
        ("jsonb", "languages", true),
        ("json", "skill", true),
        ("_text", "skill", true),
        // A text that may be an array literal.
        ("_text", "mood", false),
        ("_int4", "skill", false),
        ("interval", "mood", false),
    ] {
        let table = table(
            "posting",
            &[("id", "uuid"), (field, type_name)],
            &["id"],
            &[],
        );
        let copy = &statements(&[table]).tables[0].copy;
        assert_eq!(copy.is_some(), copies, "{type_name} {field}");
    }
}
