//! One instance of a plugin and the calls into it.
//!
//! Every entry into a guest goes through [`Instance::enter`], which sets the deadline (an epoch
//! deadline starts at 0, which is in the past) and finds the reason for a failed call.

use std::time::{Duration, Instant};

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
use super::limits::{Limits, MAX_ERRORS, MAX_MESSAGE};
use super::packed::Packer;
use super::sandbox::{Refusal, State};
use super::sanitize::{cut, line};
use super::wasi::Reads;
use super::{packed, rows};

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
    limits: Limits,
    /// Deadline of a call.
    ticks: u64,
    /// Number of calls that answered `err`.
    errors: u32,
    /// Bytes of its memories after its first call; `None` before that. Describing and configuring
    /// do not count.
    first_memory: Option<usize>,
}

impl Instance {
    /// Instantiates a component under these limits, with these grants, and checks its exports' types.
    ///
    /// # Errors
    /// [`Kind::Unusable`], whatever the reason.
    pub(super) fn open(
        engine: &Engine,
        prepared: &Prepared,
        name: &str,
        grants: &Grants,
        limits: Limits,
    ) -> Result<Self, CallError> {
        let ticks = engine.ticks(limits.deadline);
        let mut store = Store::new(engine.wasmtime(), State::new(name, &limits, grants));
        store.limiter(|state| &mut state.bounds);
        store.set_hostcall_fuel(limits.output);
        store.set_epoch_deadline(ticks);
        store.data_mut().begin();

        let began = Instant::now();
        let opened = prepared.open(&mut store);
        match opened.and_then(|exports| believed(&store, exports)) {
            Ok(exports) => Ok(Self {
                store,
                exports,
                packer: Packer::default(),
                limits,
                ticks,
                errors: 0,
                first_memory: None,
            }),
            Err(error) => Err(unusable(trap(&mut store, &error, &limits, began.elapsed()))),
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
                packed::changes(changes, rows, schema, self.limits.output).map_err(invalid)
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
        let decisions = self.call(|it| match &it.exports.policy {
            Some(guest) => guest.call_decide(&mut it.store, failures),
            None => wasmtime::bail!("the component does not export dead-letter-policy"),
        })?;
        one_per_row(decisions, failures.len())
    }

    /// True if the instance should be replaced: it has answered `err` so often that it may have
    /// leaked, or its memory has grown since its first call by more than half of the room that was
    /// left then. A refusal of memory costs a call; so it is replaced while the next call still has
    /// as much room as all calls before it have taken.
    pub(super) fn is_worn(&self) -> bool {
        self.errors >= MAX_ERRORS || self.is_full()
    }

    /// True if its memory has grown so much since its first call that it should be replaced.
    pub(super) fn is_full(&self) -> bool {
        let first = self.first_memory.unwrap_or_default();
        let room = self.limits.memory.saturating_sub(first);
        self.grown() > room / 2
    }

    /// True if a role was called before.
    pub(super) fn was_called(&self) -> bool {
        self.first_memory.is_some()
    }

    /// Bytes of its linear memories.
    pub(super) fn memory(&self) -> usize {
        self.store.data().bounds.memory_used()
    }

    /// Bytes by which its memories have grown since its first call.
    pub(super) fn grown(&self) -> usize {
        let memory = self.memory();
        memory.saturating_sub(self.first_memory.unwrap_or(memory))
    }

    /// What its last call has read without a grant.
    pub(super) fn reads(&self) -> Reads {
        self.store.data().reads
    }

    fn lend<T>(
        &mut self,
        lent: &mut Option<Lent>,
        call: impl FnOnce(&mut Self) -> CallResult<T>,
    ) -> Result<T, CallError> {
        self.store.data_mut().lent = lent.take();
        let result = self.call(call);
        *lent = self.store.data_mut().lent.take();
        result
    }

    /// Calls a role.
    fn call<T>(&mut self, call: impl FnOnce(&mut Self) -> CallResult<T>) -> Result<T, CallError> {
        let result = self.enter(call);
        let memory = self.memory();
        self.first_memory.get_or_insert(memory);
        result
    }

    /// Makes a call under the deadline. After a refusal no answer is believed.
    fn enter<T>(&mut self, call: impl FnOnce(&mut Self) -> CallResult<T>) -> Result<T, CallError> {
        self.store.data_mut().begin();
        self.store.set_epoch_deadline(self.ticks);
        let began = Instant::now();
        let answer = call(self).and_then(|answer| {
            // Some WASI functions cannot refuse a call beyond the limit.
            self.store.data().usage.check()?;
            believed(&self.store, answer)
        });
        let result = match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(message)) => {
                self.errors += 1;
                Err(CallError {
                    kind: Kind::Error,
                    message: cut(message, MAX_MESSAGE),
                })
            }
            Err(error) => {
                let limits = self.limits;
                Err(trap(&mut self.store, &error, &limits, began.elapsed()))
            }
        };
        self.store.data_mut().guest_log().end();
        result
    }
}

/// Passes on an answer, unless memory was refused before it was given.
fn believed<T>(store: &Store<State>, answer: T) -> wasmtime::Result<T> {
    match store.data().bounds.refused {
        None => Ok(answer),
        Some(refusal) => Err(refusal.into()),
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

/// The reason why a call into the guest failed after this time.
fn trap(
    store: &mut Store<State>,
    error: &wasmtime::Error,
    limits: &Limits,
    took: Duration,
) -> CallError {
    let trap = error.downcast_ref::<Trap>().copied();
    let (kind, what) = match (trap, store.data().bounds.refused) {
        (Some(Trap::Interrupt), _) => (Kind::Deadline, missed(limits.deadline, took)),
        (_, Some(refusal)) if error.is::<Refusal>() => (
            Kind::Memory,
            format!("{refusal}: its answer is not believed"),
        ),
        (_, Some(refusal)) => (Kind::Memory, format!("{refusal}: {}", error.root_cause())),
        (Some(Trap::StackOverflow), None) => (
            Kind::Trap,
            format!("trapped: {} (`plugins.limits.stack`)", Trap::StackOverflow),
        ),
        (Some(trap), None) => (Kind::Trap, format!("trapped: {trap}")),
        (None, None) if is_out_of_fuel(error) => {
            let exceeded = Exceeded::Output(store.hostcall_fuel());
            (Kind::Trap, format!("trapped: {exceeded}"))
        }
        (None, None) => (Kind::Trap, format!("trapped: {}", error.root_cause())),
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

/// Message for a call that was stopped after this time.
fn missed(deadline: Duration, took: Duration) -> String {
    let (deadline, took) = (deadline.as_millis(), took.as_millis());
    format!(
        "did not answer before its deadline of {deadline} ms (`plugins.limits.deadline`): stopped \
         after {took} ms"
    )
}

/// True if the guest passed more to the host than `Store::set_hostcall_fuel` allows. The type of
/// this error is not public; `tests/sandbox/hostile.rs` checks that its text has not changed.
fn is_out_of_fuel(error: &wasmtime::Error) -> bool {
    let cause = error.root_cause().to_string();
    cause.contains("fuel allocated for hostcalls has been exhausted")
}
