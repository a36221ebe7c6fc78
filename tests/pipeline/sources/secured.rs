//! Sources and API servers that want to know who calls, over TLS with an authority of their own.

use support::{Cache, Home, Script, Scripted, Security, guests, rows};

use super::{items, script};

const TOKEN: &str = "s3cret";

fn source(security: &Security) -> Scripted {
    script().chunk(rows(1..=5)).serve_secured(security)
}

/// Keys of `auth` for the certificate of the server.
fn trusting() -> String {
    let ca = Security::file("ca.pem");
    format!("ca = {ca:?}\nserver_name = \"rows.test\"\n")
}

fn configure(home: &Home, source: &Scripted, auth: &str) {
    let url = source.url();
    home.configure_with(
        &guests("plugins"),
        "retry.give_up_after = \"100ms\"",
        &format!(
            "[pipelines.rows]\ntables = [\"items\"]\nplugins = []\n
             [pipelines.rows.source]\ngrpc = \"{url}\"\ndataset = \"rows\"\n
             [pipelines.rows.source.auth]\n{auth}"
        ),
    );
}

#[tokio::test]
async fn f3_a_token_and_a_certificate_open_the_door() {
    let home = items().await;
    let security = Security {
        token: Some(TOKEN),
        certificate: true,
    };
    let source = source(&security);
    let (certificate, key) = (Security::file("client.pem"), Security::file("client.key"));
    let identity = format!("certificate = {certificate:?}\nkey = {key:?}\n");
    configure(
        &home,
        &source,
        &format!("{}{identity}token = \"{TOKEN}\"", trusting()),
    );
    let ended = home.run();
    assert!(!ended.log.contains(TOKEN), "{}", ended.log);
    assert_eq!(ended.done()["rows"]["inserted"], 5);

    // Without the certificate, and without the token.
    configure(
        &home,
        &source,
        &format!("{}token = \"{TOKEN}\"", trusting()),
    );
    let ended = home.run();
    // Whether its alert is seen before its end is a matter of chance.
    ended.said("hint: it may want a client certificate: see `source.auth.certificate`");
    ended.exit(1);
    configure(&home, &source, &format!("{}{identity}", trusting()));
    let ended = home.run();
    ended
        .said("UNAUTHENTICATED: who are you?")
        .said("hint: set `source.auth`");
    ended.exit(1);
}

#[tokio::test]
async fn f3_a_token_is_read_from_its_file_for_each_call() {
    let home = items().await;
    let source = source(&Security {
        token: Some(TOKEN),
        certificate: false,
    });
    let file = home.path().join("token");
    configure(
        &home,
        &source,
        &format!("{}token_file = \"token\"", trusting()),
    );
    let ended = home.run();
    ended
        .said("cannot read")
        .said("`source.auth.token_file` names it");
    ended.exit(1);
    std::fs::write(&file, "stale\n").unwrap();
    home.run().exit(1);
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    assert_eq!(home.run().done()["rows"]["inserted"], 5);
}

#[tokio::test]
async fn f3_files_that_are_no_certificates_are_said() {
    let home = items().await;
    let source = source(&Security::default());
    std::fs::write(home.path().join("ca.pem"), "no certificate").unwrap();
    for auth in [
        "ca = \"ca.pem\"".to_owned(),
        format!("{}certificate = \"ca.pem\"\nkey = \"ca.pem\"", trusting()),
    ] {
        configure(&home, &source, &auth);
        let ended = home.run();
        ended.said("source.auth");
        ended.exit(1);
    }
}

#[tokio::test]
async fn f3_notify_shows_its_token_as_well() {
    let home = items().await;
    let script: Script = script().chunk(rows(1..=5));
    let source = script.serve();
    let api = Cache::secured(&Security {
        token: Some(TOKEN),
        certificate: false,
    });
    let notify = |token: &str| {
        format!(
            "[pipelines.rows.notify]\ngrpc = \"{}\"\ntarget = \"items\"\n
             [pipelines.rows.notify.auth]\ntoken = \"{token}\"\n{}",
            api.url(),
            trusting()
        )
    };
    home.configure(&source.pipeline(&["items"], &notify("wrong")));
    let report = home.run().done();
    assert_eq!(report["notify"]["status"], "pending");
    let error = report["notify"]["error"].as_str().unwrap();
    assert!(
        error.starts_with("UNAUTHENTICATED: who are you?"),
        "{error}"
    );
    home.configure(&source.pipeline(&["items"], &notify(TOKEN)));
    assert_eq!(home.run().done()["notify"]["status"], "delivered");
}
