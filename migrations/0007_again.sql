-- Dead letters that the host tries again by itself: rows that a unique value or a reference kept out.
--
-- resolved:    the row was written after all
-- superseded:  a later row of its key came, so that this one must not be written any more
alter table forebay.dead_letter
    drop constraint dead_letter_status_check,
    add constraint dead_letter_status_check
        check (status in ('open', 'replayed', 'discarded', 'resolved', 'superseded')),
    -- False for entries from before later rows of a key closed its entries: they may be older than
    -- what the tables have.
    add latest boolean not null default false;
alter table forebay.dead_letter alter latest set default true;

-- The few that may be tried again, without a look at the others.
create index on forebay.dead_letter (pipeline, id)
    where status = 'open' and code in ('SQL_23503', 'SQL_23505', 'SQL_23P01', 'SQL_23001');

-- Dead letters of earlier runs that this run has resolved. Those of its own are counted as what
-- became of them.
alter table forebay.run add resolved bigint not null default 0;

-- Of the dropped rows: those that plugins drop although an earlier run has written them.
alter table forebay.run add dropped_known bigint not null default 0;
