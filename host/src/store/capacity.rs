//! Numbers of connections that the server allows, and that are in use.

use sqlx::PgConnection;

use super::sql::from_row;

/// `numbackends` counts the sessions of all roles; their owners are visible to every role.
const CONNECTIONS: &str = "select
    current_setting('max_connections')::int - case when r.rolsuper then 0
        else current_setting('superuser_reserved_connections')::int
            + coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0) end as of_server,
    d.datconnlimit as of_database, case when r.rolsuper then -1 else r.rolconnlimit end as of_role,
    (select coalesce(sum(numbackends), 0)::int from pg_stat_database) as used,
    (select coalesce(sum(numbackends), 0)::int from pg_stat_database s where s.datid = d.oid) as used_in_database,
    (select count(*)::int from pg_stat_activity a where a.usesysid = r.oid) as used_by_role
    from pg_database d, pg_roles r where d.datname = current_database() and r.rolname = current_user";

#[derive(Debug)]
pub(super) struct Connections {
    /// -1 for no limit, here and below.
    pub(super) of_server: i32,
    pub(super) of_database: i32,
    pub(super) of_role: i32,
    pub(super) used: i32,
    pub(super) used_in_database: i32,
    pub(super) used_by_role: i32,
}

from_row!(Connections {
    of_server,
    of_database,
    of_role,
    used,
    used_in_database,
    used_by_role
});

/// Reads the limits, and the numbers of connections in use.
pub(super) async fn ask(connection: &mut PgConnection) -> Result<Connections, sqlx::Error> {
    sqlx::query_as(CONNECTIONS).fetch_one(connection).await
}

/// Maximum number of connections of this role to this database, if there were no others.
pub(super) async fn allowed(connection: &mut PgConnection) -> Result<u32, sqlx::Error> {
    let Connections {
        of_server,
        of_database,
        of_role,
        ..
    } = ask(connection).await?;
    let limits = [of_server, of_database, of_role];
    let limits = limits
        .into_iter()
        .filter_map(|limit| u32::try_from(limit).ok());
    Ok(limits.min().unwrap_or(u32::MAX))
}
