//! Runs plugins, which are WebAssembly components, over batches of rows, in a sandbox.
//!
//! An [`Engine`] loads files into [`Plugin`]s. A [`Chain`] holds the plugins of a pipeline with
//! their settings. Each worker thread has a [`Runner`] for it, which calls them batch by batch on
//! warm instances.
//!
//! * **Guests are not trusted.** Memory, time, stack, calls of host functions, bytes kept in the
//!   host and log lines are bounded ([`Limits`]). A guest reaches nothing outside of its sandbox
//!   except what it is granted ([`Permissions`]).
//! * **Same rows, same answers.** Without grants, clocks stand still and random numbers repeat.
//! * **A bad row costs that row.** A call that fails is bisected to the rows that cause it. A
//!   plugin that fails on most rows is [`Broken`].
//!
//! The interface that plugins implement is in `wit/`. This is the only crate that uses wasmtime. It
//! does not know where rows come from or go to.
//!
//! # Example
//!
//! A released plugin validates three rows. It rejects the second one, whose `exp_years` is out of
//! range:
//!
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use bytestring::ByteString;
//! use forebay_plugin_host::row::{Batch, Column, FieldType, Schema, Value};
//! use forebay_plugin_host::{Chain, Engine, Limits};
//!
//! let column = |name: &str, field_type| Column {
//!     name: name.to_owned(),
//!     field_type: Some(field_type),
//! };
//! let schema = Arc::new(Schema {
//!     columns: vec![
//!         column("company_name", FieldType::Text),
//!         column("exp_years", FieldType::Integer),
//!         column("english_level", FieldType::Text),
//!         column("primary_keyword", FieldType::Text),
//!     ],
//!     embeddings: Vec::new(),
//! });
//!
//! let text = |text| Value::Text(ByteString::from_static(text));
//! let row = |years| [text("Acme"), Value::Integer(years), text("fluent"), text("Rust")];
//! let mut batch = Batch {
//!     schema: Arc::clone(&schema),
//!     keys: ["a", "b", "c"].map(ByteString::from_static).to_vec(),
//!     values: [3, 61, 60].into_iter().flat_map(row).collect(),
//!     live: vec![0, 1, 2],
//!     ..Batch::default()
//! };
//!
//! let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
//! let file = repository.join("tests/compatibility/0.1.0/recruit-rules.wasm");
//! let engine = Engine::new(Limits::default(), None)?;
//! let plugin = engine.load(&file)?;
//! let chain = Chain::new(vec![(plugin, Vec::new())]).expect("its default settings are valid");
//!
//! chain.runner(&schema).run(&mut batch)?;
//!
//! assert_eq!(batch.live, [0, 2]);
//! assert_eq!(batch.failures.len(), 1);
//! let failure = &batch.failures[0];
//! assert_eq!((failure.row, failure.code.as_str()), (1, "FIELD_RANGE"));
//! assert_eq!(failure.field.as_deref(), Some("exp_years"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// In reading order: `row` is what plugins see, and `answer` what they return. `file`, `cache`,
// `engine` and `compiler` (`bare`, `features`) are below `load`, which makes a `component` (`imports`, `http`,
// `inspect`, `complexity`);
// `directory` loads what is new. An `instance` lives in a `sandbox` (`limits`, `grants`, `wasi`,
// `host_functions`, `host_usage`, `guest_log`, `embeddings`) and is called in either `form`
// (`rows`, `packed`). A `runner` has a `worker_slot` for each plugin of a `chain`, which bisects
// (`bisect`) and applies (`apply`) answers.

mod answer;
mod apply;
mod bare;
#[allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    reason = "generated"
)]
mod bindings;
mod bisect;
mod cache;
mod call_error;
pub mod call_metrics;
mod chain;
pub mod codes;
mod compiler;
mod complexity;
mod component;
mod directory;
mod embeddings;
mod engine;
mod features;
mod file;
mod form;
mod grants;
mod guest_log;
mod host_functions;
mod host_usage;
mod http;
mod imports;
mod inspect;
mod instance;
mod last_words;
mod limits;
mod load;
mod load_error;
mod outcome;
mod packed;
mod rejections;
pub mod row;
mod rows;
mod runner;
mod sandbox;
mod sanitize;
mod shadow;
pub mod vectors;
mod wasi;
mod worker_slot;

pub use chain::{Chain, ChainEntry, ChainError, ConfiguredPlugin, Settings};
pub use compiler::{CompileOrder, CompileProcess, Compiler};
pub use component::{Plugin, Roles};
pub use directory::{Change, Directory, Examination, Failing, Refused};
pub use engine::{Engine, EngineError, Setup, apart};
pub use grants::{Grant, Grants, Permissions, Wasi};
pub use imports::{Import, ImportStatus};
pub use inspect::Inspection;
pub use limits::{Limits, MAX_STACK, MIN_STACK};
pub use load_error::LoadError;
pub use outcome::{Broken, DEFAULT_QUEUE, Decision, MemoryUse, NoAnswer, Observed, PluginStats};
pub use rejections::Rejection;
pub use runner::Runner;
pub use sanitize::{head, is_name, line, shortened};
pub use shadow::{Comparison, Difference};
