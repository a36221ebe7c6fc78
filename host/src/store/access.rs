//! Who the host is to the server: URL and password, and how they are renewed while it runs.
//!
//! A secret in a file is read again every second, and connections that are opened after a change
//! use the new one; those that are open stay. Whichever side is renewed first, the other follows:
//! a refused password is waited for as an outage, unless it cannot change.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgPool};

use super::error::{DatabaseFailure, StoreError};
use super::url;
use crate::config::{Access, DatabaseUrl, Sessions, several_hosts};

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// URL and password as they are now.
pub(super) fn read(url: &DatabaseUrl) -> Result<Access, StoreError> {
    url.read().map_err(|unreadable| {
        // Whoever renews a file may remove it for a moment.
        let hint = "this user has to be able to read it: see database.url and database.password";
        StoreError::Away(format!("{unreadable}\n  hint: {hint}").into())
    })
}

/// The options of a connection.
pub(super) fn options(
    url: &DatabaseUrl,
    access: &Access,
    sessions: &Sessions,
) -> Result<PgConnectOptions, StoreError> {
    if let Some((message, hint)) = several_hosts(&access.url) {
        let message = format!("{url} {message}\n  hint: {hint}");
        return Err(StoreError::Failed(message.into()));
    }
    let mut options = PgConnectOptions::from_str(&url::supported(&access.url))
        .map_err(|error| {
            let message = format!("{url} is not a valid connection URL: {error}");
            StoreError::Failed(DatabaseFailure::caused_by(message, error))
        })?
        // All floats travel in binary.
        .extra_float_digits(None)
        .log_statements(tracing::log::LevelFilter::Trace)
        .log_slow_statements(tracing::log::LevelFilter::Debug, Duration::from_secs(5));
    if let Some(password) = &access.password {
        options = options.password(password);
    }
    let name = sessions.application_name.as_deref();
    let name = name
        .or(options.get_application_name())
        .unwrap_or(Sessions::APPLICATION_NAME)
        .to_owned();
    Ok(options.application_name(&name))
}

/// Gives the pool the secrets of files as they change, until it is closed.
pub(super) fn follow(pool: &PgPool, url: &DatabaseUrl, sessions: &Sessions, mut known: Access) {
    if url.files().next().is_none() {
        return;
    }
    let (pool, url, sessions) = (pool.clone(), url.clone(), sessions.clone());
    tokio::spawn(async move {
        let mut closed = pool.close_event();
        let followed = closed.do_until(async {
            loop {
                tokio::time::sleep(LOOK).await;
                // A file that is gone for a moment, or half written, is looked at again.
                let Ok(access) = url.read() else { continue };
                if access == known {
                    continue;
                }
                match options(&url, &access, &sessions) {
                    Ok(options) => {
                        tracing::info!("the database's secret was renewed: new connections use it");
                        pool.set_connect_options(options);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the database's renewed secret is not used")
                    }
                }
                known = access;
            }
        });
        // Ends with the pool.
        drop(followed.await);
    });
}
