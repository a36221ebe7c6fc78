//! Plugins: WebAssembly components that look at batches of rows and say what becomes of each.
//!
//! An [`Engine`] loads files into [`Plugin`]s. A [`Chain`] is the plugins of a pipeline with
//! their settings. Each worker thread has a [`Runner`] for it, which calls them batch by batch
//! on warm instances.
//!
//! Guests are not trusted: memory, time, host allocations and log lines are bounded
//! ([`Limits`]), nothing of the outside can be reached, and the same rows get the same answers.
//! A plugin that fails on a row costs that row; one that fails on most of them is [`Broken`].
//!
//! Only these modules name wasmtime. They do not know where rows come from or go to.

mod apply;
mod ask;
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
mod chain;
mod component;
mod convert;
mod embeddings;
mod engine;
mod fault;
mod instance;
mod journal;
mod last_words;
mod limits;
mod load;
mod runner;
mod sandbox;
mod text;
mod vectors;
mod wasi;

pub use ask::{NoAnswer, Rejection};
pub use chain::{Chain, ChainError, Settings};
pub use component::{Plugin, Roles};
pub(crate) use engine::apart;
pub use engine::{Engine, EngineError};
pub use limits::{Limits, MAX_FILE};
pub use load::LoadError;
pub use runner::{Broken, Decision, PluginStats, Runner};
pub(crate) use text::is_name;
