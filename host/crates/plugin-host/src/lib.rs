//! Plugins: WebAssembly components that look at batches of rows and say what becomes of each.
//!
//! An [`Engine`] loads files into [`Plugin`]s. A [`Chain`] is the plugins of a pipeline with
//! their settings. Each worker thread has a [`Runner`] for it, which calls them batch by batch
//! on warm instances.
//!
//! Guests are not trusted: memory, time, stack, calls of the host, what it keeps for them and
//! log lines are bounded ([`Limits`]); nothing of the outside can be reached but what is granted
//! ([`Permissions`]), and without grants the same rows get the same answers.
//! A plugin that fails on a row costs that row; one that fails on most of them is [`Broken`].
//!
//! This is the only crate that names wasmtime. It does not know where rows come from or go to.

mod answer;
mod apply;
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
mod complexity;
mod component;
mod directory;
mod embeddings;
mod engine;
mod grants;
mod guest_log;
mod host_usage;
mod imports;
mod inspect;
mod instance;
mod last_words;
mod limits;
mod load;
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
pub use component::{Plugin, Roles};
pub use directory::{Change, Directory, Examination, Failing, Refused};
pub use engine::apart;
pub use engine::{Engine, EngineError};
pub use grants::{Grant, Grants, Permissions, Wasi};
pub use imports::{Import, ImportStatus};
pub use inspect::Inspection;
pub use limits::{Limits, MAX_FILE, MAX_STACK, MIN_STACK};
pub use load::LoadError;
pub use rejections::{NoAnswer, Rejection};
pub use runner::{Broken, Decision, Observed, PluginStats, Runner};
pub use sanitize::{is_name, line};
pub use shadow::{Comparison, Difference};
