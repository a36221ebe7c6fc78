//! The two forms in which a component can export a role that answers per row: rows of values
//! (`rows.rs`) or a packed batch (`packed.rs`). This file alone decides which one is called.

use wasmtime::Store;
use wasmtime::component::Instance;

use super::answer::Question;
use super::bindings::{packed, types};
use super::packed::Packer;
use super::rows::with_batch;
use super::sandbox::State;

/// Something that exists in one of the two forms.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<R, P> {
    Rows(R),
    Packed(P),
}

impl<R, P> Form<R, P> {
    /// The form in which a role is called: packed where a component exports both.
    pub(super) fn preferred(rows: Option<R>, packed: Option<P>) -> Option<Self> {
        packed.map(Self::Packed).or(rows.map(Self::Rows))
    }

    /// Loads the exports of a role from an instance, which checks their types.
    pub(super) fn load<'s, A, B>(
        &self,
        store: &'s mut Store<State>,
        instance: &Instance,
        rows: impl FnOnce(&R, &'s mut Store<State>, &Instance) -> wasmtime::Result<A>,
        packed: impl FnOnce(&P, &'s mut Store<State>, &Instance) -> wasmtime::Result<B>,
    ) -> wasmtime::Result<Form<A, B>> {
        Ok(match self {
            Self::Rows(role) => Form::Rows(rows(role, store, instance)?),
            Self::Packed(role) => Form::Packed(packed(role, store, instance)?),
        })
    }

    /// Calls a role about the rows of a question. The answer has the form of the role.
    pub(super) fn call<'s, A, B>(
        &self,
        store: &'s mut Store<State>,
        packer: &mut Packer,
        question: Question<'_>,
        rows: impl FnOnce(&R, &'s mut Store<State>, types::Batch<'_>) -> CallResult<A>,
        packed: impl FnOnce(&P, &'s mut Store<State>, packed::types::Batch<'_>) -> CallResult<B>,
    ) -> CallResult<Form<A, B>> {
        Ok(match self {
            Self::Rows(role) => {
                with_batch(question, |batch| rows(role, store, batch))?.map(Form::Rows)
            }
            Self::Packed(role) => packer
                .with_batch(question, |batch| packed(role, store, batch))?
                .map(Form::Packed),
        })
    }
}

/// Result of a call: a trap, or what the guest answered, which may be an error of its own.
pub(super) type CallResult<T> = wasmtime::Result<Result<T, String>>;
