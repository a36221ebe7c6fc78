-- The latest rows of a partition, over all runs, for the limit of dead letters: rows and dead letters
-- of each part of a sliding window, in turn, the oldest part first.
alter table forebay.checkpoint add recent bigint[] not null default '{}';
