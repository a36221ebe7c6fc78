-- The life of each version of a plugin in a pipeline.
--
-- canary: in use, in its first chunks      active: in use, and proven
-- shadow: runs beside, without effect      retired: was replaced
-- barred: misbehaved, not to be used       refused: not taken up, `message` says why
alter table forebay.plugin_version
    add state text not null default 'active'
        check (state in ('canary', 'active', 'shadow', 'retired', 'barred', 'refused')),
    add message text not null default '',
    add since timestamptz not null default now(),
    -- Asked for by hand: a shadow is to be used, or a bar to be lifted.
    add promote boolean not null default false,
    -- As a shadow: rows that it has seen.
    add rows_compared bigint not null default 0;

-- What a shadow would have done otherwise, by what it is.
create table forebay.plugin_difference (
    pipeline integer not null,
    name     text not null,
    digest   text not null,
    -- What became of the rows, and what would have: `accept`, `drop REASON`, `dead-letter CODE`.
    is_now   text not null,
    would_be text not null,
    rows     bigint not null,
    -- The key of the last row of that kind.
    sample   text not null,
    primary key (pipeline, name, digest, is_now, would_be),
    foreign key (pipeline, name, digest) references forebay.plugin_version on delete cascade
);
