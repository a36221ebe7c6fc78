//! The key `auth` of a source and of `notify`: how host and server prove who they are.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file;
use super::problems::Problems;
use super::secret::{Secret, secret};

/// How the host and a gRPC server prove who they are. Files are read when they are used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// Sent with each call.
    pub token: Option<Secret>,
    /// PEM file of the authorities that may have issued the server's certificate; `None` for those
    /// that the system trusts.
    pub ca: Option<PathBuf>,
    /// The host's own certificate.
    pub identity: Option<Identity>,
    /// Name that the server's certificate has to be for; `None` for the name in the address.
    pub server_name: Option<String>,
}

/// A certificate, and the key that proves it is one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM file of the certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

/// The checked form; paths are relative to `directory`.
pub(super) fn auth(directory: &Path, raw: Option<file::Auth>) -> Auth {
    let raw = raw.unwrap_or_default();
    let path = |path: Option<String>| path.map(|path| directory.join(path));
    Auth {
        token: secret(directory, raw.token, raw.token_file),
        ca: path(raw.ca),
        identity: path(raw.certificate)
            .zip(path(raw.key))
            .map(|(certificate, key)| Identity { certificate, key }),
        server_name: raw.server_name,
    }
}

/// Checks the keys of `auth` against each other and against the address.
pub(super) fn check(name: &str, pipeline: &Value, problems: &mut Problems<'_>) {
    for peer in ["source", "notify"] {
        let Some(auth) = pipeline.get(peer).and_then(|peer| peer.get("auth")) else {
            continue;
        };
        let at = |key| ["pipelines", name, peer, "auth", key];
        let has = |key: &str| auth.get(key).is_some();
        if has("token") && has("token_file") {
            let hint = "keep one of them".to_owned();
            problems.add(&at("token_file"), "`token` is given as well", Some(hint));
        }
        for (one, other) in [("certificate", "key"), ("key", "certificate")] {
            if has(one) && !has(other) {
                let hint = format!("name the PEM file of the {other} as `{other}`");
                problems.add(
                    &at(one),
                    format!("is of no use without `{other}`"),
                    Some(hint),
                );
            }
        }
        let address = pipeline.pointer(&format!("/{peer}/grpc"));
        let address = address.and_then(Value::as_str).unwrap_or("https://");
        for key in ["ca", "certificate", "key", "server_name"] {
            if has(key) && !address.starts_with("https://") {
                let message = format!("has no effect: {peer}.grpc does not begin with https://");
                problems.add(
                    &at(key),
                    message,
                    Some("write https://host:port there".into()),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use insta::assert_snapshot;

    use super::*;
    use crate::config::{Config, ConfigError, Transport};

    fn parse(grpc: &str, keys: &str) -> Result<Auth, ConfigError> {
        let text = format!(
            "[pipelines.p]\ntables = [\"t\"]\n[pipelines.p.source]\ngrpc = \"{grpc}\"\ndataset = \"d\"\n[pipelines.p.source.auth]\n{keys}"
        );
        let variable = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
        let config = Config::parse(Path::new("conf/forebay.toml"), &text, &variable)?;
        let source = config.pipelines.into_iter().next().unwrap().source;
        match source.transport {
            Transport::Grpc(grpc) => Ok(grpc.auth),
            Transport::Files(_) => Ok(Auth::default()),
        }
    }

    #[test]
    fn f3_every_form_is_understood() {
        let auth = parse("http://h:1", "token = \"${TOKEN}\"").unwrap();
        assert_eq!(auth.token, Some(Secret::Text("s3cret".into())));
        assert!(!format!("{auth:?}").contains("s3cret"), "{auth:?}");

        let keys = "token_file = \"/run/token\"\nca = \"ca.pem\"\ncertificate = \"me.pem\"\nkey = \"me.key\"\nserver_name = \"rows.internal\"";
        let same = keys.replace(
            "token_file = \"/run/token\"",
            "token = \"${file:/run/token}\"",
        );
        let expected = Auth {
            token: Some(Secret::File("/run/token".into())),
            ca: Some("conf/ca.pem".into()),
            identity: Some(Identity {
                certificate: "conf/me.pem".into(),
                key: "conf/me.key".into(),
            }),
            server_name: Some("rows.internal".into()),
        };
        assert_eq!(parse("https://h:1", keys).unwrap(), expected);
        assert_eq!(parse("https://h:1", &same).unwrap(), expected);
    }

    #[test]
    fn f3_keys_without_an_effect_are_problems() {
        let mut said = String::new();
        for (grpc, keys) in [
            ("https://h:1", "token = \"${TOKEN}\"\ntoken_file = \"t\""),
            ("https://h:1", "key = \"me.key\""),
            ("http://h:1", "ca = \"ca.pem\""),
            ("http://h:1", "tokn = \"${TOKEN}\""),
            ("http://h:1", "token = \"${NO_TOKEN}\""),
            ("http://h:1", "token = \"Bearer ${file:t}\""),
            ("https://h:1", "ca = \"${file:t}\""),
            ("http://h:1", "token = \"${file:t}\"\ntoken_file = \"t\""),
        ] {
            said += &format!("{}\n", parse(grpc, keys).unwrap_err());
        }
        assert!(!said.contains("s3cret"), "{said}");
        assert_snapshot!(said, @r#"
        conf/forebay.toml:8: pipelines.p.source.auth.token_file: `token` is given as well
          hint: keep one of them
        conf/forebay.toml:7: pipelines.p.source.auth.key: is of no use without `certificate`
          hint: name the PEM file of the certificate as `certificate`
        conf/forebay.toml:7: pipelines.p.source.auth.ca: has no effect: source.grpc does not begin with https://
          hint: write https://host:port there
        conf/forebay.toml:7: pipelines.p.source.auth.tokn: unknown key
          hint: did you mean `token`?
        conf/forebay.toml:7: pipelines.p.source.auth.token: the environment variable NO_TOKEN is not set
          hint: set NO_TOKEN, or write the value here
        conf/forebay.toml:7: pipelines.p.source.auth.token: has more than `${file:…}`: a file holds the whole secret
          hint: write everything into the file
        conf/forebay.toml:7: pipelines.p.source.auth.ca: takes no `${file:…}`: only secrets are read from files
          hint: these are database.url, database.password, and `token` of an `auth`
        conf/forebay.toml:8: pipelines.p.source.auth.token_file: `token` names a file as well
          hint: keep one of them
        "#);
    }
}
