//! Servers with protos of their own, in Python, by configuration alone: their rows arrive as they are,
//! a bad one costs itself, and a host that is killed comes to what an undisturbed one comes to.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use insta::assert_snapshot;
use nix::sys::signal::Signal;
use support::{Home, State, root};

use super::sample_servers::PYTHON;

const ROWS: u64 = 600;

/// A server that has all three services, ended with its test.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(home: &Home) -> Self {
        let descriptors = home.path().join("protos.binpb");
        let files = ["recruit", "market", "documents", "reflection"];
        let mut compiler = protox::Compiler::new([protos()]).unwrap();
        compiler.include_imports(true);
        compiler
            .open_files(files.map(|file| format!("{file}.proto")))
            .unwrap();
        std::fs::write(&descriptors, compiler.encode_file_descriptor_set()).unwrap();
        let mut process = Command::new(&*PYTHON)
            .arg(protos().join("server.py"))
            .arg(&descriptors)
            .arg(ROWS.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let url = first.strip_prefix("listening on ").unwrap().to_owned();
        Self { process, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn protos() -> PathBuf {
    root().join("tests/languages/protos")
}

/// A case: its tables, and its pipeline without the address.
struct Case {
    ddl: &'static str,
    tables: &'static [&'static str],
    pipeline: &'static str,
}

const RECRUIT: Case = Case {
    ddl: "create table recruit (id uuid primary key, company_name text not null, exp_years int not null,
              english_level text, primary_keyword text, vector vector(8) not null)",
    tables: &["recruit"],
    pipeline: r#"
        [pipelines.recruit]
        tables = ["recruit"]
        plugins = []
        [pipelines.recruit.source]
        grpc = "GRPC"
        method = "EmbeddingStreamService/StreamEmbedding"
        proto = "PROTOS/recruit.proto"
        position = { request = "last_processed_uuid" }
        chunk_size = "chunk_size"
        chunk_rows = 50"#,
};

const MARKET: Case = Case {
    ddl: "create table posting (id bigint primary key, title text not null, description text not null,
              tags text[] not null, title_vector vector(4) not null, text_vector vector(6) not null);
          create table candidate (id bigint primary key, name text not null check (name <> ''), level text not null,
              contacts jsonb not null);
          create table candidate_vectors (id bigint primary key references candidate, profile vector(5) not null,
              wishes halfvec(3) not null);
          create table candidate_skill (candidate_id bigint references candidate, name text, years int,
              primary key (candidate_id, name))",
    tables: &["posting", "candidate", "candidate_vectors", "candidate_skill"],
    pipeline: r#"
        [pipelines.market]
        plugins = []
        [pipelines.market.source]
        grpc = "GRPC"
        method = "Export"
        descriptors = "protos.binpb"
        position = { field = "resume_token", request = "after" }
        [pipelines.market.source.rows]
        postings = "posting"
        candidates = ["candidate", "candidate_vectors"]
        skills = "candidate_skill"
        [pipelines.market.source.key]
        skills = ["candidate_id", "name"]"#,
};

const DOCUMENTS: Case = Case {
    ddl: "create table document (name text primary key, body text, lang text, author text, created timestamptz,
              embedding vector(4) not null)",
    tables: &["document"],
    pipeline: r#"
        [pipelines.documents]
        tables = ["document"]
        plugins = []
        [pipelines.documents.source]
        grpc = "GRPC"
        method = "docs.v1.Documents/ListDocuments"
        reflection = true
        key = "name"
        fields = { lang = "meta.lang", author = "meta.author" }
        embeddings = { embedding = "embedding.values" }
        deleted = "withdrawn"
        position = { field = "next_page_token", request = "page_token" }
        request = { tenant = "acme" }
        chunk_size = "page_size"
        chunk_rows = 64"#,
};

impl Case {
    async fn home(&self, server: Option<&Server>) -> (Home, Option<Server>) {
        let home = Home::new().await;
        home.database.execute(self.ddl).await;
        let (url, new) = match server {
            Some(server) => (server.url.clone(), None),
            None => {
                let server = Server::start(&home);
                (server.url.clone(), Some(server))
            }
        };
        if new.is_none() {
            // Each home has its own descriptors.
            drop(Server::start(&home));
        }
        let protos = protos();
        let pipeline = self.pipeline.replace("GRPC", &url);
        home.configure(&pipeline.replace("PROTOS", protos.to_str().unwrap()));
        (home, new)
    }

    async fn state(&self, home: &Home) -> State {
        State::of(&home.database, self.tables).await
    }

    /// Kills a host at each of these points, starts another one, and compares.
    async fn survives(&self, server: &Server, undisturbed: &State, points: &[(&str, u32)]) {
        for (point, passage) in points {
            let (home, _) = self.home(Some(server)).await;
            let faults = format!("{point}={}*off->return", passage - 1);
            let ended = home.start(&faults).wait();
            let killed = ended.status.signal() == Some(Signal::SIGKILL as i32);
            assert!(killed, "{point} {passage}: {}\n{}", ended.status, ended.log);
            home.run().done();
            let what = format!("killed at passage {passage} of {point}");
            undisturbed.assert_same(&self.state(&home).await, &what);
        }
    }
}

const POINTS: [(&str, u32); 6] = [
    ("stream.open", 1),
    ("chunk.received", 4),
    ("write.table", 5),
    ("commit.before", 3),
    ("commit.after", 5),
    ("partition.complete", 1),
];

async fn codes(home: &Home) -> String {
    let query = "select stage || ' ' || code || ' ' || count(*) from forebay.dead_letter
        group by stage, code order by 1";
    home.database.texts(query).await.join("\n")
}

#[tokio::test]
async fn a_stream_goes_on_after_the_key_of_its_last_row() {
    let (home, server) = RECRUIT.home(None).await;
    let report = home.run().done();
    assert_eq!(report["rows"]["received"], ROWS);
    assert_snapshot!(codes(&home).await, @"
    decode EMBEDDING_DIMENSIONS 7
    decode EMBEDDING_NOT_FINITE 7
    decode KEY_INVALID 8
    ");
    let query = "select id || ' ' || company_name || ' ' || exp_years || ' [' || english_level || '] ' || vector
        from recruit order by id limit 2";
    assert_snapshot!(home.database.texts(query).await.join("\n"), @"
    00000000-0000-0000-0000-000000000001 Company 0 0 [] [-0.98,-0.84,-0.7,-0.56,-0.42,-0.28,-0.14,0]
    00000000-0000-0000-0000-000000000002 Company 1 1 [basic] [-0.36,-0.22,-0.08,0.06,0.2,0.34,0.48,0.62]
    ");
    let undisturbed = RECRUIT.state(&home).await;
    RECRUIT
        .survives(server.as_ref().unwrap(), &undisturbed, &POINTS)
        .await;
    // What is there already is not written again.
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 0);
    assert_eq!(report["rows"]["updated"], 0);
}

#[tokio::test]
async fn pages_are_read_to_the_last_one() {
    let (home, server) = DOCUMENTS.home(None).await;
    let report = home.run().done();
    assert_eq!(report["rows"]["received"], ROWS);
    let query = "select name || ' ' || lang || ' ' || coalesce(author, '-') || ' ' || (created at time zone 'UTC') || ' ' || embedding
        from document where name in ('doc-0', 'doc-599', 'doc-7', 'doc-49') order by name";
    assert_snapshot!(home.database.texts(query).await.join("\n"), @"
    doc-0 en - 2023-11-14 22:13:20 [-0.88,-0.74,-0.6,-0.46]
    doc-7 de Author 7 2023-11-14 22:13:27 [-0.58,-0.44,-0.3,-0.16]
    ");
    let undisturbed = DOCUMENTS.state(&home).await;
    DOCUMENTS
        .survives(server.as_ref().unwrap(), &undisturbed, &POINTS)
        .await;
}

#[tokio::test]
async fn a_oneof_of_kinds_goes_to_a_table_each() {
    let (home, server) = MARKET.home(None).await;
    let report = home.run().done();
    assert_eq!(report["rows"]["received"], 3 * ROWS);
    assert_snapshot!(codes(&home).await, @"
    decode EMBEDDING_RANGE 12
    write SQL_23503 58
    write SQL_23514 9
    ");
    let counts =
        "select (select count(*) from posting) || ' ' || (select count(*) from candidate) || ' ' ||
        (select count(*) from candidate_vectors) || ' ' || (select count(*) from candidate_skill)";
    assert_snapshot!(home.database.texts(counts).await.join("\n"), @"600 579 579 576");
    let query = "select c.id || ' ' || level || ' ' || contacts || ' ' || profile || ' ' ||
            coalesce(years::text, '-') from candidate c join candidate_vectors using (id)
            join candidate_skill on candidate_id = c.id where c.id = 1 order by candidate_skill.name";
    assert_snapshot!(home.database.texts(query).await.join("\n"), @r#"
    1 LEVEL_JUNIOR {"city": "Berlin", "mail": "1@example.org"} [-0.3,-0.16,-0.02,0.12,0.26] 3
    1 LEVEL_JUNIOR {"city": "Berlin", "mail": "1@example.org"} [-0.3,-0.16,-0.02,0.12,0.26] -
    1 LEVEL_JUNIOR {"city": "Berlin", "mail": "1@example.org"} [-0.3,-0.16,-0.02,0.12,0.26] 5
    "#);
    let undisturbed = MARKET.state(&home).await;
    MARKET
        .survives(server.as_ref().unwrap(), &undisturbed, &POINTS)
        .await;
    let report = home.run().done();
    assert_eq!(report["rows"]["inserted"], 0);
    assert_eq!(report["rows"]["updated"], 0);
}
