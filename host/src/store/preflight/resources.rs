//! Resources: connections, and the disk if it is visible from this machine.

use std::path::Path;

use nix::sys::statvfs::statvfs;
use sqlx::PgConnection;

use super::demand::Demand;
use super::finding::{Finding, Severity};
use crate::store::capacity::{Connections, ask};
use crate::store::connect::Store;
use crate::store::session::Sharing;

/// Free space that is too little for any server: its write-ahead log alone takes as much.
const LITTLE: u64 = 1 << 30;

pub(super) async fn check(
    store: &Store,
    connection: &mut PgConnection,
    demand: &Demand<'_>,
    role: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx::Error> {
    let wanted = demand.connections;
    // Behind a pooler, only the pooler's limits apply, and they are not visible.
    let of_server = match store.sharing {
        Sharing::Own => judge(&ask(connection).await?, wanted, store.pool.size(), role),
        Sharing::Shared => None,
    };
    let allowed = store.pool.options().get_max_connections();
    if of_server.is_none() && allowed < wanted {
        findings.push(Finding::new(
            Severity::Error,
            "database.connections",
            format!(
                "is {allowed}, but the pipeline needs {wanted}: one for each writer, and one more"
            ),
            format!("set it to {wanted} or more"),
        ));
    }
    findings.extend(of_server);
    if store.is_local() {
        findings.extend(disk(connection, demand.bytes).await?);
    }
    Ok(())
}

/// Compares the limits with the connections wanted; `ours` are included in those in use.
fn judge(connections: &Connections, wanted: u32, ours: u32, role: &str) -> Option<Finding> {
    let limits = [
        (
            "the server",
            connections.of_server,
            connections.used,
            "raise max_connections".to_owned(),
        ),
        (
            "the database",
            connections.of_database,
            connections.used_in_database,
            "alter database … connection limit".to_owned(),
        ),
        (
            "the role",
            connections.of_role,
            connections.used_by_role,
            format!("alter role {role} connection limit"),
        ),
    ];
    let (wanted, ours) = (i64::from(wanted), i64::from(ours));
    for (whose, limit, used, hint) in limits {
        let (limit, used) = (i64::from(limit), i64::from(used));
        if limit < 0 {
            continue;
        }
        let free = limit - used + ours;
        let (severity, message) = if limit < wanted {
            let message =
                format!("{whose} allows {limit} connections, but the pipeline needs {wanted}");
            (Severity::Error, message)
        } else if free < wanted {
            let free = free.max(0);
            let message = format!(
                "{free} of the {limit} connections that {whose} allows are free, but the pipeline needs {wanted}"
            );
            (Severity::Warning, message)
        } else {
            continue;
        };
        return Some(Finding::new(severity, "database", message, hint));
    }
    None
}

/// Checks the file system of the data directory, for a server on this machine that shows its path.
async fn disk(connection: &mut PgConnection, wanted: u64) -> Result<Option<Finding>, sqlx::Error> {
    let directory: Option<String> =
        sqlx::query_scalar("select setting from pg_settings where name = 'data_directory'")
            .fetch_optional(connection)
            .await?;
    let file_system = directory.and_then(|directory| statvfs(Path::new(&directory)).ok());
    let free = file_system.map(|it| it.blocks_available() * it.fragment_size());
    Ok(free.and_then(|free| judge_disk(free, wanted)))
}

fn judge_disk(free: u64, wanted: u64) -> Option<Finding> {
    let size = |bytes| bytesize::ByteSize::b(bytes).display().iec().to_string();
    let message = if free < wanted {
        let (free, wanted) = (size(free), size(wanted));
        format!(
            "{free} are free on its disk, but the dataset takes about {wanted} if all rows are new"
        )
    } else if free < LITTLE {
        format!("{} are free on its disk", size(free))
    } else {
        return None;
    };
    let hint = "free some space: a run that fills the disk stops without losing anything, and resumes when there is space";
    Some(Finding::new(Severity::Warning, "database", message, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_too_low_are_worse_than_those_that_are_used_up() {
        let free = Connections {
            of_server: 97,
            of_database: -1,
            of_role: -1,
            used: 90,
            used_in_database: 40,
            used_by_role: 3,
        };
        let judged = |connections: &Connections, wanted| {
            let found = judge(connections, wanted, 2, "loader");
            found.map(|it| format!("{:?}: {}; {}", it.severity, it.message, it.hint))
        };
        assert_eq!(judged(&free, 9), None);
        insta::assert_snapshot!(judged(&free, 10).unwrap_or_default(), @"Warning: 9 of the 97 connections that the server allows are free, but the pipeline needs 10; raise max_connections");
        let role = Connections { of_role: 4, ..free };
        assert_eq!(judged(&role, 3), None);
        insta::assert_snapshot!(judged(&role, 4).unwrap_or_default(), @"Warning: 3 of the 4 connections that the role allows are free, but the pipeline needs 4; alter role loader connection limit");
        insta::assert_snapshot!(judged(&role, 5).unwrap_or_default(), @"Error: the role allows 4 connections, but the pipeline needs 5; alter role loader connection limit");
        let closed = Connections {
            of_database: 0,
            ..role
        };
        insta::assert_snapshot!(judged(&closed, 2).unwrap_or_default(), @"Error: the database allows 0 connections, but the pipeline needs 2; alter database … connection limit");
    }

    #[test]
    fn a_disk_is_judged_by_what_the_dataset_takes() {
        let judged = |free, wanted| judge_disk(free, wanted).map(|it| it.message);
        assert_eq!(judged(LITTLE, LITTLE), None);
        assert_eq!(judged(50 << 30, 0), None);
        insta::assert_snapshot!(judged(5 << 30, 6 << 30).unwrap_or_default(), @"5.0 GiB are free on its disk, but the dataset takes about 6.0 GiB if all rows are new");
        insta::assert_snapshot!(judged(5 << 20, 0).unwrap_or_default(), @"5.0 MiB are free on its disk");
    }
}
