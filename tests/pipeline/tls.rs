//! A server that has TLS itself, and so offers to bind a password to its channel. The embedded one
//! has none: this is whatever PostgreSQL a package has installed, without pgvector. Skipped where
//! there is none.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use forebay::proto::FieldType;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor, PgConnection};
use support::{Home, Script, Security, as_nobody, nowhere, row, skip};
use tempfile::TempDir;

/// The role `forebay` has a certificate, others have passwords.
const RULES: &str = "local all all trust\n\
    hostssl all forebay all cert\n\
    hostssl all all all scram-sha-256\n";

/// The programs of the newest PostgreSQL that Debian's packages have installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let programs = versions.map(|version| version.unwrap().path().join("bin"));
    let newest = programs.filter(|bin| bin.join("initdb").is_file()).max();
    if newest.is_none() {
        skip("no PostgreSQL of a package is installed: apt-get install postgresql");
    }
    newest
}

struct Server {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
}

impl Server {
    fn start(programs: &Path) -> Self {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let (path, address) = (directory.path(), nowhere());
        for name in ["ca.pem", "server.pem", "server.key"] {
            let copied = path.join(name);
            fs::copy(Security::file("database").join(name), &copied).unwrap();
            fs::set_permissions(&copied, PermissionsExt::from_mode(0o600)).unwrap();
        }
        let mut initdb = Command::new(programs.join("initdb"));
        initdb.arg("-D").arg(path.join("data"));
        initdb.args([
            "--username=forebay",
            "--auth=trust",
            "--no-sync",
            "--locale=C",
            "-E",
            "UTF8",
        ]);
        as_nobody(&mut initdb, path);
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        fs::write(path.join("data/pg_hba.conf"), RULES).unwrap();
        let mut server = Command::new(programs.join("postgres"));
        server.arg("-D").arg(path.join("data")).arg("-k").arg(path);
        for setting in [
            format!("listen_addresses={}", address.ip()),
            format!("port={}", address.port()),
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", path.join("server.pem").display()),
            format!("ssl_key_file={}", path.join("server.key").display()),
            format!("ssl_ca_file={}", path.join("ca.pem").display()),
        ] {
            server.args(["-c", &setting]);
        }
        as_nobody(&mut server, path);
        let mut child = server
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let mut said = String::new();
        while !said.contains("ready to accept connections") {
            let line = lines.next();
            said += &line.unwrap_or_else(|| panic!("the server ended: {said}"));
            said.push('\n');
        }
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            directory,
            address,
        }
    }

    fn url(&self, role: &str, parameters: &str) -> String {
        let (address, root) = (self.address, Security::file("database/ca.pem"));
        let root = root.display();
        format!(
            "postgres://{role}@{address}/postgres?sslmode=verify-full&sslrootcert={root}{parameters}"
        )
    }

    /// A connection of the test.
    async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::new().socket(self.directory.path());
        let options = options.port(self.address.port()).username("forebay");
        options.database("postgres").connect().await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // With SIGKILL its children would outlive it for a moment.
        let process = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(process, Signal::SIGQUIT).unwrap();
        drop(self.child.wait());
    }
}

/// Whether the server takes the password only if it is bound to the channel, as libpq asks.
fn binds_channel(programs: &Path, url: &str) -> bool {
    let mut psql = Command::new(programs.join("psql"));
    psql.arg(format!("{url}&channel_binding=require"))
        .args(["-c", "select 1"]);
    psql.output().unwrap().status.success()
}

#[tokio::test]
async fn a_password_or_a_certificate_is_shown_within_tls() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let mut connection = server.connect().await;
    let set_up = "create role loader superuser login password 's3cret';
        create table items (id int primary key, number int);
        create table writes (statement text not null);
        create function note() returns trigger language plpgsql as $$ begin
            insert into writes values (split_part(current_query(), ' ', 1)); return null;
        end $$;
        create trigger note after insert on items for each statement execute function note();";
    connection.execute(set_up).await.unwrap();
    let home = Home::new().await;
    let script = Script::new(2, &[("number", FieldType::Integer)]);
    let script = script.described(|dataset| dataset.embeddings.clear());
    let one = |key: i64| row(&key.to_string(), &[]).without_embedding("vector");
    let source = script
        .chunk((1..=5).map(one))
        .chunk((6..=9).map(one))
        .serve();
    let run = |url: &str| {
        home.configure(&source.pipeline(&["items"], ""));
        let file = home.path().join("forebay.toml");
        let config = fs::read_to_string(&file).unwrap();
        fs::write(&file, config.replace(&home.database.url, url)).unwrap();
        home.run()
    };

    // The password goes unbound, to a server that would bind it as well.
    let url = server.url("loader:s3cret", "");
    assert!(binds_channel(&programs, &url));
    let ended = run(&format!("{url}&channel_binding=require"));
    ended.said("TCP_NODELAY is set").said("channel_binding");
    assert_eq!(ended.done()["rows"]["inserted"], 9);
    let refused = run(&server.url("loader:other", ""));
    refused.said("password authentication failed");
    refused.exit(1);
    let plain = url.replace("verify-full", "disable");
    let refused = run(&plain);
    refused.said("no pg_hba.conf entry");
    refused.exit(1);

    let file = |name: &str| Security::file("database").join(name).display().to_string();
    let identity = format!(
        "&sslcert={}&sslkey={}",
        file("client.pem"),
        file("client.key")
    );
    assert_eq!(
        run(&server.url("forebay", &identity)).done()["rows"]["unchanged"],
        9
    );
    let refused = run(&server.url("forebay", ""));
    refused.said("requires a valid client certificate");
    refused.exit(1);

    let ways = sqlx::query_scalar("select distinct statement from writes");
    let ways: Vec<String> = ways.fetch_all(&mut connection).await.unwrap();
    assert_eq!(ways, ["copy"]);
}
