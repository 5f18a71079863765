//! Several invocations at once, for runtimes that were told so by AWS_LAMBDA_MAX_CONCURRENCY.
//!
//! Such a runtime has as many polls as it takes invocations; each poll gets one event, and answers name theirs by its
//! id. The machine still decides about the initialisation, the extensions and the end; between them it stays idle, and
//! what is here decides about invocations. Extensions are not told of them, as on Lambda's own instances of this kind.
//!
//! ```text
//! deliver ─> Queued ─ a poll ─> Given ─ response, error ─> Receiving ─ body read ─> over
//!               ^                 │
//!               └─ the poll's connection was dead         any ─ fail ─> over
//! ```

use super::answer::RuntimeAnswer;
use super::event::DeliverError;
use super::refusal::Refusal;
use super::shared::Delivered;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The invocations of one environment.
#[derive(Debug)]
pub(super) struct Many {
    invocations_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Polls that wait, oldest first; no more than connections.
    polls: VecDeque<(u64, oneshot::Sender<Arc<Delivered>>)>,
    /// Events that no poll has taken, by id, oldest first.
    queued: VecDeque<String>,
    running: HashMap<String, Running>,
    polls_seen: u64,
}

#[derive(Debug)]
struct Running {
    event: Arc<Delivered>,
    stage: Stage,
    /// The owner's end of the answer, until the answer begins.
    answer: Option<oneshot::Sender<RuntimeAnswer>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Queued,
    Given,
    Receiving,
}

/// What a poll gets.
pub(super) enum Taken {
    Now(Arc<Delivered>),
    Wait(WaitingPoll),
}

/// A poll that waits. Dropped before it has its event, it leaves it to another one.
pub(super) struct WaitingPoll {
    many: Arc<Many>,
    receiver: oneshot::Receiver<Arc<Delivered>>,
    number: u64,
    got: bool,
}

impl Many {
    pub(super) fn new(invocations_max: usize) -> Self {
        Self {
            invocations_max,
            inner: Mutex::default(),
        }
    }

    /// Connections that such a runtime may need beside an ordinary one's: a poll and an answer for each invocation.
    pub(super) fn connections(&self) -> usize {
        2 * self.invocations_max
    }

    /// Gives an event to a poll, or to the next one.
    ///
    /// Who has a seat is the owner's affair. It hears of a stream's end a moment before the runtime's side of it is over,
    /// so there may be more here than seats for that moment; twice as many are our own fault.
    pub(super) fn deliver(&self, event: Arc<Delivered>) -> Result<oneshot::Receiver<RuntimeAnswer>, DeliverError> {
        let mut inner = self.lock();
        let id = event.invocation.request_id.clone();
        if inner.running.len() >= 2 * self.invocations_max || inner.running.contains_key(&id) {
            return Err(DeliverError::Busy);
        }
        let (sender, receiver) = oneshot::channel();
        let running = Running {
            event,
            stage: Stage::Queued,
            answer: Some(sender),
        };
        inner.running.insert(id.clone(), running);
        inner.queued.push_back(id);
        inner.give();
        Ok(receiver)
    }

    /// Ends an invocation without an answer of the runtime.
    pub(super) fn fail(&self, id: &str) {
        let mut inner = self.lock();
        if let Some(running) = inner.running.remove(id) {
            running.event.abandon();
            inner.queued.retain(|queued| queued != id);
        }
    }

    /// The runtime asks for an event.
    pub(super) fn poll(self: &Arc<Self>) -> Taken {
        let mut inner = self.lock();
        if let Some(event) = inner.take() {
            return Taken::Now(event);
        }
        let (sender, receiver) = oneshot::channel();
        inner.polls_seen += 1;
        let number = inner.polls_seen;
        inner.polls.push_back((number, sender));
        Taken::Wait(WaitingPoll {
            many: Arc::clone(self),
            receiver,
            number,
            got: false,
        })
    }

    /// Begins an answer: until it ends nobody else answers that event.
    pub(super) fn begin_answer(
        &self,
        id: &str,
    ) -> Result<(Arc<Delivered>, Option<oneshot::Sender<RuntimeAnswer>>), Refusal> {
        let mut inner = self.lock();
        let running = inner.running.get_mut(id).ok_or(Refusal::InvalidRequestId)?;
        match running.stage {
            Stage::Given => running.stage = Stage::Receiving,
            // Nobody can know the id of an event that was given to nobody.
            Stage::Queued => return Err(Refusal::InvalidRequestId),
            Stage::Receiving => {
                return Err(Refusal::RuntimeTransition {
                    from: "InvocationResponse",
                    to: "InvocationResponse",
                });
            }
        }
        Ok((Arc::clone(&running.event), running.answer.take()))
    }

    /// The answer's body is here, or will never be.
    pub(super) fn end_answer(&self, id: &str) -> Result<(), Refusal> {
        let mut inner = self.lock();
        match inner.running.get(id) {
            Some(running) if running.stage == Stage::Receiving => {
                inner.running.remove(id);
                Ok(())
            }
            _ => Err(Refusal::InvalidRequestId),
        }
    }

    fn poll_lost(&self, number: u64, given: Option<&Arc<Delivered>>) {
        let mut inner = self.lock();
        inner.polls.retain(|(poll, _)| *poll != number);
        let Some(id) = given.map(|event| &event.invocation.request_id) else {
            return;
        };
        if let Some(running) = inner.running.get_mut(id)
            && running.stage == Stage::Given
        {
            running.stage = Stage::Queued;
            inner.queued.push_front(id.clone());
            inner.give();
        }
    }

    /// Held for a few lines, never across an await.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The event that waits longest, given to whoever asks.
    fn take(&mut self) -> Option<Arc<Delivered>> {
        let id = self.queued.pop_front()?;
        let running = self.running.get_mut(&id)?;
        running.stage = Stage::Given;
        Some(Arc::clone(&running.event))
    }

    /// Gives what waits to those who wait.
    fn give(&mut self) {
        while !self.queued.is_empty() {
            let Some((_, poll)) = self.polls.pop_front() else {
                return;
            };
            let Some(event) = self.take() else {
                return;
            };
            // A poll whose connection has just broken does not take it.
            if let Err(event) = poll.send(event) {
                let id = event.invocation.request_id.clone();
                if let Some(running) = self.running.get_mut(&id) {
                    running.stage = Stage::Queued;
                    self.queued.push_front(id);
                }
            }
        }
    }
}

impl WaitingPoll {
    /// The event; nothing when the environment ends.
    pub(super) async fn event(mut self) -> Option<Arc<Delivered>> {
        let event = (&mut self.receiver).await.ok();
        self.got = true;
        event
    }
}

impl Drop for WaitingPoll {
    fn drop(&mut self) {
        if !self.got {
            self.receiver.close();
            let given = self.receiver.try_recv().ok();
            self.many.poll_lost(self.number, given.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Invocation, ResponseMode};

    fn event(id: &str) -> Arc<Delivered> {
        let invocation = Invocation {
            request_id: id.to_owned(),
            arn: String::new(),
            payload: bytes::Bytes::new(),
            client_context: None,
            trace_id: String::new(),
            mode: ResponseMode::Buffered,
            tail: false,
        };
        Arc::new(Delivered::new(invocation, 0))
    }

    fn wait(many: &Arc<Many>) -> WaitingPoll {
        match many.poll() {
            Taken::Wait(poll) => poll,
            Taken::Now(event) => panic!("{event:?}"),
        }
    }

    fn now(many: &Arc<Many>) -> String {
        match many.poll() {
            Taken::Now(event) => event.invocation.request_id.clone(),
            Taken::Wait(_) => panic!("nothing is there"),
        }
    }

    #[tokio::test]
    async fn each_poll_gets_one_event_and_each_answer_finds_its_own() {
        let many = Arc::new(Many::new(3));
        let (first, second) = (wait(&many), wait(&many));
        let _answers = ["a", "b", "c"].map(|id| many.deliver(event(id)).unwrap());
        assert_eq!(first.event().await.unwrap().invocation.request_id, "a");
        assert_eq!(second.event().await.unwrap().invocation.request_id, "b");
        assert_eq!(
            many.begin_answer("c").err(),
            Some(Refusal::InvalidRequestId),
            "nobody has it"
        );
        assert_eq!(now(&many), "c");
        for id in ["b", "c", "a"] {
            let (found, sender) = many.begin_answer(id).unwrap();
            assert_eq!(found.invocation.request_id, id);
            assert!(sender.is_some());
            assert!(matches!(many.begin_answer(id), Err(Refusal::RuntimeTransition { .. })));
            assert_eq!(many.end_answer(id), Ok(()));
            assert_eq!(many.end_answer(id), Err(Refusal::InvalidRequestId), "it is over");
        }
        assert!(many.lock().running.is_empty());
    }

    #[test]
    fn what_is_here_is_bounded() {
        let many = Many::new(2);
        let _answers = ["a", "b", "c", "d"].map(|id| many.deliver(event(id)).unwrap());
        assert_eq!(many.deliver(event("e")).err(), Some(DeliverError::Busy));
        many.fail("b");
        assert_eq!(
            many.deliver(event("a")).err(),
            Some(DeliverError::Busy),
            "it is here already"
        );
        assert!(many.deliver(event("e")).is_ok());
    }

    #[tokio::test]
    async fn an_event_that_went_to_a_dead_poll_goes_to_another() {
        let many = Arc::new(Many::new(2));
        let (dead, living) = (wait(&many), wait(&many));
        let _answer = many.deliver(event("a")).unwrap();
        drop(dead);
        assert_eq!(living.event().await.unwrap().invocation.request_id, "a");
        drop(wait(&many));
        let _other = many.deliver(event("b")).unwrap();
        assert_eq!(now(&many), "b", "a poll that has gone gets nothing");
    }

    #[tokio::test]
    async fn what_has_failed_is_nobodys_any_more() {
        let many = Arc::new(Many::new(2));
        let answers = ["a", "b"].map(|id| many.deliver(event(id)).unwrap());
        assert_eq!(now(&many), "a");
        many.fail("a");
        many.fail("b");
        many.fail("c");
        for answer in answers {
            assert!(answer.await.is_err());
        }
        assert_eq!(many.begin_answer("a").err(), Some(Refusal::InvalidRequestId));
        let _poll = wait(&many);
        assert!(many.deliver(event("d")).is_ok(), "there is room again");
    }
}
