-- What fed each column in the pipeline's last run, as JSON: a column or an embedding that is gone
-- since then stops the next run until that is confirmed.
alter table forebay.pipeline add mapping jsonb;
