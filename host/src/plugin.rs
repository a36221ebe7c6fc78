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
//! Only these modules name wasmtime. They do not know where rows come from or go to.

mod answer;
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
mod directory;
mod embeddings;
mod engine;
mod fault;
mod grants;
mod imports;
mod inspect;
mod instance;
mod journal;
mod last_words;
mod limits;
mod load;
mod meter;
mod packed;
mod rows;
mod runner;
mod sandbox;
mod seat;
mod shape;
mod text;
mod trial;
pub(crate) mod vectors;
mod wasi;

pub use ask::{NoAnswer, Rejection};
pub use chain::{Chain, ChainError, Link, Member, Settings};
pub use component::{Plugin, Roles};
pub use directory::{Change, Directory, Examination, Failing, Refused};
pub(crate) use engine::apart;
pub use engine::{Engine, EngineError};
pub use grants::{Grant, Grants, Permissions, Wasi};
pub use imports::{Import, Standing};
pub use inspect::Inspection;
pub use limits::{Limits, MAX_FILE, MAX_STACK, MIN_STACK};
pub use load::LoadError;
pub use runner::{Broken, Decision, Observed, PluginStats, Runner};
pub(crate) use text::{is_name, line};
pub use trial::{Difference, Trial};
