//! What the machine's states stand for: the event, the polls that wait, the caller's end of an answer.
//!
//! One lock, held for a few lines and never across an await.

use super::answer::RuntimeAnswer;
use super::event::{DeliverError, ExtensionReport, RuntimeEvent, ShutdownReason, TooManyExtensions};
use super::extension::Subscriptions;
use super::kept::Keeper;
use super::machine::{Effect, Input, Machine, Notice, Verdict};
use super::many::{Many, Taken, WaitingPoll};
use super::refusal::Refusal;
use super::server::CONNECTIONS_MAX;
use super::telemetry::Telemetry;
use super::{FunctionDescription, RestoreNext, RuntimeApiParts};
use api::{Invocation, ResponseMode};
use bytes::Bytes;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// All of an environment's server.
pub(super) struct Shared {
    pub(super) function: FunctionDescription,
    pub(super) telemetry: Telemetry,
    /// Set if the runtime takes several invocations at once: these are then here and not in the machine.
    many: Option<Arc<Many>>,
    /// Set if the environment is to be written to a snapshot: what its connections wait for.
    pub(super) keeper: Option<Arc<Keeper>>,
    inner: Mutex<Inner>,
}

struct Inner {
    machine: Machine,
    /// Empty between calls; kept for its memory.
    effects: Vec<Effect>,
    /// The event of the invocation that the machine knows; kept until all are idle, for extensions and redelivery.
    event: Option<Arc<Delivered>>,
    /// The owner's end of its answer, until the answer begins.
    answer: Option<oneshot::Sender<RuntimeAnswer>>,
    /// The runtime's poll that waits, with its number.
    runtime_poll: Option<(u64, oneshot::Sender<Arc<Delivered>>)>,
    /// By an extension's index, as in the machine: its identifier once registered, and its poll that waits.
    extensions: Vec<ExtensionSlot>,
    ending: Option<(ShutdownReason, u64)>,
    polls: u64,
    events: mpsc::Sender<RuntimeEvent>,
}

#[derive(Default)]
struct ExtensionSlot {
    identifier: Option<Uuid>,
    poll: Option<(u64, oneshot::Sender<Bytes>)>,
}

/// An event on its way, until its invocation is over.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) invocation: Invocation,
    pub(super) deadline_ms: u64,
    abandoned: AtomicBool,
}

/// What a poll gets.
pub(super) enum Poll<T> {
    Now(T),
    Wait(Waiting<T>),
}

/// The same of the runtime's.
pub(super) enum RuntimePoll {
    Now(Arc<Delivered>),
    Wait(Waiting<Arc<Delivered>>),
    WaitBeside(WaitingPoll),
}

/// A poll that waits. Dropped before its event came, it tells the machine.
pub(super) struct Waiting<T> {
    shared: Arc<Shared>,
    receiver: oneshot::Receiver<T>,
    number: u64,
    /// None is the runtime.
    extension: Option<usize>,
    got: bool,
}

/// The right to answer the invocation that the runtime has. Dropped without an answer, it answers that the response
/// was truncated: the connection broke.
pub(super) struct Answering {
    shared: Arc<Shared>,
    pub(super) event: Arc<Delivered>,
    sender: Option<oneshot::Sender<RuntimeAnswer>>,
    ended: bool,
}

impl Shared {
    pub(super) fn new(parts: RuntimeApiParts, events: mpsc::Sender<RuntimeEvent>) -> Self {
        let inner = Inner {
            machine: Machine::new(parts.restore),
            effects: Vec::new(),
            event: None,
            answer: None,
            runtime_poll: None,
            extensions: Vec::new(),
            ending: None,
            polls: 0,
            events,
        };
        Self {
            function: parts.function,
            telemetry: Telemetry::new(parts.connector),
            many: (parts.invocations_max > 1).then(|| Arc::new(Many::new(parts.invocations_max))),
            keeper: (parts.restore == RestoreNext::Held).then(Arc::default),
            inner: Mutex::new(inner),
        }
    }

    pub(super) fn expect_extensions(&self, names: Vec<String>) -> Result<(), TooManyExtensions> {
        let mut inner = self.lock();
        let count = names.len();
        match self.apply(&mut inner, Input::Expect(names)) {
            Ok(_) => {
                let slots = inner.extensions.len() + count;
                inner.extensions.resize_with(slots, ExtensionSlot::default);
                Ok(())
            }
            Err(_) => Err(TooManyExtensions { count }),
        }
    }

    pub(super) fn deliver(
        &self,
        invocation: &Invocation,
        deadline_ms: u64,
    ) -> Result<oneshot::Receiver<RuntimeAnswer>, DeliverError> {
        let (sender, receiver) = oneshot::channel();
        let event = Arc::new(Delivered::new(invocation.clone(), deadline_ms));
        let mut inner = self.lock();
        if let Some(many) = &self.many {
            return match inner.ending {
                None => many.deliver(event),
                Some(_) => Err(DeliverError::ShuttingDown),
            };
        }
        let previous = inner.event.replace(event);
        match self.apply(
            &mut inner,
            Input::Deliver {
                id: &invocation.request_id,
            },
        ) {
            Ok(_) => {
                inner.answer = Some(sender);
                Ok(receiver)
            }
            Err(refusal) => {
                inner.event = previous;
                Err(match refusal {
                    Refusal::NotDelivered(error) => error,
                    _ => DeliverError::Busy,
                })
            }
        }
    }

    pub(super) fn fail_invocation(&self, request_id: &str) {
        if let Some(many) = &self.many {
            return many.fail(request_id);
        }
        let mut inner = self.lock();
        if self.apply(&mut inner, Input::Fail { id: request_id }).is_ok() {
            inner.answer = None;
            if let Some(event) = inner.event.take() {
                event.abandon();
            }
        }
    }

    pub(super) fn shutdown(&self, reason: ShutdownReason, deadline_ms: u64) {
        let mut inner = self.lock();
        if inner.ending.is_none() {
            inner.ending = Some((reason, deadline_ms));
            // The machine refuses no shutdown.
            let _ = self.apply(&mut inner, Input::Shutdown);
        }
    }

    pub(super) fn extensions(&self) -> Vec<ExtensionReport> {
        self.lock().machine.reports()
    }

    /// The runtime's `next`.
    pub(super) fn poll_runtime(self: &Arc<Self>) -> Result<RuntimePoll, Refusal> {
        let mut inner = self.lock();
        let verdict = self.apply(&mut inner, Input::Poll)?;
        if let Some(many) = &self.many {
            return Ok(match many.poll() {
                Taken::Now(event) => RuntimePoll::Now(event),
                Taken::Wait(poll) => RuntimePoll::WaitBeside(poll),
            });
        }
        match (verdict, &inner.event) {
            (Verdict::Take, Some(event)) => Ok(RuntimePoll::Now(Arc::clone(event))),
            _ => {
                let (sender, receiver) = oneshot::channel();
                inner.polls += 1;
                let number = inner.polls;
                inner.runtime_poll = Some((number, sender));
                Ok(RuntimePoll::Wait(self.waiting(receiver, number, None)))
            }
        }
    }

    /// Begins an answer for an invocation: until it is sent, nobody else answers it.
    pub(super) fn begin_answer(self: &Arc<Self>, request_id: &str) -> Result<Answering, Refusal> {
        if let Some(many) = &self.many {
            let (event, sender) = many.begin_answer(request_id)?;
            return Ok(Answering {
                shared: Arc::clone(self),
                event,
                sender,
                ended: false,
            });
        }
        let mut inner = self.lock();
        self.apply(&mut inner, Input::AnswerBegins { id: request_id })?;
        let event = inner.event.clone().ok_or(Refusal::InvalidRequestId)?;
        Ok(Answering {
            shared: Arc::clone(self),
            event,
            sender: inner.answer.take(),
            ended: false,
        })
    }

    /// The runtime's report that it cannot initialise: first whether it may, then what it says.
    pub(super) fn init_error(&self, error_type: Option<String>, body: Bytes) -> Result<(), Refusal> {
        let mut inner = self.lock();
        self.apply(&mut inner, Input::InitError)?;
        inner.report(RuntimeEvent::InitError { error_type, body });
        Ok(())
    }

    /// The runtime asks whether it is restored: whether it has to wait.
    pub(super) fn is_held_before_restore(&self) -> Result<bool, Refusal> {
        Ok(self.apply(&mut self.lock(), Input::RestorePoll)? == Verdict::Wait)
    }

    /// The runtime's report that a hook after the restore failed.
    pub(super) fn restore_error(&self, error_type: Option<String>, body: Bytes) -> Result<(), Refusal> {
        let mut inner = self.lock();
        self.apply(&mut inner, Input::RestoreError)?;
        inner.report(RuntimeEvent::RestoreError { error_type, body });
        Ok(())
    }

    /// Registers an extension and gives it its identifier.
    pub(super) fn register(&self, name: &str, events: Subscriptions) -> Result<Uuid, Refusal> {
        let mut inner = self.lock();
        let Verdict::Registered(index) = self.apply(&mut inner, Input::Register { name, events })? else {
            return Err(Refusal::NameInvalid);
        };
        if inner.extensions.len() <= index {
            inner.extensions.resize_with(index + 1, ExtensionSlot::default);
        }
        let identifier = Uuid::new_v4();
        inner.extensions[index].identifier = Some(identifier);
        Ok(identifier)
    }

    /// An extension's index and name.
    pub(super) fn find_extension(&self, identifier: Uuid) -> Result<(usize, String), Refusal> {
        let inner = self.lock();
        let found = |slot: &ExtensionSlot| slot.identifier == Some(identifier);
        let index = inner.extensions.iter().position(found);
        let index = index.ok_or(Refusal::IdentifierUnknown)?;
        Ok((index, inner.machine.extension_name(index).to_owned()))
    }

    /// An extension's `next`.
    pub(super) fn poll_extension(self: &Arc<Self>, index: usize) -> Result<Poll<Bytes>, Refusal> {
        let mut inner = self.lock();
        let verdict = self.apply(&mut inner, Input::ExtensionPoll(index))?;
        if let (Verdict::Take, Some(notice)) = (verdict, inner.machine.extension_notice(index)) {
            return Ok(Poll::Now(inner.extension_event(notice)));
        }
        let (sender, receiver) = oneshot::channel();
        inner.polls += 1;
        let number = inner.polls;
        inner.extensions[index].poll = Some((number, sender));
        Ok(Poll::Wait(self.waiting(receiver, number, Some(index))))
    }

    /// An input of an extension that has no answer but yes or no.
    pub(super) fn input(&self, input: Input<'_>) -> Result<(), Refusal> {
        self.apply(&mut self.lock(), input).map(|_| ())
    }

    /// Connections that the environment may have at once.
    pub(super) fn connections_max(&self) -> usize {
        let beside = self.many.as_ref().map_or(0, |many| many.connections());
        CONNECTIONS_MAX + beside
    }

    fn waiting<T>(
        self: &Arc<Self>,
        receiver: oneshot::Receiver<T>,
        number: u64,
        extension: Option<usize>,
    ) -> Waiting<T> {
        Waiting {
            shared: Arc::clone(self),
            receiver,
            number,
            extension,
            got: false,
        }
    }

    /// Applies an input and does what it causes.
    fn apply(&self, inner: &mut Inner, input: Input<'_>) -> Result<Verdict, Refusal> {
        let mut effects = std::mem::take(&mut inner.effects);
        let verdict = inner.machine.apply(input, &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::GiveRuntime => inner.give_runtime(),
                Effect::GiveExtension(index, notice) => inner.give_extension(index, notice),
                Effect::Report(event) => {
                    if event == RuntimeEvent::AllIdle {
                        // An idle environment holds no payload: there may be a thousand of them.
                        inner.event = None;
                        self.telemetry.close_subscriptions();
                    }
                    inner.report(event);
                }
            }
        }
        inner.effects = effects;
        verdict
    }

    fn poll_lost(&self, number: u64, extension: Option<usize>) {
        let mut inner = self.lock();
        let input = match extension {
            None => {
                // Another poll may have taken its place, and an event given to a dead one is given again.
                if inner.runtime_poll.take_if(|poll| poll.0 == number).is_none() {
                    return;
                }
                Input::PollLost
            }
            Some(index) => {
                let slot = &mut inner.extensions[index].poll;
                if slot.as_ref().is_some_and(|poll| poll.0 != number) {
                    return;
                }
                *slot = None;
                Input::ExtensionPollLost(index)
            }
        };
        // The machine refuses neither.
        let _ = self.apply(&mut inner, input);
    }

    /// The state is consistent after every call; a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn give_runtime(&mut self) {
        if let (Some((_, poll)), Some(event)) = (self.runtime_poll.take(), &self.event) {
            // A poll whose connection has just broken does not take it. The machine gives it to the next poll.
            let _ = poll.send(Arc::clone(event));
        }
    }

    fn give_extension(&mut self, index: usize, notice: Notice) {
        if let Some((_, poll)) = self.extensions[index].poll.take() {
            // As above: the broken poll's guard has the machine queue the notice again.
            let _ = poll.send(self.extension_event(notice));
        }
    }

    fn extension_event(&self, notice: Notice) -> Bytes {
        let value = match (notice, &self.event, self.ending) {
            (Notice::Invoke, Some(event), _) => json!({
                "eventType": "INVOKE",
                "deadlineMs": event.deadline_ms,
                "requestId": event.invocation.request_id,
                "invokedFunctionArn": event.invocation.arn,
                "tracing": { "type": "X-Amzn-Trace-Id", "value": event.invocation.trace_id },
            }),
            (_, _, ending) => {
                let (reason, deadline_ms) = ending.unwrap_or((ShutdownReason::Spindown, 0));
                json!({ "eventType": "SHUTDOWN", "shutdownReason": reason.name(), "deadlineMs": deadline_ms })
            }
        };
        Bytes::from(value.to_string())
    }

    fn report(&self, event: RuntimeEvent) {
        if let Err(error) = self.events.try_send(event) {
            // An owner that is gone does not miss it; one that does not listen would be our own fault.
            tracing::debug!("an event of an environment was not heard: {error}");
        }
    }
}

impl Delivered {
    pub(super) fn new(invocation: Invocation, deadline_ms: u64) -> Self {
        Self {
            invocation,
            deadline_ms,
            abandoned: AtomicBool::new(false),
        }
    }

    /// Its owner ends the invocation.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Whether the invocation was ended by its owner.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Whether the owner takes a stream.
    pub(super) fn takes_stream(&self) -> bool {
        self.invocation.mode == ResponseMode::Streaming
    }
}

impl<T> Waiting<T> {
    /// The event; nothing when another poll has taken this one's place.
    pub(super) async fn event(mut self) -> Option<T> {
        let event = (&mut self.receiver).await.ok();
        self.got = true;
        event
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        if !self.got {
            self.shared.poll_lost(self.number, self.extension);
        }
    }
}

impl Answering {
    /// Sends the answer and ends the invocation on the runtime's side.
    pub(super) fn send(mut self, answer: RuntimeAnswer) -> Result<(), Refusal> {
        self.end(Some(answer))
    }

    /// Sends the beginning of an answer that streams.
    pub(super) fn send_beginning(&mut self, answer: RuntimeAnswer) {
        if let Some(sender) = self.sender.take() {
            // A caller that is gone does not stop the function.
            let _ = sender.send(answer);
        }
    }

    /// Ends the invocation on the runtime's side, after a stream.
    pub(super) fn end_stream(mut self) -> Result<(), Refusal> {
        self.end(None)
    }

    fn end(&mut self, answer: Option<RuntimeAnswer>) -> Result<(), Refusal> {
        self.ended = true;
        let id = &self.event.invocation.request_id;
        match &self.shared.many {
            Some(many) => many.end_answer(id)?,
            None => self.shared.input(Input::AnswerEnds { id })?,
        }
        if let (Some(answer), Some(sender)) = (answer, self.sender.take()) {
            let _ = sender.send(answer);
        }
        Ok(())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.ended {
            // Refused when the invocation is over already, and then nobody waits.
            let _ = self.end(Some(RuntimeAnswer::Truncated));
        }
    }
}
