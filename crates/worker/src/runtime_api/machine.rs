//! What may happen when: the runtime, its invocation and the extensions as one machine.
//!
//! The runtime's side is one enum. Its way round, with the inputs that drive it:
//!
//! ```text
//! Starting --next--> Settling --all extensions wait--> Idle --deliver--> Given (or Queued --next--> Given)
//!    |                  ^                                                  | response, error
//!    init/error         | next                                            v
//!    v                  +---------------- Answered <--body read--- Receiving
//! InitFailed            +---------------- Abandoned <--fail-- Queued, Given, Receiving, Answered
//! ```
//!
//! A runtime with hooks for snapshots asks `restore/next` before its first `next`: Starting ─> Restorable, where it waits
//! to be written to a snapshot, or Starting ─> Restoring where there is nothing to wait for.
//!
//! A runtime that asks again while it has an event (Given) gets the same event again, as from Lambda: so an event that
//! went into a dead connection is not lost.

use super::EXTENSIONS_MAX;
use super::RestoreNext;
use super::event::{DeliverError, ExtensionReport, RuntimeEvent};
use super::extension::{Extension, ExtensionState, Failure, Subscriptions};
use super::refusal::Refusal;

/// The machine. It never holds more than one invocation's id and [`EXTENSIONS_MAX`] extensions.
#[derive(Debug)]
pub(super) struct Machine {
    runtime: Runtime,
    extensions: Vec<Extension>,
    life: Life,
    restore: RestoreNext,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Runtime {
    /// Has not asked for an event yet.
    Starting,
    /// Has asked `restore/next`, and waits there to be written to a snapshot.
    Restorable,
    /// Was told that it is restored, and has not asked for an event yet: its hooks run.
    Restoring,
    /// Reported that it cannot initialise.
    InitFailed,
    /// Done; some extension is not. `polling`: its `next` waits, here and in `Idle`.
    Settling { polling: bool },
    /// Everybody is done.
    Idle { polling: bool },
    /// An event waits for its next `next`.
    Queued { id: String },
    /// It has the event.
    Given { id: String },
    /// Its answer is being read.
    Receiving { id: String },
    /// Its answer is read.
    Answered { id: String },
    /// The invocation was ended without it.
    Abandoned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serving,
    Ending,
}

/// What an extension's event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// `INVOKE`.
    Invoke,
    /// `SHUTDOWN`.
    Shutdown,
}

/// What happens to the machine.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// The owner: these external extensions will be started.
    Expect(Vec<String>),
    /// The owner: an event.
    Deliver { id: &'a str },
    /// The owner: that invocation is over.
    Fail { id: &'a str },
    /// The owner: the environment ends.
    Shutdown,
    /// GET /runtime/invocation/next.
    Poll,
    /// The waiting `next` hung up.
    PollLost,
    /// POST /runtime/invocation/ID/response or error: headers are here.
    AnswerBegins { id: &'a str },
    /// Its body is here, or will never be.
    AnswerEnds { id: &'a str },
    /// POST /runtime/init/error.
    InitError,
    /// GET /runtime/restore/next.
    RestorePoll,
    /// POST /runtime/restore/error.
    RestoreError,
    /// POST /extension/register.
    Register { name: &'a str, events: Subscriptions },
    /// GET /extension/event/next, by the extension's index.
    ExtensionPoll(usize),
    /// That one hung up.
    ExtensionPollLost(usize),
    /// POST /extension/init/error or exit/error.
    ExtensionFail {
        index: usize,
        failure: Failure,
        error_type: &'a str,
    },
}

/// What the one who caused an input is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing more.
    Done,
    /// The poll has its event now.
    Take,
    /// The poll has to wait for one.
    Wait,
    /// The extension has this index from now on.
    Registered(usize),
}

/// What an input causes for others.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The runtime's waiting poll gets the event.
    GiveRuntime,
    /// This extension's waiting poll gets its event.
    GiveExtension(usize, Notice),
    /// The owner hears this.
    Report(RuntimeEvent),
}

impl Machine {
    pub(super) fn new(restore: RestoreNext) -> Self {
        Self {
            runtime: Runtime::Starting,
            extensions: Vec::new(),
            life: Life::Serving,
            restore,
        }
    }

    /// Changes the state, or refuses and leaves it. Effects are added to those that the caller holds, so that the hot
    /// path reuses one vector.
    pub(super) fn apply(&mut self, input: Input<'_>, effects: &mut Vec<Effect>) -> Result<Verdict, Refusal> {
        match input {
            Input::Expect(names) => self.expect(names, effects),
            Input::Deliver { id } => self.deliver(id, effects),
            Input::Fail { id } => self.fail(id),
            Input::Shutdown => self.shutdown(effects),
            Input::Poll => self.poll(effects),
            Input::PollLost => self.poll_lost(),
            Input::AnswerBegins { id } => self.answer_begins(id),
            Input::AnswerEnds { id } => self.answer_ends(id),
            Input::InitError => self.init_error(),
            Input::RestorePoll => self.restore_poll(effects),
            Input::RestoreError => self.restore_error(),
            Input::Register { name, events } => self.register(name, events, effects),
            Input::ExtensionPoll(index) => self.extension_poll(index, effects),
            Input::ExtensionPollLost(index) => self.extension_poll_lost(index),
            Input::ExtensionFail {
                index,
                failure,
                error_type,
            } => self.extension_fail(index, failure, error_type, effects),
        }
    }

    /// What a subscriber of telemetry is called, by its index.
    pub(super) fn extension_name(&self, index: usize) -> &str {
        &self.extensions[index].name
    }

    /// Which event a polling extension takes.
    pub(super) fn extension_notice(&self, index: usize) -> Option<Notice> {
        match self.extensions[index].state {
            ExtensionState::Queued(notice) | ExtensionState::Running(notice) => Some(notice),
            _ => None,
        }
    }

    /// Whether internal extensions may still register: until the runtime asks for its first event.
    fn is_initializing(&self) -> bool {
        self.runtime == Runtime::Starting && self.life == Life::Serving
    }

    /// All extensions, by index.
    pub(super) fn reports(&self) -> Vec<ExtensionReport> {
        let report = |extension: &Extension| ExtensionReport {
            name: extension.name.clone(),
            external: extension.external,
            state: extension.state,
            events: extension.events,
            error_type: extension.error_type.clone(),
        };
        self.extensions.iter().map(report).collect()
    }

    fn expect(&mut self, names: Vec<String>, effects: &mut Vec<Effect>) -> Result<Verdict, Refusal> {
        if self.extensions.len() + names.len() > EXTENSIONS_MAX {
            return Err(Refusal::TooManyExtensions { count: names.len() });
        }
        self.extensions.extend(names.into_iter().map(Extension::expected));
        self.report_registered(effects);
        Ok(Verdict::Done)
    }

    fn deliver(&mut self, id: &str, effects: &mut Vec<Effect>) -> Result<Verdict, Refusal> {
        let polling = match (self.life, &self.runtime) {
            (Life::Ending, _) => return Err(Refusal::NotDelivered(DeliverError::ShuttingDown)),
            (_, Runtime::InitFailed) => return Err(Refusal::NotDelivered(DeliverError::InitFailed)),
            (_, Runtime::Idle { polling }) => *polling,
            _ => return Err(Refusal::NotDelivered(DeliverError::Busy)),
        };
        let id = id.to_owned();
        self.runtime = if polling {
            effects.push(Effect::GiveRuntime);
            Runtime::Given { id }
        } else {
            Runtime::Queued { id }
        };
        self.notify_extensions(Notice::Invoke, effects);
        Ok(Verdict::Done)
    }

    fn fail(&mut self, id: &str) -> Result<Verdict, Refusal> {
        if self.runtime.invocation() != Some(id) {
            return Err(Refusal::InvalidRequestId);
        }
        self.runtime = Runtime::Abandoned;
        Ok(Verdict::Done)
    }

    fn shutdown(&mut self, effects: &mut Vec<Effect>) -> Result<Verdict, Refusal> {
        if self.life == Life::Serving {
            self.life = Life::Ending;
            self.notify_extensions(Notice::Shutdown, effects);
        }
        Ok(Verdict::Done)
    }

    fn poll(&mut self, effects: &mut Vec<Effect>) -> Result<Verdict, Refusal> {
        let done = match &mut self.runtime {
            Runtime::InitFailed | Runtime::Restorable | Runtime::Receiving { .. } => return Err(self.refuse("Ready")),
            Runtime::Given { .. } => return Ok(Verdict::Take),
            Runtime::Queued { id } => {
                let id = std::mem::take(id);
                self.runtime = Runtime::Given { id };
                return Ok(Verdict::Take);
            }
            // A poll beside a waiting one takes its place: the other's connection is dead or forgotten.
            Runtime::Settling { polling } | Runtime::Idle { polling } => {
                *polling = true;
                return Ok(Verdict::Wait);
            }
            Runtime::Starting | Runtime::Restoring => RuntimeEvent::RuntimeReady,
            Runtime::Answered { .. } | Runtime::Abandoned => RuntimeEvent::RuntimeIdle,
        };
        self.runtime = Runtime::Settling { polling: true };
        effects.push(Effect::Report(done));
        self.settle(effects);
        Ok(Verdict::Wait)
    }

    fn poll_lost(&mut self) -> Result<Verdict, Refusal> {
        if let Runtime::Settling { polling } | Runtime::Idle { polling } = &mut self.runtime {
            *polling = false;
        }
        Ok(Verdict::Done)
    }

    fn answer_begins(&mut self, id: &str) -> Result<Verdict, Refusal> {
        if self.runtime.invocation() != Some(id) {
            return Err(Refusal::InvalidRequestId);
        }
        let Runtime::Given { id } = &mut self.runtime else {
            return Err(self.refuse("InvocationResponse"));
        };
        let id = std::mem::take(id);
        self.runtime = Runtime::Receiving { id };
        Ok(Verdict::Done)
    }

    fn answer_ends(&mut self, id: &str) -> Result<Verdict, Refusal> {
        match &mut self.runtime {
            Runtime::Receiving { id: current } if current == id => {
                let id = std::mem::take(current);
                self.runtime = Runtime::Answered { id };
                Ok(Verdict::Done)
            }
            _ => Err(Refusal::InvalidRequestId),
        }
    }

    fn init_error(&mut self) -> Result<Verdict, Refusal> {
        if self.runtime != Runtime::Starting {
            return Err(self.refuse("InitError"));
        }
        self.runtime = Runtime::InitFailed;
        Ok(Verdict::Done)
    }

    fn restore_poll(&mut self, effects: &mut Vec<Effect>) -> Result<Verdict, Refusal> {
        match (self.restore, &self.runtime) {
            (RestoreNext::Unknown, _) => Err(Refusal::PathUnknown),
            (RestoreNext::AtOnce, Runtime::Starting | Runtime::Restoring) => {
                self.runtime = Runtime::Restoring;
                Ok(Verdict::Take)
            }
            (RestoreNext::Held, Runtime::Restorable) => Ok(Verdict::Wait),
            (RestoreNext::Held, Runtime::Starting) => {
                self.runtime = Runtime::Restorable;
                effects.push(Effect::Report(RuntimeEvent::Restorable));
                Ok(Verdict::Wait)
            }
            _ => Err(self.refuse("Restoring")),
        }
    }

    fn restore_error(&mut self) -> Result<Verdict, Refusal> {
        if self.restore == RestoreNext::Unknown {
            return Err(Refusal::PathUnknown);
        }
        if self.runtime != Runtime::Restoring {
            return Err(self.refuse("RestoreError"));
        }
        self.runtime = Runtime::InitFailed;
        Ok(Verdict::Done)
    }

    fn register(&mut self, name: &str, events: Subscriptions, effects: &mut Vec<Effect>) -> Result<Verdict, Refusal> {
        match self.extensions.iter().position(|extension| extension.name == name) {
            Some(index) if self.extensions[index].external => self.register_external(index, events, effects),
            found => self.register_internal(name, events, found.is_some()),
        }
    }

    fn register_external(
        &mut self,
        index: usize,
        events: Subscriptions,
        effects: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let extension = &mut self.extensions[index];
        if extension.state != ExtensionState::Expected {
            return Err(extension.refuse("Registered"));
        }
        extension.state = ExtensionState::Registered;
        extension.events = events;
        self.report_registered(effects);
        Ok(Verdict::Registered(index))
    }

    fn register_internal(&mut self, name: &str, events: Subscriptions, taken: bool) -> Result<Verdict, Refusal> {
        if events.shutdown {
            return Err(Refusal::ShutdownForInternal);
        }
        if !self.is_initializing() {
            return Err(Refusal::RegistrationClosed);
        }
        if taken {
            return Err(Refusal::NameTaken);
        }
        if self.extensions.len() >= EXTENSIONS_MAX {
            return Err(Refusal::TooManyExtensions {
                count: self.extensions.len() + 1,
            });
        }
        self.extensions.push(Extension::internal(name, events));
        Ok(Verdict::Registered(self.extensions.len() - 1))
    }

    fn extension_poll(&mut self, index: usize, effects: &mut Vec<Effect>) -> Result<Verdict, Refusal> {
        if self.extensions[index].poll()? {
            return Ok(Verdict::Take);
        }
        self.settle(effects);
        Ok(Verdict::Wait)
    }

    fn extension_poll_lost(&mut self, index: usize) -> Result<Verdict, Refusal> {
        let state = &mut self.extensions[index].state;
        *state = match *state {
            ExtensionState::Polling => ExtensionState::Away,
            // The notice was on its way when the connection broke: the next poll gets it.
            ExtensionState::Running(notice) => ExtensionState::Queued(notice),
            other => other,
        };
        Ok(Verdict::Done)
    }

    fn extension_fail(
        &mut self,
        index: usize,
        failure: Failure,
        error_type: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let extension = &mut self.extensions[index];
        if extension.fail(failure, error_type)? {
            effects.push(Effect::Report(RuntimeEvent::ExtensionFailed {
                name: extension.name.clone(),
                error_type: error_type.to_owned(),
                failure: failure.name(),
            }));
        }
        Ok(Verdict::Done)
    }

    fn notify_extensions(&mut self, notice: Notice, effects: &mut Vec<Effect>) {
        for (index, extension) in self.extensions.iter_mut().enumerate() {
            let wanted = match notice {
                Notice::Invoke => extension.events.invoke,
                Notice::Shutdown => extension.events.shutdown,
            };
            if wanted && extension.notify(notice) {
                effects.push(Effect::GiveExtension(index, notice));
            }
        }
    }

    /// Says once that everybody waits.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        let Runtime::Settling { polling } = self.runtime else {
            return;
        };
        if self.extensions.iter().all(|extension| extension.state.is_at_rest()) {
            self.runtime = Runtime::Idle { polling };
            effects.push(Effect::Report(RuntimeEvent::AllIdle));
        }
    }

    fn report_registered(&self, effects: &mut Vec<Effect>) {
        let expected = |extension: &Extension| extension.state == ExtensionState::Expected;
        if !self.extensions.iter().any(expected) {
            effects.push(Effect::Report(RuntimeEvent::ExtensionsRegistered));
        }
    }

    fn refuse(&self, to: &'static str) -> Refusal {
        Refusal::RuntimeTransition {
            from: self.runtime.name(),
            to,
        }
    }
}

impl Runtime {
    /// The id that answers must name.
    fn invocation(&self) -> Option<&str> {
        match self {
            Self::Queued { id } | Self::Given { id } | Self::Receiving { id } | Self::Answered { id } => Some(id),
            _ => None,
        }
    }

    /// As in the messages of refusals.
    fn name(&self) -> &'static str {
        match self {
            Self::Starting => "Started",
            Self::InitFailed => "InitError",
            Self::Restorable | Self::Restoring => "Restoring",
            Self::Settling { .. } | Self::Idle { .. } | Self::Queued { .. } => "Ready",
            Self::Given { .. } => "Running",
            Self::Receiving { .. } => "InvocationResponse",
            Self::Answered { .. } | Self::Abandoned => "ResponseSent",
        }
    }
}
