-- What the host itself keeps. Everything a chunk did is written in one transaction:
-- the rows in the target tables, their digests, dead letters, checkpoint and outbox.

-- Short numbers for pipeline names, so that a digest costs few bytes.
create table forebay.pipeline (
    id   integer generated always as identity primary key,
    name text not null unique
);

-- One attempt to bring a dataset to its end. A run that was cut off is continued by
-- the next start of the pipeline, and its counts with it.
create table forebay.run (
    id             uuid primary key,
    pipeline       integer not null references forebay.pipeline,
    status         text not null check (status in ('running', 'succeeded', 'failed', 'halted', 'interrupted', 'abandoned')),
    message        text,
    received       bigint not null default 0,
    inserted       bigint not null default 0,
    updated        bigint not null default 0,
    unchanged      bigint not null default 0,
    dropped        bigint not null default 0,
    dead_lettered  bigint not null default 0,
    chunks         bigint not null default 0,
    bytes_received bigint not null default 0,
    starts         integer not null default 1,
    started_at     timestamptz not null default now(),
    finished_at    timestamptz,
    check (received = inserted + updated + unchanged + dropped + dead_lettered)
);
create index on forebay.run (pipeline, started_at desc);

-- Dead letters of a run by code, for its report.
create table forebay.run_code (
    run   uuid not null references forebay.run on delete cascade,
    fate  text not null check (fate in ('dropped', 'dead_lettered')),
    stage text not null,
    code  text not null,
    rows  bigint not null,
    primary key (run, fate, stage, code)
);

-- How far a partition has come. `epoch` fences: whoever starts the pipeline raises it,
-- and a host whose epoch is not the row's any more writes nothing.
create table forebay.checkpoint (
    pipeline   integer not null references forebay.pipeline,
    partition  text not null,
    epoch      bigint not null default 1,
    run        uuid references forebay.run on delete set null,
    position   text not null default '',
    sequence   bigint not null default 0,
    rows       bigint not null default 0,
    complete   boolean not null default false,
    updated_at timestamptz not null default now(),
    primary key (pipeline, partition)
);

-- The digest of each row as it was last written, so that an unchanged row costs one look-up.
create table forebay.row_digest (
    pipeline integer not null,
    key      text collate "C" not null,
    digest   uuid not null,
    primary key (pipeline, key)
);

create table forebay.dead_letter (
    id            bigint generated always as identity primary key,
    pipeline      integer not null references forebay.pipeline,
    partition     text not null,
    -- The same row failing the same way has the same identity, and updates its entry.
    identity      uuid not null,
    key           text,
    queue         text not null,
    stage         text not null check (stage in ('decode', 'transform', 'validate', 'write')),
    code          text not null,
    message       text not null,
    field         text,
    plugin        text,
    plugin_digest text,
    -- The row as it came on the wire: an encoded forebay.v1.Row.
    wire          bytea not null,
    attempts      integer not null default 1,
    seen          bigint not null default 1,
    run           uuid references forebay.run on delete set null,
    status        text not null default 'open' check (status in ('open', 'replayed', 'discarded')),
    first_seen    timestamptz not null default now(),
    last_seen     timestamptz not null default now(),
    unique (pipeline, partition, identity)
);
create index on forebay.dead_letter (pipeline, status, last_seen desc);

-- Notifications that are owed. A run has at most one for each target: it is made by the
-- first chunk that changes a row, and released when the run comes to its end.
create table forebay.outbox (
    id           uuid primary key,
    pipeline     integer not null references forebay.pipeline,
    run          uuid not null references forebay.run on delete cascade,
    target       text not null,
    changed_rows bigint not null,
    attempts     integer not null default 0,
    last_error   text,
    created_at   timestamptz not null default now(),
    delivered_at timestamptz,
    unique (run, target)
);
create index on forebay.outbox (pipeline) where delivered_at is null;

-- Which version of a plugin was active, and when.
create table forebay.plugin_version (
    pipeline     integer not null references forebay.pipeline,
    name         text not null,
    digest       text not null,
    version      text not null,
    first_active timestamptz not null default now(),
    last_active  timestamptz not null default now(),
    primary key (pipeline, name, digest)
);
