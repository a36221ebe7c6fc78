//! The host's side of `wit/plugin.wit`, generated from the world that has every role.
//!
//! Arguments borrow from the batch (`Borrowing`): building them copies no text. Imported
//! functions may trap (`trappable`), which is how a guest learns that it broke a rule.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { default: trappable },
});

pub(super) use self::forebay::plugin::{embeddings, log, types};
pub(super) use exports::forebay::plugin::{dead_letter_policy, describe, transform, validate};
