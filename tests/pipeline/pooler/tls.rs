//! TLS to a PgBouncer: each `sslmode`, certificates of either side, and a password within.

use std::fs;
use std::path::Path;

use support::{Recruit, Security};

use super::{Pooler, go_through, program};

/// Settings for TLS with a certificate of `authority`; `more` settings name files of it.
fn secured(authority: &str, more: &str) -> impl FnOnce(&Path) -> String {
    let (files, more) = (Security::file(authority), more.to_owned());
    move |directory| {
        for name in ["ca.pem", "server.pem", "server.key"] {
            fs::copy(files.join(name), directory.join(name)).unwrap();
        }
        let directory = directory.display();
        format!(
            "client_tls_sslmode = require\nclient_tls_cert_file = {directory}/server.pem\n\
             client_tls_key_file = {directory}/server.key\n{}",
            more.replace("DIRECTORY", &directory.to_string())
        )
    }
}

/// The URL of the pooler with other parameters, and perhaps a password.
fn url(pooler: &Pooler, password: &str, parameters: &str) -> String {
    let url = pooler
        .tcp()
        .replace("forebay@", &format!("forebay{password}@"));
    url.replace("sslmode=disable", parameters)
}

fn root(file: &str) -> String {
    format!("sslrootcert={}", Security::file(file).display())
}

fn identity(directory: &str) -> String {
    let file = |name: &str| Security::file(directory).join(name).display().to_string();
    format!(
        "sslcert={}&sslkey={}",
        file("client.pem"),
        file("client.key")
    )
}

/// Connects and makes the host's own tables, or says why not.
fn connect(recruit: &Recruit, url: &str, says: Option<&str>) {
    recruit.configure("");
    go_through(&recruit.home, url);
    let ended = recruit.home.start_command(&["migrate"], "").wait();
    match says {
        None => drop(ended.exit(0)),
        Some(says) => {
            ended.said(says);
            ended.exit(1);
        }
    }
}

#[tokio::test]
async fn a_server_is_known_by_its_certificate() {
    let Some(program) = program() else { return };
    let recruit = Recruit::new().await;
    let start = |authority| {
        let secured = secured(authority, "");
        Pooler::start_with(&program, &recruit.home.database.url, "session", 0, secured)
    };
    let pooler = start("database");
    let connect = |pooler, parameters: &str, says| {
        connect(&recruit, &url(pooler, "", parameters), says);
    };
    let (own, strange) = (root("database/ca.pem"), root("ca.pem"));
    connect(&pooler, "sslmode=prefer", None);
    connect(&pooler, "sslmode=require", None);
    connect(&pooler, &format!("sslmode=verify-ca&{own}"), None);
    connect(&pooler, &format!("sslmode=verify-full&{own}"), None);
    connect(&pooler, "sslmode=disable", Some("SSL required"));
    let unknown = Some("sslrootcert in database.url");
    connect(&pooler, &format!("sslmode=verify-ca&{strange}"), unknown);
    connect(&pooler, &format!("sslmode=verify-full&{strange}"), unknown);

    // Its certificate is for `rows.test`.
    let elsewhere = start("");
    connect(&elsewhere, "sslmode=require", None);
    connect(&elsewhere, &format!("sslmode=verify-ca&{strange}"), None);
    let name = Some("write the name of its certificate as host");
    connect(&elsewhere, &format!("sslmode=verify-full&{strange}"), name);

    // The whole way.
    recruit.configure("");
    let strict = format!("sslmode=verify-full&{own}");
    go_through(&recruit.home, &url(&pooler, "", &strict));
    let ended = recruit.home.run();
    ended.said("TCP_NODELAY is set");
    ended.done();
    recruit.assert_undisturbed("TLS").await;
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate_or_its_password() {
    let Some(program) = program() else { return };
    let recruit = Recruit::new().await;
    let start = |more| {
        let secured = secured("database", more);
        Pooler::start_with(&program, &recruit.home.database.url, "session", 0, secured)
    };
    let certified =
        start("client_tls_sslmode = verify-full\nclient_tls_ca_file = DIRECTORY/ca.pem");
    let full = format!("sslmode=verify-full&{}", root("database/ca.pem"));
    let (own, strange) = (identity("database"), identity(""));
    connect(
        &recruit,
        &url(&certified, "", &format!("{full}&{own}")),
        None,
    );
    let refused = Some("sslcert and sslkey in database.url name the files");
    connect(&recruit, &url(&certified, "", &full), refused);
    connect(
        &recruit,
        &url(&certified, "", &format!("{full}&{strange}")),
        refused,
    );

    let list = "auth_type = scram-sha-256\nauth_file = DIRECTORY/users";
    let secured = secured("database", list);
    let secured = |directory: &Path| {
        fs::write(directory.join("users"), "\"forebay\" \"s3cret\"\n").unwrap();
        secured(directory)
    };
    let url_of = &recruit.home.database.url;
    let closed = Pooler::start_with(&program, url_of, "session", 0, secured);
    connect(&recruit, &url(&closed, ":s3cret", &full), None);
    let failed = Some("authentication failed");
    connect(&recruit, &url(&closed, ":other", &full), failed);
}
