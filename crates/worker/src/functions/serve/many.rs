//! Several invocations at once in one environment, for functions that ask for it.
//!
//! Each has its own START, END and REPORT, its own time and its own caller. What ends the environment ends all of them:
//! the runtime's exit, an extension's failure, and one that takes too long, for the environment is then of no use. The
//! environment rests when none is left, and only then is it frozen.

use super::{ANSWER_AFTER_EXIT, Begun, Event, Failure, HowEnded, InvokeError, Job, Serving, ShutdownReason, Verdict};
use crate::functions::dispatch::Order;
use crate::functions::environment::Environment;
use crate::functions::exits::Who;
use crate::functions::life::Life;
use crate::functions::processes::Heard;
use crate::runtime_api::{RuntimeAnswer, RuntimeEvent, StreamEnd};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What those are told whose environment ends because of another's timeout: it is killed.
const KILLED: Failure = Failure::Exited(HowEnded::Signal(9));

/// How long an environment that has nothing to do may go unheard; any time will do, as it rests at once.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

/// The invocations of one environment.
#[derive(Default)]
struct Together(Vec<One>);

struct One {
    serving: Serving,
    /// Until it is answered.
    answer: Option<oneshot::Receiver<RuntimeAnswer>>,
}

/// Something that a runtime said of one invocation, by its place.
enum Said {
    Answer(usize, Option<RuntimeAnswer>),
    StreamEnd(usize, Option<StreamEnd>),
}

/// What an environment waits for.
enum Happened {
    Said(Said),
    Order(Option<Order>),
    Heard(Heard),
}

impl Environment {
    /// Whether its runtime takes several invocations at once.
    pub(super) fn takes_many(&self) -> bool {
        self.lease.invocations_max > 1
    }

    /// Serves an event, and those that come meanwhile, until none is left or the environment is of no use.
    pub(super) async fn serve_many(&mut self, job: Job, begun: Option<Begun>) {
        let mut together = Together::default();
        self.begin_one(&mut together, job, begun);
        while matches!(self.life, Life::Busy(_)) {
            let processes = self.processes.as_mut().expect("a busy environment has processes");
            let until = together.until();
            let happened = tokio::select! {
                biased;
                said = together.said() => Happened::Said(said),
                order = self.orders.recv() => Happened::Order(order),
                heard = processes.hear(&mut self.log, None, until) => Happened::Heard(heard),
            };
            match happened {
                Happened::Said(said) => self.said(&mut together, said),
                Happened::Order(Some(Order::Run(job))) => self.begin_one(&mut together, job, None),
                // Only an idle environment is told to stop.
                Happened::Order(Some(Order::Stop)) => {}
                Happened::Order(Some(Order::Kill) | None) => self.killed_all(&mut together),
                Happened::Heard(heard) => self.heard(&mut together, heard).await,
            }
        }
        // What could not be given to the runtime has broken the environment for the others, too.
        self.fail_all(&mut together, &KILLED);
    }

    fn begin_one(&mut self, together: &mut Together, job: Job, begun: Option<Begun>) {
        let mut serving = Serving::new(job, begun, self.lease.timeout);
        match self.deliver(&mut serving) {
            Ok(answer) => together.0.push(One {
                serving,
                answer: Some(answer),
            }),
            Err(reason) => {
                self.break_down(ShutdownReason::Failure);
                serving.refuse(InvokeError::CannotStart {
                    function: self.function_name(),
                    reason,
                });
            }
        }
    }

    fn said(&mut self, together: &mut Together, said: Said) {
        match said {
            Said::Answer(place, Some(answer)) => {
                let one = &mut together.0[place];
                if !matches!(answer, RuntimeAnswer::Response { end: Some(_), .. }) {
                    let one = together.0.swap_remove(place);
                    return self.over(one.serving, Some(answer));
                }
                // It streams: its seat stays taken until it has ended.
                one.serving.answer(answer);
            }
            // The server has given it up, and says why in another way.
            Said::Answer(_, None) => {}
            Said::StreamEnd(place, end) => {
                let mut one = together.0.swap_remove(place);
                if let Some(end) = end {
                    one.serving.stream_ended(end);
                }
                self.over(one.serving, None);
            }
        }
    }

    /// One invocation is over. The environment rests if it was the last.
    fn over(&mut self, mut serving: Serving, answer: Option<RuntimeAnswer>) {
        // Before the caller can ask again.
        let is_last = self.machine.pool().give_seat_back(self.id);
        if let Some(answer) = answer {
            serving.answer(answer);
        }
        self.finish(serving);
        if is_last {
            self.happened(Event::Answered);
            self.happened(Event::Settled);
        }
    }

    async fn heard(&mut self, together: &mut Together, heard: Heard) {
        match heard {
            Heard::Runtime(RuntimeEvent::ExtensionFailed { name, failure, .. }) => {
                let error_type = failure.to_owned();
                self.end_all(
                    together,
                    ShutdownReason::Failure,
                    &Failure::Extension { error_type, name },
                );
            }
            Heard::Exit(Who::Extension(name), _) => {
                self.end_all(together, ShutdownReason::Failure, &Failure::extension_crash(name));
            }
            Heard::Exit(Who::Runtime, how) => {
                self.hear_last_words(together).await;
                let (processes, _) = self.parts();
                let failure = processes.exit_failure(how);
                self.end_all(together, ShutdownReason::Failure, &failure);
            }
            Heard::Time => self.out_of_time(together),
            Heard::Runtime(_) | Heard::Answer(_) => {}
        }
    }

    /// The runtime's process has ended; answers may still be on their way.
    async fn hear_last_words(&mut self, together: &mut Together) {
        let until = tokio::time::Instant::now() + ANSWER_AFTER_EXIT;
        while let Ok(said) = tokio::time::timeout_at(until, together.said()).await {
            self.said(together, said);
        }
    }

    fn out_of_time(&mut self, together: &mut Together) {
        let now = Instant::now();
        let timeout = self.lease.timeout;
        let (late, others): (Vec<One>, Vec<One>) = together.0.drain(..).partition(|one| one.serving.until <= now);
        together.0 = others;
        // The clock may have woken us a moment too early.
        if late.is_empty() {
            return;
        }
        self.break_down(ShutdownReason::Timeout);
        self.fail_all(&mut Together(late), &Failure::TimedOut { timeout });
        self.fail_all(together, &KILLED);
    }

    fn killed_all(&mut self, together: &mut Together) {
        self.break_down(ShutdownReason::Failure);
        for mut one in together.0.drain(..) {
            one.serving.verdict = Verdict::Killed;
            self.finish(one.serving);
        }
    }

    fn end_all(&mut self, together: &mut Together, reason: ShutdownReason, failure: &Failure) {
        self.break_down(reason);
        self.fail_all(together, failure);
    }

    fn fail_all(&mut self, together: &mut Together, failure: &Failure) {
        for mut one in together.0.drain(..) {
            let (processes, _) = self.parts();
            processes.api.fail_invocation(&one.serving.invocation.request_id);
            one.serving.fail(failure.clone());
            self.finish(one.serving);
        }
    }
}

impl Together {
    /// When the first of them has taken too long.
    fn until(&self) -> Instant {
        let first = self.0.iter().map(|one| one.serving.until).min();
        first.unwrap_or_else(|| Instant::now() + NOTHING_DUE)
    }

    /// The next thing that the runtime says of one of them. Cancel safe.
    async fn said(&mut self) -> Said {
        poll_fn(|context| self.poll_said(context)).await
    }

    fn poll_said(&mut self, context: &mut Context<'_>) -> Poll<Said> {
        for (place, one) in self.0.iter_mut().enumerate() {
            if let Poll::Ready(answer) = poll_taken(&mut one.answer, context) {
                return Poll::Ready(Said::Answer(place, answer));
            }
            if let Poll::Ready(end) = poll_taken(&mut one.serving.stream, context) {
                return Poll::Ready(Said::StreamEnd(place, end));
            }
        }
        Poll::Pending
    }
}

/// What comes through a channel, once.
fn poll_taken<T>(channel: &mut Option<oneshot::Receiver<T>>, context: &mut Context<'_>) -> Poll<Option<T>> {
    let Some(receiver) = channel else {
        return Poll::Pending;
    };
    let Poll::Ready(received) = Pin::new(receiver).poll(context) else {
        return Poll::Pending;
    };
    *channel = None;
    Poll::Ready(received.ok())
}
