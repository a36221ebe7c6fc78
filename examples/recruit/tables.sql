-- The target tables of the `recruit` pipeline. They are ordinary tables; Forebay reads their
-- structure from the catalog.
create extension if not exists vector;

create table if not exists recruit_metadata (
    id              uuid primary key,
    company_name    text not null,
    exp_years       integer not null,
    english_level   text,
    primary_keyword text check (char_length(primary_keyword) <= 40),
    updated_at      timestamptz not null default now()
);

create table if not exists recruit_embedding (
    id         uuid primary key references recruit_metadata on delete cascade,
    -- A vector of up to about 2,000 dimensions fits into its row's page: stored there, it is
    -- written a quarter faster and read without a TOAST lookup.
    vector     vector(1536) storage plain not null,
    updated_at timestamptz not null default now()
);
