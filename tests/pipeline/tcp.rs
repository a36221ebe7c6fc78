//! Over TCP rows are written as over a Unix socket: what is new is copied, at full speed.

mod relay;

use forebay::proto::FieldType;
use support::{Database, Home, Over, Script, Scripted, WANTS_PASSWORD, rows};

/// Notes by which kind of statement rows come in.
const ITEMS: &str =
    "create table items (id int primary key, number int, vector vector(2) not null);
     create table writes (statement text not null);
     create function note() returns trigger language plpgsql as $$ begin
         insert into writes values (split_part(current_query(), ' ', 1)); return null;
     end $$;
     create trigger note after insert on items for each statement execute function note();";

async fn items(over: Over) -> Home {
    let home = Home::with(Database::over(over).await);
    home.database.execute(ITEMS).await;
    home
}

/// Several chunks, for several writers.
fn source() -> Scripted {
    source_of(6)
}

fn source_of(chunks: i64) -> Scripted {
    let script = Script::new(2, &[("number", FieldType::Integer)]);
    let chunks = (0..chunks).map(|chunk| rows(chunk * 10 + 1..=chunk * 10 + 10));
    chunks.fold(script, Script::chunk).serve()
}

async fn ways(home: &Home) -> Vec<String> {
    let ways = "select distinct statement from writes order by 1";
    home.database.texts(ways).await
}

#[tokio::test]
async fn new_rows_are_copied() {
    for over in [Over::Unix, Over::Tcp] {
        let home = items(over).await;
        let source = source();
        home.configure(&source.pipeline(&["items"], ""));
        let ended = home.run();
        // It is read back before that is said.
        let is_set = ended.log.contains("TCP_NODELAY is set");
        assert_eq!(is_set, over == Over::Tcp, "{}", ended.log);
        assert_eq!(ended.done()["rows"]["inserted"], 60);
        assert_eq!(ways(&home).await, ["copy"], "{over:?}");
    }
}

#[tokio::test]
async fn without_the_option_they_are_inserted() {
    let home = items(Over::Tcp).await;
    let source = source();
    home.configure(&source.pipeline(&["items"], "writers = 3"));
    let ended = home.start("store.no_delay=return").wait();
    let said =
        "TCP_NODELAY cannot be set on the connections to the database: new rows are inserted";
    assert_eq!(ended.log.matches(said).count(), 1, "{}", ended.log);
    assert_eq!(ended.done()["rows"]["inserted"], 60);
    let ways = ways(&home).await;
    assert!(
        !ways.is_empty() && !ways.contains(&"copy".to_owned()),
        "{ways:?}"
    );
}

#[tokio::test]
async fn a_role_with_a_password_shows_it() {
    let home = items(Over::Tcp).await;
    let role = format!("wants_password_{}", std::process::id());
    home.database
        .execute(&format!(
            "create role {role} superuser login password 's:3/cr@t' in role {WANTS_PASSWORD}"
        ))
        .await;
    let source = source();
    home.configure(&source.pipeline(&["items"], ""));
    let file = home.path().join("forebay.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let with = |shown: &str| {
        let url = home.database.tcp(&format!("{role}:{shown}"));
        std::fs::write(&file, config.replace(&home.database.url, &url)).unwrap();
        home.run()
    };
    let refused = with("s3cret");
    refused.said("password authentication failed");
    assert!(!refused.log.contains("s3cret"), "{}", refused.log);
    refused.exit(1);
    let ended = with("s%3A3%2Fcr%40t");
    assert!(!ended.log.contains("cr@t"), "{}", ended.log);
    assert_eq!(ended.done()["rows"]["inserted"], 60);
    assert_eq!(ways(&home).await, ["copy"]);
    home.database
        .execute(&format!(
            "reassign owned by {role} to current_user; drop role {role}"
        ))
        .await;
}

/// Over a network each costs its time: begin, look up, copy the rows and their digests (two each),
/// move the checkpoint, commit.
const ROUND_TRIPS: u64 = 8;

#[tokio::test]
async fn a_chunk_takes_few_round_trips() {
    let mut trips = Vec::new();
    for chunks in [4, 14] {
        let home = items(Over::Tcp).await;
        let source = source_of(chunks);
        home.configure(&source.pipeline(&["items"], "writers = 1"));
        // What is done once is done before.
        home.start_command(&["migrate"], "").wait().exit(0);
        let (address, counted) = relay::start(home.database.address);
        let file = home.path().join("forebay.toml");
        let config = std::fs::read_to_string(&file).unwrap();
        let server = format!("@{}/", home.database.address);
        assert!(config.contains(&server));
        std::fs::write(&file, config.replace(&server, &format!("@{address}/"))).unwrap();
        assert_eq!(home.run().done()["rows"]["inserted"], chunks * 10);
        trips.push(counted.trips());
    }
    let of_chunks = trips[1] - trips[0];
    assert!(of_chunks <= 10 * ROUND_TRIPS, "{of_chunks} for ten chunks");
}
