//! Brings the schema `forebay` up to date.

use sqlx::PgConnection;
use sqlx::migrate::{MigrateError, Migrator};

use super::{Store, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Key of the advisory lock that makes hosts migrate one after the other: any number that no
/// other program locks.
const LOCK: i64 = 0x0046_6f72_6562_6179;

impl Store {
    /// Brings the schema `forebay` up to date, in one transaction. Can be run at any time, by
    /// several hosts; needs only the right to read if the schema is current. Returns the number of
    /// migrations.
    ///
    /// # Errors
    /// If a migration fails, or the database was migrated by a newer host.
    pub async fn migrate(&self) -> Result<usize, StoreError> {
        let mut transaction = self.pool.begin_with(self.begin_statement()).await?;
        let current = is_current(&mut transaction).await;
        if !current.map_err(|error| failed(&error.into()))? {
            // Waits as long as it takes: another host that migrates holds the lock.
            sqlx::raw_sql("set local statement_timeout = 0; set local lock_timeout = 0")
                .execute(&mut *transaction)
                .await?;
            sqlx::query("select pg_advisory_xact_lock($1)")
                .bind(LOCK)
                .execute(&mut *transaction)
                .await?;
            let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
            migrator.create_schema("forebay");
            migrator.dangerous_set_table_name("forebay.migration");
            // The migrator's own lock belongs to the session, which a pooler may give to others.
            migrator.set_locking(false);
            migrator
                .run(&mut *transaction)
                .await
                .map_err(|error| failed(&error))?;
        }
        transaction.commit().await?;
        Ok(MIGRATIONS.iter().count())
    }
}

/// The error, with a hint if permissions are missing or the server is read-only.
fn failed(error: &MigrateError) -> StoreError {
    let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = error else {
        return StoreError::Failed(error.to_string().into());
    };
    let code = cause.as_database_error().and_then(|error| error.code());
    let hint = match code.as_deref() {
        Some("42501") => {
            "\n  hint: run `forebay migrate` as a role that may create schemas in this database, \
             and grant the other role usage on the schema forebay and select, insert, update and \
             delete on all its tables"
        }
        // Read-only transaction.
        Some("25006") => "\n  hint: connect to the primary server",
        _ => "",
    };
    StoreError::Failed(format!("{error}{hint}").into())
}

/// True if exactly these migrations were run. The check only reads, so a role without the right to
/// create anything can work with a current schema.
async fn is_current(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("select to_regclass('forebay.migration') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(false);
    }
    let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "select version, checksum from forebay.migration where success order by version",
    )
    .fetch_all(connection)
    .await?;
    Ok(MIGRATIONS.iter().count() == applied.len()
        && MIGRATIONS
            .iter()
            .zip(&applied)
            .all(|(ours, (version, checksum))| {
                ours.version == *version && *ours.checksum == **checksum
            }))
}
