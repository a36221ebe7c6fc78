-- How the rows of dead letters are encoded that are no `forebay.v1.Row`: once for each kind of rows, and
-- again when its descriptors change.
create table forebay.format (
    digest      uuid primary key,
    -- The message that is a row.
    message     text not null,
    -- Its kind, where a source has several; else empty.
    kind        text not null,
    -- A google.protobuf.FileDescriptorSet.
    descriptors bytea not null
);
alter table forebay.dead_letter add format uuid references forebay.format (digest);
