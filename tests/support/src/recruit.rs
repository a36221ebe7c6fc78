//! The recruit pipeline with its sample servers, small enough to run often: what a test
//! disturbs, and what it must come to nevertheless.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay::demo::api_server::ApiServer;
use forebay::demo::dataset::Dataset;
use forebay::demo::running::Running;
use forebay::demo::{api_server, embedding_server};
use tokio::sync::OnceCell;

use crate::{Home, Over, State, anywhere};

/// Has every kind of dirt, and rows that are revised in later chunks.
const ROWS: u64 = 1_500;
const DIMENSIONS: usize = 8;

/// What a run comes to that nothing disturbs.
static UNDISTURBED: OnceCell<State> = OnceCell::const_new();

/// A source, an API server, and a home whose configuration names them.
pub struct Recruit {
    /// Configured for both servers.
    pub home: Home,
    /// What the source sends.
    pub dataset: Arc<Dataset>,
    /// The embedding server.
    pub source: Running,
    /// The API server.
    pub api: ApiServer,
}

impl Recruit {
    /// With a source that does not break.
    pub async fn new() -> Self {
        Self::breaking(&[]).await
    }

    /// With the database over this way to it.
    pub async fn over(over: Over) -> Self {
        Self::breaking_over(over, &[]).await
    }

    /// With a source whose n-th stream breaks after the n-th number of chunks.
    pub async fn breaking(after: &[u64]) -> Self {
        Self::breaking_over(Over::Unix, after).await
    }

    async fn breaking_over(over: Over, after: &[u64]) -> Self {
        // Before this test has a database of its own: all could wait for one more.
        UNDISTURBED
            .get_or_init(|| async {
                let recruit = Self::start(Over::Unix, &[]).await;
                recruit.home.run().done();
                recruit.state().await
            })
            .await;
        Self::start(over, after).await
    }

    async fn start(over: Over, after: &[u64]) -> Self {
        let dataset = Arc::new(Dataset::new(ROWS, DIMENSIONS).unwrap().with_revisions());
        let after = after.iter().copied();
        let source =
            embedding_server::start_breaking(Arc::clone(&dataset), anywhere(), after).unwrap();
        let recruit = Self {
            home: Home::recruit_over(over, DIMENSIONS).await,
            dataset,
            source,
            api: api_server::start(anywhere()).unwrap(),
        };
        recruit.configure("");
        recruit
    }

    /// Configures the pipeline anew, with more keys.
    pub fn configure(&self, more: &str) {
        let notify = self.notify();
        self.home
            .configure_recruit(&self.source.url(), &format!("{notify}\n{more}"));
    }

    fn notify(&self) -> String {
        let api = self.api.url();
        format!("notify = {{ grpc = \"{api}\", target = \"recruit\" }}")
    }

    /// The key of the clean row at `index` or soon after it.
    pub fn clean_key(&self, index: u64) -> String {
        let index = (index..).find(|index| self.dataset.dirt(*index).is_none());
        self.dataset.row(index.unwrap()).key
    }

    /// Everything that must be the same.
    pub async fn state(&self) -> State {
        State::recruit(&self.home.database).await
    }

    /// Asserts that everything is as after a run that nothing disturbed, and that the API server
    /// knows.
    pub async fn assert_undisturbed(&self, what: &str) {
        let undisturbed = UNDISTURBED.get().unwrap();
        undisturbed.assert_same(&self.state().await, what);
        let expected = self.dataset.expected();
        let calls = self.api.received();
        // A run that was stopped has told what it had done. An identity stands for the same rows at
        // every attempt.
        let told: BTreeMap<_, _> = calls
            .iter()
            .map(|call| (&call.notification_id, call.changed_rows))
            .collect();
        assert!(
            calls
                .iter()
                .all(|call| told[&call.notification_id] == call.changed_rows),
            "{what}: {calls:?}"
        );
        let changed: u64 = told.values().sum();
        assert_eq!(changed, expected.inserted + expected.updated, "{what}");
    }
}
