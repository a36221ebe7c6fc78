//! A host that meets hostile components, and how that ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytestring::ByteString;
use forebay::config::Config;
use forebay::plugin::{Chain, Decision, Engine, Limits, Plugin, Runner, Setup};
use forebay::row::{Batch, Failure, Schema, Stage, Value};
use support::sandbox::{DEADLINE, MEMORY, batch, guest, schema};

use super::catalog::End;

/// Rows of a batch, of which [`EVIL`] has the key that sets hostile components off.
const ROWS: u32 = 16;
const EVIL: u32 = 5;

/// A configuration whose `[plugins]` the components meet instead of the small limits here.
const CONFIG: &str = "FOREBAY_HOSTILE_CONFIG";

/// Where the components are left, for who wants to look at them.
pub fn directory() -> PathBuf {
    let directory = support::target().join("hostile");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// What the host did about a component.
#[derive(Debug)]
pub enum Ended {
    Refused(String),
    Unsettled(String),
    Broken(String),
    /// The rows that failed, with code and message.
    Rows(Vec<(u32, String, String)>),
    /// What its policy was taken to have decided.
    Decided(Vec<Decision>),
}

impl Ended {
    /// Whether it had to end so.
    pub fn is(&self, end: &End) -> bool {
        match (self, end) {
            (Self::Refused(message), End::Refused(part))
            | (Self::Unsettled(message), End::Unsettled(part))
            | (Self::Broken(message), End::Broken(part)) => message.contains(part),
            (Self::Rows(rows), End::Row(code, part)) => match rows.as_slice() {
                [(row, its, message)] => *row == EVIL && its == code && message.contains(part),
                _ => false,
            },
            (Self::Rows(rows), End::Harmless(_)) => rows.is_empty(),
            (Self::Decided(decisions), End::DefaultQueue) => {
                let default = Decision::DeadLetter("default".to_owned());
                decisions.len() == 2 && decisions.iter().all(|decision| *decision == default)
            }
            _ => false,
        }
    }
}

/// An engine, and a good plugin.
pub struct Host {
    pub engine: Arc<Engine>,
    good: Arc<Plugin>,
    schema: Arc<Schema>,
}

impl Host {
    /// With the limits of the configuration that the environment names, or else small ones.
    pub fn new() -> Self {
        let engine = match std::env::var_os(CONFIG) {
            Some(path) => {
                let plugins = Config::load(Path::new(&path)).unwrap().plugins;
                Engine::with(Setup {
                    limits: plugins.limits,
                    own_limits: plugins.own_limits,
                    permissions: plugins.permissions,
                    ..Setup::default()
                })
            }
            None => Engine::new(small(), None),
        };
        let engine = engine.unwrap();
        let good = engine.load(&guest("recruit-normalize")).unwrap();
        let schema = schema();
        Self {
            engine,
            good,
            schema,
        }
    }

    /// Loads a file and has it work on a batch, as far as that gets.
    pub fn meet(&self, path: &Path) -> Ended {
        let plugin = match self.engine.load(path) {
            Ok(plugin) => plugin,
            Err(error) => return Ended::Refused(error.to_string()),
        };
        let mut runner = match self.runner(&plugin) {
            Ok(runner) => runner,
            Err(message) => return Ended::Unsettled(message),
        };
        let mut batch = self.batch();
        batch.keys[EVIL as usize] = ByteString::from_static("evil");
        if plugin.roles().policy {
            let failures = [failure(0), failure(1)];
            return Ended::Decided(runner.decide(&batch, &failures));
        }
        // Twice: what a call left behind must not spoil the next one.
        let mut rows = Vec::new();
        for _ in 0..2 {
            let mut batch = self.batch();
            batch.keys[EVIL as usize] = ByteString::from_static("evil");
            if let Err(broken) = runner.run(&mut batch) {
                return Ended::Broken(broken.to_string());
            }
            let failed = batch.failures.into_iter();
            rows = failed.map(|it| (it.row, it.code, it.message)).collect();
            assert_eq!(
                batch.live.len() + rows.len() + batch.drops.len(),
                ROWS as usize,
                "{}: every row is accounted for",
                path.display()
            );
        }
        Ended::Rows(rows)
    }

    /// Has the good plugin work on a batch, in a fresh instance.
    pub fn has_a_good_plugin_work(&self) {
        let mut batch = self.batch();
        batch.row_mut(3)[0] = Value::Text(ByteString::from_static("  Acme   Inc "));
        let mut runner = self.runner(&self.good).unwrap();
        runner.run(&mut batch).unwrap();
        assert_eq!(
            batch.row(3)[0],
            Value::Text(ByteString::from_static("Acme Inc"))
        );
        assert_eq!(batch.live.len(), ROWS as usize, "{:?}", batch.failures);
    }

    fn batch(&self) -> Batch {
        batch(&self.schema, ROWS)
    }

    fn runner(&self, plugin: &Arc<Plugin>) -> Result<Runner, String> {
        let chain = Chain::new(vec![(Arc::clone(plugin), Vec::new())]);
        let chain = chain.map_err(|errors| errors[0].to_string())?;
        Ok(chain.runner(&self.schema))
    }
}

/// Small, so that they are reached soon; and large enough for a busy machine.
fn small() -> Limits {
    Limits {
        deadline: DEADLINE,
        memory: MEMORY,
        stack: 256 << 10,
        table_elements: 10_000,
        instances: 100,
        host_calls: 10_000,
        output: 4 << 20,
        ..Limits::default()
    }
}

fn failure(row: u32) -> Failure {
    Failure {
        row,
        stage: Stage::Decode,
        code: "KEY_MISSING".to_owned(),
        message: "no key".to_owned(),
        field: None,
        plugin: None,
        attempt: 1,
    }
}
