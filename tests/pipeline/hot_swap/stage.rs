//! What these tests share: a pipeline with `stamp`, and its versions.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use support::endless::{CHUNK, Endless};
use support::{Home, Host, guests};

/// A host, its database, its plugin directory and a source.
pub(crate) struct Stage {
    pub(crate) home: Home,
    pub(crate) source: Endless,
    pub(crate) plugins: PathBuf,
}

impl Stage {
    /// With version 0000 of `stamp` in the plugin directory; `more` are keys of the configuration.
    pub(crate) async fn new(more: &str) -> Self {
        Self::with(more, "plugins = [\"stamp\"]", "").await
    }

    /// With keys of the pipeline, and other pipelines.
    pub(crate) async fn with(more: &str, keys: &str, others: &str) -> Self {
        let home = Home::new().await;
        home.database
            .execute(
                "create table items (id bigint primary key, number bigint not null,
                     version text not null, vector vector(2) not null)",
            )
            .await;
        let plugins = home.only("stamp");
        let source = Endless::start(Duration::ZERO);
        let pipeline = format!(
            r#"
            [pipelines.rows]
            source = {{ grpc = "{}", dataset = "rows", chunk_rows = {CHUNK} }}
            {keys}
            tables = ["items"]
            dead_letter_limit = "100%"
            {}"#,
            source.url(),
            others.replace("SOURCE", &source.url())
        );
        home.configure_with(
            &plugins,
            &format!("plugins.limits = {{ deadline = \"200ms\" }}\n{more}"),
            &pipeline,
        );
        Self {
            home,
            source,
            plugins,
        }
    }

    /// The component of a version, as it was built.
    pub(crate) fn component(version: &str) -> Vec<u8> {
        let mut bytes = fs::read(guests("test-plugins").join("stamp.wasm")).unwrap();
        let here = b"version-0000";
        let place = bytes.windows(here.len()).position(|part| part == here);
        let place = place.unwrap() + here.len() - version.len();
        bytes[place..place + version.len()].copy_from_slice(version.as_bytes());
        bytes
    }

    /// Puts a version into the directory in one step.
    pub(crate) fn put(&self, version: &str) {
        self.put_bytes(&Self::component(version));
    }

    pub(crate) fn put_bytes(&self, bytes: &[u8]) {
        let part = self.plugins.join("stamp.wasm.part");
        fs::write(&part, bytes).unwrap();
        fs::rename(part, self.file()).unwrap();
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.plugins.join("stamp.wasm")
    }

    /// Waits until a row has met a version.
    pub(crate) async fn until_met(&self, host: &mut Host, version: &str) {
        loop {
            host.until("chunk committed");
            let met = format!("select count(*) from items where version = 'version-{version}'");
            if self.home.database.number(&met).await > 0 {
                return;
            }
        }
    }

    /// Waits until the ledger has a version in a state: what is logged is written there a moment
    /// later.
    pub(crate) async fn until_state(&self, host: &mut Host, version: &str, state: &str) {
        let wanted = format!("{version} {state}");
        while !self.states().await.contains(&wanted) {
            host.until("chunk committed");
        }
    }

    /// Lets the host come to its end; its report. Every row that was sent is accounted for, and
    /// no chunk has met two versions.
    pub(crate) async fn end(&self, host: Host) -> Value {
        self.source.end();
        let report = host.wait().done();
        self.assert_whole(&report).await;
        report
    }

    pub(crate) async fn assert_whole(&self, report: &Value) {
        let sent = self.source.sent();
        assert_eq!(report["rows"]["received"], sent, "{report:#}");
        let database = &self.home.database;
        let rows = database.number("select count(*) from items").await;
        let letters = database
            .number("select count(*) from forebay.dead_letter")
            .await;
        assert_eq!(u64::try_from(rows + letters).unwrap(), sent);
        let twice = "select count(*) from items i join forebay.dead_letter d on d.key = i.id::text";
        assert_eq!(database.number(twice).await, 0);
        self.assert_not_mixed().await;
    }

    /// Rows, dead letters, their queues and the digests of the ledger agree on one version for
    /// each chunk.
    async fn assert_not_mixed(&self) {
        let mixed = format!(
            "with met as (
                 select (id - 1) / {CHUNK} as chunk, version from items
                 union select (key::bigint - 1) / {CHUNK}, v.version from forebay.dead_letter d
                     join forebay.plugin_version v on v.digest = d.plugin_digest
                 union select (key::bigint - 1) / {CHUNK}, queue from forebay.dead_letter
                     where queue <> 'default'
                 union select (key::bigint - 1) / {CHUNK}, message from forebay.dead_letter
                     where stage = 'validate')
             select chunk || ': ' || string_agg(version, ', ') from met
             group by chunk having count(distinct version) > 1"
        );
        let mixed = self.home.database.texts(&mixed).await;
        assert!(mixed.is_empty(), "{mixed:?}");
        let unknown = "select count(*) from forebay.dead_letter d where plugin_digest is null
             or not exists (select from forebay.plugin_version v where v.digest = d.plugin_digest)";
        assert_eq!(self.home.database.number(unknown).await, 0);
    }

    /// Versions that rows have met, in order.
    pub(crate) async fn versions(&self) -> Vec<String> {
        let versions = "select distinct right(version, 4) from items order by 1";
        self.home.database.texts(versions).await
    }

    /// The states of all versions in the ledger, by version; a file that could not be loaded
    /// has none.
    pub(crate) async fn states(&self) -> Vec<String> {
        let states = "select right(version, 4) || ' ' || state from forebay.plugin_version order by version, 1";
        self.home.database.texts(states).await
    }

    /// A command that answers in JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let ended = self.home.start_command(&arguments, "").wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        serde_json::from_str(&ended.stdout).unwrap()
    }
}
