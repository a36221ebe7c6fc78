//! The host's side of `wit/plugin.wit` and `wit/packed/packed.wit`, generated from the worlds
//! that have every role.
//!
//! Arguments borrow from the batch (`Borrowing`), so building them copies no text. Imported
//! functions can trap (`trappable`), which ends a call that breaks a rule.

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "plugin",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { default: trappable },
});

pub use self::forebay::plugin::types;
pub(super) use self::forebay::plugin::{embeddings, log};
pub(super) use exports::forebay::plugin::{dead_letter_policy, describe, transform, validate};

/// The roles in packed form.
pub(super) mod packed {
    wasmtime::component::bindgen!({
        path: ["../../../wit", "../../../wit/packed"],
        world: "forebay:packed/roles",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "forebay:plugin/types@0.1.0": super::types },
    });

    pub(in super::super) use self::forebay::packed::types;
    pub(in super::super) use exports::forebay::packed::{transform, validate};
}
