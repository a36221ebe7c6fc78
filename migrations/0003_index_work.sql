-- Vector indexes that are out of the way of a load, each with what it takes to put it back.
-- The note is written in the transaction that takes the index away, and removed by the one
-- after which it is there again: whoever runs next finds what a host that died has left.
--
-- defer:   dropped; to be created again by its definition
-- rebuild: still there and used by searches, but new rows do not enter it; to be reindexed
create table forebay.index_work (
    -- A dump keeps it as a name.
    relation   regclass not null,
    schema     text not null,
    name       text not null,
    manner     text not null check (manner in ('defer', 'rebuild')),
    -- As pg_get_indexdef writes it with an empty search path.
    definition text not null,
    -- Empty for the database's own.
    tablespace text not null,
    comment    text,
    -- What its size depends on: hnsw or ivfflat, bytes of a vector, `m` or `lists`.
    method       text not null,
    vector_bytes bigint not null,
    parameter    bigint not null,
    -- rebuild: the table's own setting of vacuum_index_cleanup from before; null for none.
    index_cleanup text,
    since      timestamptz not null default now(),
    primary key (relation, name)
);

-- The runs that load while an index is away. The last of them to come to its end puts it back.
create table forebay.index_wait (
    relation regclass not null,
    name     text not null,
    run      uuid not null references forebay.run on delete cascade,
    primary key (relation, name, run),
    foreign key (relation, name) references forebay.index_work on delete cascade
);
