//! Secrets are shown nowhere, and may be renewed while the host is at work.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use sqlx::AssertSqlSafe;
use support::{As, Cache, Home, Scripted, Security, Server, guests, nowhere, rows};

use super::sources::{items, script};

const TOKEN: &str = "t0ken-of-the-source";
const WRONG_TOKEN: &str = "wr0ng-token";
/// Has what has to be percent-encoded in a URL.
const PASSWORD: &str = "p@ss/w%rd of:mine?";
const ENCODED: &str = "p%40ss%2Fw%25rd%20of%3Amine%3F";
const WRONG_PASSWORD: &str = "wr0ng-password";

/// Keys of `auth` for the certificate of the server.
fn trusting() -> String {
    let ca = Security::file("ca.pem");
    format!("ca = {ca:?}\nserver_name = \"rows.test\"\n")
}

/// A source and an API server that want a token and a certificate, and a database that wants a
/// password.
struct Stage {
    home: Home,
    server: Server,
    source: Scripted,
    api: Cache,
    /// Everything that was shown, with what it is.
    shown: Vec<(String, String)>,
}

impl Stage {
    async fn new() -> Self {
        let server = Server::new().await;
        server
            .execute(&format!(
                "create table items (id int primary key, number int check (number <> 2), vector vector(2));
                 create role loader login superuser password '{PASSWORD}'"
            ))
            .await;
        server.ask_for_passwords().await;
        let security = Security {
            token: Some(TOKEN),
            certificate: true,
        };
        let mut home = items().await;
        home.environment = vec![
            ("DB_PASSWORD", PASSWORD.to_owned()),
            ("SOURCE_TOKEN", TOKEN.to_owned()),
        ];
        fs::write(home.path().join("token"), format!("{TOKEN}\n")).unwrap();
        fs::write(home.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        Self {
            home,
            server,
            source: script().chunk(rows(1..=5)).serve_secured(&security),
            api: Cache::secured(&security),
            shown: Vec::new(),
        }
    }

    /// `database` has keys of that table, and `token` is the value of `auth.token`.
    fn configure(&self, database: &str, token: &str, auth: &str) {
        let (certificate, key) = (Security::file("client.pem"), Security::file("client.key"));
        let (source, api) = (self.source.url(), self.api.url());
        let auth =
            format!("token = {token:?}\ncertificate = {certificate:?}\nkey = {key:?}\n{auth}");
        let plugins = guests("plugins");
        let text = format!(
            "plugins.directory = {plugins:?}\nretry.give_up_after = \"100ms\"\n[database]\n{database}\n\
             [serve]\nlisten = \"127.0.0.1:0\"\n
             [pipelines.rows]\ntables = [\"items\"]\nplugins = []\nschedule = \"0 0 2 1 1 ?\"\n
             [pipelines.rows.source]\ngrpc = \"{source}\"\ndataset = \"rows\"\n
             [pipelines.rows.source.auth]\n{auth}
             [pipelines.rows.notify]\ngrpc = \"{api}\"\ntarget = \"items\"\n
             [pipelines.rows.notify.auth]\n{auth}"
        );
        fs::write(self.home.path().join("forebay.toml"), text).unwrap();
    }

    /// Runs a command with everything in its log; returns its exit code.
    fn command(&mut self, arguments: &[&str]) -> Option<i32> {
        let arguments = [arguments, &["--log", "trace"]].concat();
        let ended = self.home.start_command(&arguments, "").wait();
        let what = arguments.join(" ");
        self.shown.push((format!("log of {what}"), ended.log));
        self.shown.push((format!("output of {what}"), ended.stdout));
        ended.status.code()
    }

    /// Everything that the schema `forebay` holds.
    async fn dump(&mut self) {
        let mut connection = self.server.connect().await;
        let tables: Vec<String> = sqlx::query_scalar(
            "select oid::regclass::text from pg_class
             where relnamespace = 'forebay'::regnamespace and relkind = 'r'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        assert!(tables.len() > 5, "{tables:?}");
        let mut dump = String::new();
        for table in tables {
            let rows = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t");
            let rows: String = sqlx::query_scalar(AssertSqlSafe(rows))
                .fetch_one(&mut connection)
                .await
                .unwrap();
            dump += &format!("{table}: {rows}\n");
        }
        self.shown.push(("the schema forebay".to_owned(), dump));
    }

    /// Asserts that no secret was shown, in whatever form.
    fn assert_secret(&self) {
        let key = fs::read_to_string(Security::file("client.key")).unwrap();
        let key = key.lines().nth(1).unwrap();
        let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
        let bytes = format!("{:?}", TOKEN.as_bytes());
        let bytes = bytes.trim_matches(['[', ']']);
        let secrets = [
            TOKEN,
            WRONG_TOKEN,
            PASSWORD,
            ENCODED,
            WRONG_PASSWORD,
            key,
            &hex,
            bytes,
            "ss/w%rd",
        ];
        for (what, text) in &self.shown {
            for secret in secrets {
                if let Some(at) = text.find(secret) {
                    let from = text[..at].rfind('\n').unwrap_or(0);
                    let line: String = text[from..].chars().take(600).collect();
                    panic!("{what} shows {secret:?}:{line}");
                }
            }
        }
    }
}

/// Asks an address for a page.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn secrets_are_shown_nowhere() {
    let mut stage = Stage::new().await;
    let url = stage.server.url("loader");
    let with_password = url.replacen(
        "postgres:///",
        &format!("postgres://loader:{ENCODED}@localhost/"),
        1,
    );
    let in_query = format!("{url}&password={ENCODED}");
    let auth = trusting();
    fs::write(stage.home.path().join("url"), &with_password).unwrap();

    // Everything that goes well, in each form.
    let of_key = format!("url = \"{url}\"\npassword = \"${{DB_PASSWORD}}\"");
    let of_file = format!("url = \"{url}\"\npassword = \"${{file:password}}\"");
    for (database, token) in [
        (format!("url = \"{with_password}\""), TOKEN),
        (format!("url = \"{in_query}\""), "${SOURCE_TOKEN}"),
        ("url = \"${file:url}\"".to_owned(), "${file:token}"),
        (of_key.clone(), "${file:token}"),
        (of_file.clone(), "${file:token}"),
        (format!("url = \"{url}\"\npassword = \"{PASSWORD}\""), TOKEN),
    ] {
        stage.configure(&database, token, &auth);
        assert_eq!(
            stage.command(&["check"]),
            Some(0),
            "{database}: {:?}",
            stage.shown
        );
        assert_eq!(stage.command(&["run"]), Some(0), "{database}");
    }
    for command in [
        &["check", "--json", "--rows", "3"][..],
        &["run", "--json", "--report", "report.json"],
        &["verify", "rows"],
        &["migrate", "--grants", "loader", "--json"],
        &["dlq", "list", "--json"],
        &["checkpoint", "show", "rows"],
    ] {
        stage.command(command);
    }
    let report = fs::read_to_string(stage.home.path().join("report.json")).unwrap();
    assert!(report.contains("dead_lettered"), "{report}");
    stage.shown.push(("the report".to_owned(), report));

    // A host at work.
    let mut serving = stage.home.start_command(&["serve", "--log", "debug"], "");
    let mut line = String::new();
    while !line.contains("listening: http://") {
        line = serving.next_line().unwrap();
    }
    let address = line.split("listening: http://").nth(1).unwrap();
    let address = address.split('/').next().unwrap().to_owned();
    for path in ["/metrics", "/health", "/readyz", "/livez"] {
        stage.shown.push((path.to_owned(), get(&address, path)));
    }
    let process = fs::read(format!("/proc/{}/cmdline", serving.id())).unwrap();
    let process = String::from_utf8_lossy(&process).into_owned();
    stage.shown.push(("ps".to_owned(), process));
    serving.signal(Signal::SIGTERM);
    let served = serving.wait();
    stage.shown.push(("serve".to_owned(), served.log));

    // Everything that goes wrong.
    let nobody = nowhere();
    let wrong_url = with_password.replace(ENCODED, WRONG_PASSWORD);
    let refused = format!("postgres://loader:{ENCODED}@{nobody}/forebay");
    let broken = with_password.replace("5432", &format!("{PASSWORD}&port=no"));
    let unencoded = format!("postgres://loader:{PASSWORD}@localhost:5432/forebay");
    let certificate = Security::file("client.key");
    for (database, token, auth) in [
        (format!("url = \"{wrong_url}\""), TOKEN, auth.clone()),
        (
            format!("url = \"{url}\"\npassword = \"{WRONG_PASSWORD}\""),
            TOKEN,
            auth.clone(),
        ),
        (format!("url = \"{refused}\""), TOKEN, auth.clone()),
        (
            format!("url = \"{refused}?sslmode=verify-full&sslkey=x\""),
            TOKEN,
            auth.clone(),
        ),
        (format!("url = \"{broken}\""), TOKEN, auth.clone()),
        (format!("url = \"{unencoded}\""), TOKEN, auth.clone()),
        (format!("url = \"{PASSWORD}\""), TOKEN, auth.clone()),
        (
            format!("url = \"{with_password}\"\npassword = \"{PASSWORD}\""),
            TOKEN,
            auth.clone(),
        ),
        (of_file.clone(), WRONG_TOKEN, auth.clone()),
        (of_file.clone(), "t0ken-of-the-source\u{7f}", auth.clone()),
        (of_file.clone(), TOKEN, format!("ca = {certificate:?}\n")),
        (of_file.clone(), TOKEN, String::new()),
        (
            of_file.clone(),
            TOKEN,
            format!("{auth}\nno_such_key = \"{TOKEN}\""),
        ),
    ] {
        stage.configure(&database, token, &auth);
        for command in ["check", "run"] {
            let code = stage.command(&[command]);
            assert!(
                matches!(code, Some(1 | 2)),
                "{database} {token} {auth}: {code:?}"
            );
        }
    }
    stage.server.stop();
    stage.configure(&of_file, TOKEN, &auth);
    stage.command(&["run"]);
    stage.server.start(As::Primary).await;
    stage.dump().await;
    stage.assert_secret();
}

#[tokio::test]
async fn a_password_is_renewed_on_both_sides_while_the_host_is_at_work() {
    let home = items().await;
    let mut server = Server::new().await;
    server
        .execute(
            "create table items (id int primary key, number int, vector vector(2));
             create role loader login superuser password 'first'",
        )
        .await;
    server.ask_for_passwords().await;
    let script = script().chunk(rows(1..=3)).chunk(rows(4..=6));
    let source = script.chunk(rows(7..=9)).serve();
    let file = home.path().join("password");
    fs::write(&file, "stale\n").unwrap();
    home.configure_with(
        &guests("plugins"),
        "database.password = \"${file:password}\"",
        &source.pipeline_with(&["items"], "plugins = []", 3, ""),
    );
    home.go_through(&server.url("loader"));

    // What the host does not know yet when it starts.
    let mut host = home.start("");
    host.until("renew it there");
    let mut lock = server.connect().await;
    sqlx::raw_sql("begin; insert into items values (5, 5, '[0,0]')")
        .execute(&mut lock)
        .await
        .unwrap();
    fs::write(&file, "first\n").unwrap();
    host.until("chunk committed");

    // Renewed at the server first, in the middle of the run.
    server.execute("alter role loader password 'second'").await;
    server.stop();
    server.start(As::Primary).await;
    host.until("password authentication failed");
    fs::write(&file, "second\n").unwrap();
    let report = host.wait().done();
    assert_eq!(report["starts"], 1);
    assert_eq!(report["rows"]["inserted"], 9);
}

#[tokio::test]
async fn a_token_that_has_expired_is_waited_for() {
    let home = items().await;
    let source = script().chunk(rows(1..=5)).serve_secured(&Security {
        token: Some(TOKEN),
        certificate: false,
    });
    let url = source.url();
    fs::write(home.path().join("token"), "expired\n").unwrap();
    home.configure(&format!(
        "[pipelines.rows]\ntables = [\"items\"]\nplugins = []\n
         [pipelines.rows.source]\ngrpc = \"{url}\"\ndataset = \"rows\"\n
         [pipelines.rows.source.auth]\ntoken = \"${{file:token}}\"\n{}",
        trusting()
    ));
    let mut host = home.start("");
    host.until("refuses the token: UNAUTHENTICATED: who are you? Not Bearer …");
    host.until("refuses the token");
    fs::write(home.path().join("token"), format!("{TOKEN}\n")).unwrap();
    assert_eq!(host.wait().done()["rows"]["inserted"], 5);
}

#[tokio::test]
async fn certificates_are_renewed_while_the_host_tries() {
    let home = items().await;
    let source = script().chunk(rows(1..=5)).serve_secured(&Security {
        token: None,
        certificate: true,
    });
    let url = source.url();
    // One that the source's authority has not issued for clients.
    let put = |name: &str, of: &str| fs::copy(Security::file(of), home.path().join(name)).unwrap();
    put("me.pem", "server.pem");
    put("me.key", "server.key");
    put("ca.pem", "client.pem");
    home.configure(&format!(
        "[pipelines.rows]\ntables = [\"items\"]\nplugins = []\n
         [pipelines.rows.source]\ngrpc = \"{url}\"\ndataset = \"rows\"\n
         [pipelines.rows.source.auth]\nca = \"ca.pem\"\nserver_name = \"rows.test\"\n
         certificate = \"me.pem\"\nkey = \"me.key\""
    ));
    let mut host = home.start("");
    host.until("its certificate is not of an authority that this machine knows");
    put("ca.pem", "ca.pem");
    host.until("trying again");
    put("me.pem", "client.pem");
    put("me.key", "client.key");
    assert_eq!(host.wait().done()["rows"]["inserted"], 5);
}
