//! One instance of a plugin and the calls into it.
//!
//! Every entry into a guest goes through [`Instance::enter`], which sets the deadline (an epoch
//! deadline starts at 0, which is in the past) and finds the reason for a failed call.

use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap};

use super::answer::{Changes, Faults, Question};
use super::bindings::packed::{transform as packed_transform, validate as packed_validate};
use super::bindings::{dead_letter_policy, describe, transform, validate};
use super::call_error::{CallError, Kind};
use super::embeddings::Lent;
use super::engine::Engine;
use super::form::{CallResult, Form};
use super::grants::Grants;
use super::host_usage::Exceeded;
use super::limits::{MAX_ERRORS, MAX_MESSAGE};
use super::packed::Packer;
use super::sandbox::State;
use super::sanitize::{cut, line};
use super::{engine, packed, rows};

/// A linked component, with the indices of its exports.
pub(super) struct Prepared {
    linked: InstancePre<State>,
    describe: describe::GuestIndices,
    pub(super) transform: Option<Form<transform::GuestIndices, packed_transform::GuestIndices>>,
    pub(super) validate: Option<Form<validate::GuestIndices, packed_validate::GuestIndices>>,
    pub(super) policy: Option<dead_letter_policy::GuestIndices>,
}

impl Prepared {
    /// Looks up the exports of a linked component; `None` if it does not export `describe`.
    pub(super) fn new(linked: InstancePre<State>) -> Option<Self> {
        Some(Self {
            describe: describe::GuestIndices::new(&linked).ok()?,
            transform: Form::preferred(
                transform::GuestIndices::new(&linked).ok(),
                packed_transform::GuestIndices::new(&linked).ok(),
            ),
            validate: Form::preferred(
                validate::GuestIndices::new(&linked).ok(),
                packed_validate::GuestIndices::new(&linked).ok(),
            ),
            policy: dead_letter_policy::GuestIndices::new(&linked).ok(),
            linked,
        })
    }

    /// Instantiates the component, and checks its exports' types.
    fn open(&self, store: &mut Store<State>) -> wasmtime::Result<Exports> {
        let instance = self.linked.instantiate(&mut *store)?;
        let describe = self.describe.load(&mut *store, &instance)?;
        let transform = match &self.transform {
            Some(role) => Some(role.load(
                store,
                &instance,
                transform::GuestIndices::load,
                packed_transform::GuestIndices::load,
            )?),
            None => None,
        };
        let validate = match &self.validate {
            Some(role) => Some(role.load(
                store,
                &instance,
                validate::GuestIndices::load,
                packed_validate::GuestIndices::load,
            )?),
            None => None,
        };
        let policy = match &self.policy {
            Some(role) => Some(role.load(store, &instance)?),
            None => None,
        };
        Ok(Exports {
            describe,
            transform,
            validate,
            policy,
        })
    }
}

/// The exports of an instance.
struct Exports {
    describe: describe::Guest,
    transform: Option<Form<transform::Guest, packed_transform::Guest>>,
    validate: Option<Form<validate::Guest, packed_validate::Guest>>,
    policy: Option<dead_letter_policy::Guest>,
}

/// An instance, which can be called again until a call fails in a way that spoils it.
pub(super) struct Instance {
    store: Store<State>,
    exports: Exports,
    packer: Packer,
    /// Maximum bytes that the host keeps for an answer.
    output: usize,
    /// Deadline of a call.
    ticks: u64,
    /// Number of calls that answered `err`.
    errors: u32,
}

impl Instance {
    /// Instantiates a component under the engine's limits, with these grants, and checks its
    /// exports' types.
    ///
    /// # Errors
    /// [`Kind::Unusable`], whatever the reason.
    pub(super) fn open(
        engine: &Engine,
        prepared: &Prepared,
        name: &str,
        grants: &Grants,
    ) -> Result<Self, CallError> {
        let limits = engine.limits();
        let ticks = engine::ticks(limits.deadline);
        let mut store = Store::new(engine.wasmtime(), State::new(name, &limits, grants));
        store.limiter(|state| &mut state.bounds);
        store.set_hostcall_fuel(limits.output);
        store.set_epoch_deadline(ticks);
        store.data_mut().begin();

        match prepared.open(&mut store) {
            Ok(exports) => Ok(Self {
                store,
                exports,
                packer: Packer::default(),
                output: limits.output,
                ticks,
                errors: 0,
            }),
            Err(error) => Err(unusable(trap(&mut store, &error))),
        }
    }

    /// Calls `describe`.
    pub(super) fn describe(&mut self) -> Result<describe::Descriptor, CallError> {
        self.enter(|it| it.exports.describe.call_describe(&mut it.store).map(Ok))
            .map_err(unusable)
    }

    /// Calls `configure`.
    pub(super) fn configure(&mut self, settings: &[(String, String)]) -> Result<(), CallError> {
        let settings: Vec<_> = settings
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        self.enter(|it| it.exports.describe.call_configure(&mut it.store, &settings))
            .map_err(unusable)
    }

    /// Calls `transform`. The embeddings return as the call left them.
    pub(super) fn transform(
        &mut self,
        lent: &mut Option<Lent>,
        question: Question<'_>,
    ) -> Result<Changes, CallError> {
        let answer = self.lend(lent, |it| match &it.exports.transform {
            Some(role) => role.call(
                &mut it.store,
                &mut it.packer,
                question,
                transform::Guest::call_transform,
                packed_transform::Guest::call_transform,
            ),
            None => wasmtime::bail!("the component does not export transform"),
        })?;
        let (rows, schema) = (question.rows.len(), &question.batch.schema);
        match answer {
            Form::Rows(outcomes) => Ok(rows::changes(one_per_row(outcomes, rows)?, schema)),
            Form::Packed(changes) => {
                packed::changes(changes, rows, schema, self.output).map_err(invalid)
            }
        }
    }

    /// Calls `validate`. The embeddings return unchanged.
    pub(super) fn validate(
        &mut self,
        lent: &mut Option<Lent>,
        question: Question<'_>,
    ) -> Result<Faults, CallError> {
        let answer = self.lend(lent, |it| match &it.exports.validate {
            Some(role) => role.call(
                &mut it.store,
                &mut it.packer,
                question,
                validate::Guest::call_validate,
                packed_validate::Guest::call_validate,
            ),
            None => wasmtime::bail!("the component does not export validate"),
        })?;
        let rows = question.rows.len();
        match answer {
            Form::Rows(rejections) => Ok(rows::faults(one_per_row(rejections, rows)?)),
            Form::Packed(faults) => packed::faults(faults, rows).map_err(invalid),
        }
    }

    /// Calls `decide`.
    pub(super) fn decide(
        &mut self,
        failures: &[dead_letter_policy::Failure<'_>],
    ) -> Result<Vec<dead_letter_policy::Decision>, CallError> {
        let decisions = self.enter(|it| match &it.exports.policy {
            Some(guest) => guest.call_decide(&mut it.store, failures),
            None => wasmtime::bail!("the component does not export dead-letter-policy"),
        })?;
        one_per_row(decisions, failures.len())
    }

    /// True if the instance has answered `err` so often that it should be replaced.
    pub(super) fn is_worn(&self) -> bool {
        self.errors >= MAX_ERRORS
    }

    /// Bytes of its linear memories.
    pub(super) fn memory(&self) -> usize {
        self.store.data().bounds.memory_used()
    }

    fn lend<T>(
        &mut self,
        lent: &mut Option<Lent>,
        call: impl FnOnce(&mut Self) -> CallResult<T>,
    ) -> Result<T, CallError> {
        self.store.data_mut().lent = lent.take();
        let result = self.enter(call);
        *lent = self.store.data_mut().lent.take();
        result
    }

    /// Makes a call under the deadline.
    fn enter<T>(&mut self, call: impl FnOnce(&mut Self) -> CallResult<T>) -> Result<T, CallError> {
        self.store.data_mut().begin();
        self.store.set_epoch_deadline(self.ticks);
        let answer = call(self).and_then(|answer| {
            // Some WASI functions cannot refuse a call beyond the limit.
            self.store.data().usage.check()?;
            Ok(answer)
        });
        let result = match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(message)) => {
                self.errors += 1;
                let refused = self.store.data().bounds.refused;
                let kind = if refused { Kind::Memory } else { Kind::Error };
                Err(CallError {
                    kind,
                    message: cut(message, MAX_MESSAGE),
                })
            }
            Err(error) => Err(trap(&mut self.store, &error)),
        };
        self.store.data_mut().guest_log().end();
        result
    }
}

fn one_per_row<T>(answers: Vec<T>, rows: usize) -> Result<Vec<T>, CallError> {
    if answers.len() == rows {
        return Ok(answers);
    }
    let message = format!("answered with {} entries for {rows} rows", answers.len());
    Err(invalid(message))
}

fn invalid(message: String) -> CallError {
    CallError {
        kind: Kind::Output,
        message,
    }
}

fn unusable(error: CallError) -> CallError {
    CallError {
        kind: Kind::Unusable,
        // One line, since it goes to the log and not to a row.
        message: line(error.message, MAX_MESSAGE),
    }
}

/// The reason why a call into the guest did not return.
fn trap(store: &mut Store<State>, error: &wasmtime::Error) -> CallError {
    let trap = error.downcast_ref::<Trap>().copied();
    let (kind, what) = match trap {
        Some(Trap::Interrupt) => (
            Kind::Deadline,
            "did not answer before its deadline".to_owned(),
        ),
        _ if store.data().bounds.refused => (
            Kind::Memory,
            format!("exceeded its memory limit ({})", error.root_cause()),
        ),
        Some(trap) => (Kind::Trap, format!("trapped: {trap}")),
        None if is_out_of_fuel(error) => {
            let exceeded = Exceeded::Output(store.hostcall_fuel());
            (Kind::Trap, format!("trapped: {exceeded}"))
        }
        None => (Kind::Trap, format!("trapped: {}", error.root_cause())),
    };
    let last_words = store.data_mut().guest_log().last_words();
    let message = match last_words {
        // The guest's words are cut so that the host's reason always fits.
        Some(words) => {
            let room = MAX_MESSAGE.saturating_sub(what.chars().count() + 3);
            format!("{} ({what})", cut(words, room))
        }
        None => what,
    };
    CallError {
        kind,
        message: cut(message, MAX_MESSAGE),
    }
}

/// True if the guest passed more to the host than `Store::set_hostcall_fuel` allows. The type of
/// this error is not public; `tests/sandbox/hostile.rs` checks that its text has not changed.
fn is_out_of_fuel(error: &wasmtime::Error) -> bool {
    let cause = error.root_cause().to_string();
    cause.contains("fuel allocated for hostcalls has been exhausted")
}
