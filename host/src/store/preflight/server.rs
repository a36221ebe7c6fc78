//! The server, and the privileges of the role in the schema `forebay`.

use sqlx::PgConnection;

use super::finding::{Finding, Severity};
use crate::store::error::{READ_ONLY, StoreError};
use crate::store::sql::from_row;

/// The first version with `pg_attribute.attgenerated`, which the catalog is queried for.
const OLDEST: i32 = 120_000;
/// Older versions may work, but are no longer maintained.
const SUPPORTED: i32 = 140_000;

#[derive(Debug)]
struct Server {
    role: String,
    version: i32,
    read_only: bool,
    fsync: bool,
    full_page_writes: bool,
    synchronous_commit: String,
}

from_row!(Server {
    role,
    version,
    read_only,
    fsync,
    full_page_writes,
    synchronous_commit
});

/// Checks the server, and returns the role's name, quoted for use in SQL.
pub(super) async fn check(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<String, StoreError> {
    let server: Server = sqlx::query_as(
        "select quote_ident(current_user) as role, current_setting('server_version_num')::int as version,
             current_setting('transaction_read_only')::bool as read_only,
             current_setting('fsync')::bool as fsync,
             current_setting('full_page_writes')::bool as full_page_writes,
             current_setting('synchronous_commit') as synchronous_commit",
    )
    .fetch_one(&mut *connection)
    .await?;
    if server.read_only {
        // A standby may be promoted, and is waited for.
        return Err(StoreError::Away(READ_ONLY.into()));
    }
    findings.extend(judge(&server));
    findings.extend(privileges(connection, &server.role).await?);
    findings.extend(policies(connection, &server.role).await?);
    Ok(server.role)
}

fn judge(server: &Server) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |severity, message: &str, hint: &str| {
        findings.push(Finding::new(severity, "database", message, hint));
    };
    let major = server.version / 10_000;
    if server.version < OLDEST {
        find(
            Severity::Error,
            &format!("the server is PostgreSQL {major}"),
            "use 14 or newer",
        );
    } else if server.version < SUPPORTED {
        find(
            Severity::Warning,
            &format!("the server is PostgreSQL {major}, which Forebay does not fully support"),
            "use 14 or newer",
        );
    }
    if !server.fsync {
        find(
            Severity::Warning,
            "fsync is off: a power failure can destroy the whole database",
            "set fsync = on",
        );
    }
    if !server.full_page_writes {
        find(
            Severity::Warning,
            "full_page_writes is off: a power failure can destroy pages of tables",
            "set full_page_writes = on",
        );
    }
    if server.synchronous_commit == "off" {
        find(
            Severity::Warning,
            "synchronous_commit is off: a server crash can lose the last chunks after the API server was notified of them",
            "set synchronous_commit to local or on; a restarted run writes the lost rows again",
        );
    }
    findings
}

/// Privileges missing in the schema `forebay`, which exists by now.
async fn privileges(
    connection: &mut PgConnection,
    role: &str,
) -> Result<Option<Finding>, sqlx::Error> {
    let missing: Vec<String> = sqlx::query_scalar(
        "select distinct p.name from pg_class c, pg_catalog.unnest(array['select', 'insert', 'update', 'delete']) p(name)
         where c.relnamespace = to_regnamespace('forebay') and c.relkind in ('r', 'p') and c.relname <> 'migration'
             and not has_table_privilege(c.oid, p.name) order by 1",
    )
    .fetch_all(connection)
    .await?;
    Ok((!missing.is_empty()).then(|| {
        Finding::new(
            Severity::Error,
            "schema forebay",
            format!("{role} lacks {} on its tables", missing.join(", ")),
            format!(
                "grant {} on all tables in schema forebay to {role}",
                missing.join(", ")
            ),
        )
    }))
}

/// Policies that hide rows of the schema `forebay` from the role.
async fn policies(
    connection: &mut PgConnection,
    role: &str,
) -> Result<Option<Finding>, sqlx::Error> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
         where c.relnamespace = to_regnamespace('forebay') and c.relkind in ('r', 'p')
             and row_security_active(c.oid) order by 1",
    )
    .fetch_all(connection)
    .await?;
    Ok((!tables.is_empty()).then(|| {
        Finding::new(
            Severity::Error,
            "schema forebay",
            format!(
                "row-level security applies to {role} on {}: hidden rows would be lost",
                tables.join(", ")
            ),
            "alter table … disable row level security: these tables are Forebay's own",
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_judged_by_its_version_and_settings() {
        let good = Server {
            role: "forebay".into(),
            version: 140_000,
            read_only: false,
            fsync: true,
            full_page_writes: true,
            synchronous_commit: "on".into(),
        };
        assert_eq!(judge(&good), []);
        let bad = Server {
            version: 110_022,
            read_only: true,
            fsync: false,
            full_page_writes: false,
            synchronous_commit: "off".into(),
            ..good
        };
        let lines = |server: &Server| {
            let lines = judge(server).into_iter();
            let lines = lines.map(|it| format!("{:?}: {}; {}", it.severity, it.message, it.hint));
            lines.collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(lines(&bad), @r#"
        Error: the server is PostgreSQL 11; use 14 or newer
        Warning: fsync is off: a power failure can destroy the whole database; set fsync = on
        Warning: full_page_writes is off: a power failure can destroy pages of tables; set full_page_writes = on
        Warning: synchronous_commit is off: a server crash can lose the last chunks after the API server was notified of them; set synchronous_commit to local or on; a restarted run writes the lost rows again
        "#);
        let old = Server {
            version: 130_016,
            ..bad
        };
        insta::assert_snapshot!(lines(&old), @r#"
        Warning: the server is PostgreSQL 13, which Forebay does not fully support; use 14 or newer
        Warning: fsync is off: a power failure can destroy the whole database; set fsync = on
        Warning: full_page_writes is off: a power failure can destroy pages of tables; set full_page_writes = on
        Warning: synchronous_commit is off: a server crash can lose the last chunks after the API server was notified of them; set synchronous_commit to local or on; a restarted run writes the lost rows again
        "#);
    }
}
