-- Vector indexes that are rebuilt without a superuser, partition by partition.
--
-- beside: still there and maintained, with the least effort; a new one is to be built beside it
alter table forebay.index_work
    drop constraint index_work_manner_check,
    add constraint index_work_manner_check check (manner in ('defer', 'rebuild', 'beside')),
    -- beside: the index as it was; once it has another oid, the new one is in its place.
    add column index_oid  oid,
    -- beside: its own options, as ALTER INDEX takes them; null if ef_construction is not among them.
    add column options    text,
    -- Statements that set the statistics of its expressions.
    add column statistics text[] not null default '{}',
    -- Level of its table in a partitioned one; the deepest are put back first.
    add column depth      integer not null default 0;
