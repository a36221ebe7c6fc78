//! What is wrong with TLS between host and database, and what to do about it.

use std::error::Error;

use rustls::{AlertDescription, CertificateError};

use crate::printable::printable;

/// The message for an error of TLS that another attempt would meet as well.
pub(super) fn explained(error: &sqlx::Error) -> Option<String> {
    let (error, hint) = match error {
        sqlx::Error::Tls(error) => match error.downcast_ref::<rustls::Error>() {
            Some(error) => hint(error)?,
            None => (
                error.to_string(),
                "sslmode and the files of sslrootcert, sslcert and sslkey in database.url have to fit the server",
            ),
        },
        sqlx::Error::Io(error) => {
            let mut cause: Option<&(dyn Error + 'static)> = Some(error.get_ref()?);
            loop {
                let error = cause?;
                if let Some(error) = error.downcast_ref::<rustls::Error>() {
                    break hint(error)?;
                }
                cause = error.source();
            }
        }
        _ => return None,
    };
    Some(format!("TLS: {}\n  hint: {hint}", printable(&error)))
}

fn hint(error: &rustls::Error) -> Option<(String, &'static str)> {
    use CertificateError as Bad;
    let hint = match error {
        rustls::Error::InvalidCertificate(
            Bad::NotValidForName | Bad::NotValidForNameContext { .. },
        ) => {
            "write the name of its certificate as host in database.url; sslmode=verify-ca leaves names out"
        }
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "name the file of its authority as sslrootcert in database.url"
        }
        rustls::Error::InvalidCertificate(_) => {
            "renew the certificate of the server, and compare the clocks of both machines"
        }
        // What a proxy says whose server is not there yet.
        rustls::Error::AlertReceived(
            AlertDescription::InternalError | AlertDescription::UserCanceled,
        ) => return None,
        rustls::Error::AlertReceived(_) => {
            "it may want a certificate of its own authority: sslcert and sslkey in database.url name the files"
        }
        _ => return None,
    };
    Some((error.to_string(), hint))
}
