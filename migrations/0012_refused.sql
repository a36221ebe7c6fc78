-- What a refused row was, so that it is known when it comes again unchanged.
alter table forebay.dead_letter
    -- A hash of the row as it was to be written, with its key; null unless the database refused it.
    add content uuid,
    -- A hash of the check constraint that the row's own values violate: it is refused as long as
    -- there is this constraint.
    add rule bigint;
