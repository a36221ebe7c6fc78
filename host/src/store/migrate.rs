//! Brings the schema `forebay` up to date.

use std::sync::LazyLock;

use include_dir::{Dir, File, include_dir};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlStr};

use super::error::{Blame, blame, explained, unusable};
use super::message::described;
use super::{Store, StoreError};

/// `VERSION_DESCRIPTION.sql`. `sqlx::migrate!` would build the driver a second time, for the compiler.
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../migrations");

static MIGRATIONS: LazyLock<Vec<Migration>> = LazyLock::new(|| {
    let mut migrations: Vec<Migration> = FILES.files().filter_map(migration).collect();
    migrations.sort_by_key(|migration| migration.version);
    migrations
});

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
            let mut migrator = Migrator::with_migrations(MIGRATIONS.clone());
            // `if not exists` takes the right to create schemas even where there is one.
            let exists: bool = sqlx::query_scalar("select to_regnamespace('forebay') is not null")
                .fetch_one(&mut *transaction)
                .await?;
            if !exists {
                migrator.create_schema("forebay");
            }
            migrator.dangerous_set_table_name("forebay.migration");
            // The migrator's own lock belongs to the session, which a pooler may give to others.
            migrator.set_locking(false);
            migrator
                .run(&mut *transaction)
                .await
                .map_err(|error| failed(&error))?;
        }
        transaction.commit().await?;
        Ok(MIGRATIONS.len())
    }
}

/// Reads a file as `sqlx` does.
fn migration(file: &'static File<'static>) -> Option<Migration> {
    let name = file.path().file_stem()?.to_str()?;
    let (version, description) = name.split_once('_')?;
    Some(Migration::new(
        version.parse().ok()?,
        description.replace('_', " ").into(),
        MigrationType::Simple,
        SqlStr::from_static(file.contents_utf8()?),
        false,
    ))
}

/// The error, with a hint if permissions are missing or the server is read-only.
fn failed(error: &MigrateError) -> StoreError {
    let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = error else {
        return StoreError::Failed(error.to_string().into());
    };
    let doing = match error {
        MigrateError::ExecuteMigration(_, version) => format!("migration {version}"),
        _ => "migrations".to_owned(),
    };
    let code = cause.as_database_error().and_then(|error| error.code());
    let is_away = blame(cause) == Blame::Server && unusable(cause).is_none();
    if is_away {
        let message = explained(cause).unwrap_or_else(|| described(cause));
        return StoreError::Away(format!("{doing}: {message}").into());
    }
    let hint = match code.as_deref() {
        Some("42501") => {
            "\n  hint: run `forebay migrate` as a role that may create schemas in this database, or \
             that owns the schema forebay; `forebay migrate --grants ROLE` prints what any other \
             role needs"
        }
        _ => "",
    };
    StoreError::Failed(format!("{doing}: {}{hint}", described(cause)).into())
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
    Ok(MIGRATIONS.len() == applied.len()
        && MIGRATIONS
            .iter()
            .zip(&applied)
            .all(|(ours, (version, checksum))| {
                ours.version == *version && *ours.checksum == **checksum
            }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_migration() {
        assert_eq!(MIGRATIONS.len(), FILES.files().count());
        for pair in MIGRATIONS.windows(2) {
            let [first, second] = pair else { continue };
            assert!(first.version < second.version, "{}", second.description);
        }
    }

    /// Databases have these: another description or checksum would be another migration.
    #[test]
    fn migrations_are_named_and_hashed_as_they_were_released() {
        let first = MIGRATIONS.first().map(|migration| {
            let checksum = hex::encode(&migration.checksum);
            (migration.version, migration.description.as_ref(), checksum)
        });
        let checksum = "1e824eefa58a6978915b008de55c103129cc708e0d46dac8e362e08be7a8b4146dd503f88421a24cbae1b13aa4efd0f1";
        assert_eq!(first, Some((1, "forebay", checksum.to_owned())));
    }
}
