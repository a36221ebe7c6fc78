//! Connection URLs as the driver takes them. It logs a parameter that it does not know together with
//! its value, which may be a password: such parameters are taken out before, and only named.

use std::sync::Once;

/// The parameters that sqlx knows, besides `options[NAME]`.
const KNOWN: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The URL for the driver. Warns, once, of parameters that have no effect.
pub(super) fn supported(url: &str) -> String {
    static WARNED: Once = Once::new();
    let (supported, others) = split(url);
    if !others.is_empty() {
        let parameters = others.join(", ");
        WARNED.call_once(|| {
            tracing::warn!(
                parameters,
                "the connection URL has parameters that are not supported: they have no effect"
            );
        });
    }
    supported
}

/// The URL without unknown parameters, and the names of these.
fn split(url: &str) -> (String, Vec<&str>) {
    let Some((address, query)) = url.split_once('?') else {
        return (url.to_owned(), Vec::new());
    };
    let name = |parameter: &str| parameter.split('=').next().map_or(0, str::len);
    let is_known = |parameter: &&str| {
        let name = parameter.get(..name(parameter)).unwrap_or_default();
        KNOWN.contains(&name) || name.starts_with("options[") || name.starts_with("options%5")
    };
    let (known, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(is_known);
    // What a host does anyway: it waits for a server that takes writes.
    let is_meant = |it: &&str| {
        matches!(
            *it,
            "target_session_attrs=read-write" | "target_session_attrs=primary"
        )
    };
    let others = others
        .into_iter()
        .filter(|it| !it.is_empty() && !is_meant(it));
    let others = others.map(|it| it.get(..name(it)).unwrap_or_default());
    let supported = match known.as_slice() {
        [] => address.to_owned(),
        known => format!("{address}?{}", known.join("&")),
    };
    (supported, others.collect())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn only_names_of_unknown_parameters_are_left() {
        for (url, supported, others) in [
            ("postgres://h/d", "postgres://h/d", &[][..]),
            (
                "postgres://h/d?sslmode=require&port=1",
                "postgres://h/d?sslmode=require&port=1",
                &[],
            ),
            (
                "postgres://h/d?sslpassword=secret&sslmode=require&x",
                "postgres://h/d?sslmode=require",
                &["sslpassword", "x"],
            ),
            (
                "postgres://h/d?connect_timeout=3",
                "postgres://h/d",
                &["connect_timeout"],
            ),
            (
                "postgres://h/d?target_session_attrs=read-write",
                "postgres://h/d",
                &[],
            ),
            (
                "postgres://h/d?options[a]=b",
                "postgres://h/d?options[a]=b",
                &[],
            ),
        ] {
            assert_eq!(split(url), (supported.to_owned(), others.to_vec()), "{url}");
        }
    }
}
