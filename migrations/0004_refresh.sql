-- Rows that a source marks deleted, and rows that it no longer has.
alter table forebay.run
    -- Of `updated`: rows removed because the source marked them deleted.
    add deleted      bigint not null default 0 check (deleted between 0 and updated),
    -- Whether the run reads the dataset from its beginning: then a row that it does not meet is gone.
    add snapshot     boolean not null default false,
    -- Rows that the pipeline had written when the run came to its end, and those of them that the
    -- run has not met. Null until they are counted, which is once.
    add known        bigint,
    add missing      bigint,
    -- What became of those. `kept`: the database refused to let them go.
    add removed      bigint not null default 0,
    add flagged      bigint not null default 0,
    add kept         bigint not null default 0,
    -- All of them stay, since they are too many or not known for certain.
    add held_back    boolean not null default false,
    -- Why some or all of them stay.
    add missing_note text,
    add check (removed + flagged + kept <= coalesce(missing, 0)),
    drop constraint run_status_check,
    add constraint run_status_check
        check (status in ('running', 'succeeded', 'held_back', 'failed', 'halted', 'interrupted', 'abandoned'));

-- Which keys a run has met: one row for each chunk, written in its transaction, 8 bytes for each
-- key. Only for pipelines that look for missing rows, and only until they have been found. That
-- two keys share a hash only keeps a row that might have gone.
create table forebay.seen_keys (
    run     uuid not null references forebay.run on delete cascade,
    id      bigint generated always as identity,
    -- Rows of the chunk, and those of them without a readable key.
    rows    integer not null,
    keyless integer not null,
    hashes  bigint[] not null,
    primary key (run, id)
);
-- Hashes cannot be compressed: do not try.
alter table forebay.seen_keys alter column hashes set storage external;

-- Rows that a run has found missing and has not dealt with yet.
create table forebay.missing_key (
    run uuid not null references forebay.run on delete cascade,
    key text collate "C" not null,
    primary key (run, key)
);
