//! One instance of a plugin and the calls into it.
//!
//! Every entry into a guest goes through [`Instance::enter`], which sets the deadline (an
//! epoch deadline starts at 0, that is: in the past) and says afterwards why a call failed.

use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap};

use super::answer::{Changes, Faults, Form, Question};
use super::bindings::packed::{transform as packed_transform, validate as packed_validate};
use super::bindings::{dead_letter_policy, describe, transform, validate};
use super::call_error::{CallError, Kind};
use super::embeddings::Lent;
use super::engine::Engine;
use super::grants::Grants;
use super::host_usage::Exceeded;
use super::limits::{MAX_CODE, MAX_ERRORS, MAX_MESSAGE};
use super::packed::Packer;
use super::rows::with_batch;
use super::sandbox::State;
use super::sanitize::{cut, line};
use super::{engine, packed, rows};

/// A component that is linked, with where its exports are.
pub(super) struct Prepared {
    pub(super) linked: InstancePre<State>,
    pub(super) describe: describe::GuestIndices,
    pub(super) transform: Option<Form<transform::GuestIndices, packed_transform::GuestIndices>>,
    pub(super) validate: Option<Form<validate::GuestIndices, packed_validate::GuestIndices>>,
    pub(super) policy: Option<dead_letter_policy::GuestIndices>,
}

/// An instance that can be called again until a call fails in a way that spoils it.
pub(super) struct Instance {
    store: Store<State>,
    describe: describe::Guest,
    transform: Option<Form<transform::Guest, packed_transform::Guest>>,
    validate: Option<Form<validate::Guest, packed_validate::Guest>>,
    policy: Option<dead_letter_policy::Guest>,
    packer: Packer,
    /// Bytes that an answer may have the host keep.
    output: usize,
    ticks: u64,
    errors: u32,
}

impl Instance {
    /// Instantiates a component under the engine's limits, with these grants, and checks its
    /// exports' types.
    ///
    /// # Errors
    ///
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

        let opened = prepared
            .linked
            .instantiate(&mut store)
            .and_then(|instance| {
                let describe = prepared.describe.load(&mut store, &instance)?;
                let transform = match &prepared.transform {
                    Some(Form::Rows(it)) => Some(Form::Rows(it.load(&mut store, &instance)?)),
                    Some(Form::Packed(it)) => Some(Form::Packed(it.load(&mut store, &instance)?)),
                    None => None,
                };
                let validate = match &prepared.validate {
                    Some(Form::Rows(it)) => Some(Form::Rows(it.load(&mut store, &instance)?)),
                    Some(Form::Packed(it)) => Some(Form::Packed(it.load(&mut store, &instance)?)),
                    None => None,
                };
                let policy = prepared
                    .policy
                    .as_ref()
                    .map(|it| it.load(&mut store, &instance))
                    .transpose()?;
                Ok((describe, transform, validate, policy))
            });
        match opened {
            Ok((describe, transform, validate, policy)) => Ok(Self {
                store,
                describe,
                transform,
                validate,
                policy,
                packer: Packer::default(),
                output: limits.output,
                ticks,
                errors: 0,
            }),
            Err(error) => Err(unusable(trap(&mut store, &error))),
        }
    }

    /// What the plugin says it is.
    pub(super) fn describe(&mut self) -> Result<describe::Descriptor, CallError> {
        self.enter(|it| it.describe.call_describe(&mut it.store).map(Ok))
            .map_err(unusable)
    }

    /// Hands the plugin its settings.
    pub(super) fn configure(&mut self, settings: &[(String, String)]) -> Result<(), CallError> {
        let settings: Vec<_> = settings
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        self.enter(|it| it.describe.call_configure(&mut it.store, &settings))
            .map_err(unusable)
    }

    /// Calls `transform`. The embeddings come back as the call leaves them.
    pub(super) fn transform(
        &mut self,
        lent: &mut Option<Lent>,
        question: Question<'_>,
    ) -> Result<Changes, CallError> {
        let answer = self.lend(lent, |it| match &it.transform {
            Some(Form::Rows(guest)) => {
                let answer = with_batch(question, |rows| guest.call_transform(&mut it.store, rows));
                Ok(answer?.map(Form::Rows))
            }
            Some(Form::Packed(guest)) => {
                let answer = it
                    .packer
                    .with_batch(question, |batch| guest.call_transform(&mut it.store, batch));
                Ok(answer?.map(Form::Packed))
            }
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

    /// Calls `validate`. The embeddings come back unchanged.
    pub(super) fn validate(
        &mut self,
        lent: &mut Option<Lent>,
        question: Question<'_>,
    ) -> Result<Faults, CallError> {
        let answer = self.lend(lent, |it| match &it.validate {
            Some(Form::Rows(guest)) => {
                let answer = with_batch(question, |rows| guest.call_validate(&mut it.store, rows));
                Ok(answer?.map(Form::Rows))
            }
            Some(Form::Packed(guest)) => {
                let answer = it
                    .packer
                    .with_batch(question, |batch| guest.call_validate(&mut it.store, batch));
                Ok(answer?.map(Form::Packed))
            }
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
        let decisions = self.enter(|it| match &it.policy {
            Some(guest) => guest.call_decide(&mut it.store, failures),
            None => wasmtime::bail!("the component does not export dead-letter-policy"),
        })?;
        one_per_row(decisions, failures.len())
    }

    /// Whether the instance has answered `err` so often that a fresh one is due.
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
        call: impl FnOnce(&mut Self) -> wasmtime::Result<Result<T, String>>,
    ) -> Result<T, CallError> {
        self.store.data_mut().lent = lent.take();
        let result = self.enter(call);
        *lent = self.store.data_mut().lent.take();
        result
    }

    /// Runs a call under the deadline.
    fn enter<T>(
        &mut self,
        call: impl FnOnce(&mut Self) -> wasmtime::Result<Result<T, String>>,
    ) -> Result<T, CallError> {
        self.store.data_mut().begin();
        self.store.set_epoch_deadline(self.ticks);
        let answer = call(self).and_then(|answer| {
            // Not every function of WASI can refuse a call that is one too many.
            self.store.data().meter.check()?;
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
        self.store.data_mut().journal().end();
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

fn unusable(fault: CallError) -> CallError {
    CallError {
        kind: Kind::Unusable,
        // It goes to the log, not to a row.
        message: line(fault.message, MAX_MESSAGE),
    }
}

/// Why a call into the guest did not come back.
fn trap(store: &mut Store<State>, error: &wasmtime::Error) -> CallError {
    let trap = error.downcast_ref::<Trap>().copied();
    let (kind, what) = match trap {
        Some(Trap::Interrupt) => (
            Kind::Deadline,
            "did not answer before its deadline".to_owned(),
        ),
        _ if store.data().bounds.refused => (
            Kind::Memory,
            format!(
                "needed more memory than it may have ({})",
                error.root_cause()
            ),
        ),
        Some(trap) => (Kind::Trap, format!("trapped: {trap}")),
        None if is_out_of_fuel(error) => {
            let exceeded = Exceeded::Output(store.hostcall_fuel());
            (Kind::Trap, format!("trapped: {exceeded}"))
        }
        None => (Kind::Trap, format!("trapped: {}", error.root_cause())),
    };
    let said = store.data_mut().journal().last_words();
    let message = match said {
        // However much a guest says, what happened to it is said as well.
        Some(said) => {
            let room = MAX_MESSAGE.saturating_sub(what.chars().count() + 3);
            format!("{} ({what})", cut(said, room))
        }
        None => what,
    };
    CallError {
        kind,
        message: cut(message, MAX_MESSAGE),
    }
}

/// Whether more was handed over than `Store::set_hostcall_fuel` allows. The type of this error
/// is not public; `tests/sandbox/hostile.rs` checks that the text still is what it was.
fn is_out_of_fuel(error: &wasmtime::Error) -> bool {
    let cause = error.root_cause().to_string();
    cause.contains("fuel allocated for hostcalls has been exhausted")
}

/// A queue's name as the interface allows it; the default where the guest gave none.
pub(super) fn queue(name: String) -> String {
    if name.is_empty() {
        "default".to_owned()
    } else {
        line(name, MAX_CODE)
    }
}
