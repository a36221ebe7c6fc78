-- Notifications of runs that do not end are released while they run. What is released does not change
-- any more, so that its identity stands for the same rows at every attempt; rows that change afterwards
-- are owed anew.
alter table forebay.outbox add released_at timestamptz;

update forebay.outbox set released_at = delivered_at where delivered_at is not null;

alter table forebay.outbox drop constraint outbox_run_target_key;
create unique index outbox_run_target_key on forebay.outbox (run, target) where released_at is null;
