//! One invocation in an environment: the event goes in, the answer comes out, and START, END and REPORT are written.

mod many;

use super::calendar::{now_ms, timestamp};
use super::cold_start::cold_start_line;
use super::dispatch::Order;
use super::environment::Environment;
use super::exits::Who;
use super::failure::{Failure, HowEnded};
use super::job::{Answer, Caller, Job};
use super::life::{Event, Life};
use super::processes::Heard;
use super::records::{ComeUp, Outcome, Record, end_line};
use super::sandboxes::MB;
use super::start::Begun;
use crate::runtime_api::{RuntimeAnswer, RuntimeEvent, ShutdownReason, StreamEnd};
use api::{Body, Ending, ErrorMark, Initialization, Invocation, InvokeError, Report};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long an answer may still be on its way through the server when its process has ended.
const ANSWER_AFTER_EXIT: Duration = Duration::from_millis(20);

/// Memory is looked at again when an invocation took this long, or the last look is [`LOOK_AGAIN`] old. A look opens
/// and reads several files of the kernel; thousands of short invocations in a row do not need one each, since the
/// kernel keeps the peak and the next look finds it.
const LONG_INVOCATION: Duration = Duration::from_millis(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// An invocation that runs.
struct Serving {
    invocation: Invocation,
    /// Until it is answered.
    caller: Option<Caller>,
    /// From then on.
    ending: Option<oneshot::Sender<Ending>>,
    begin: Instant,
    delivered: Instant,
    until: Instant,
    begun: Option<Begun>,
    produced_bytes: Option<u64>,
    stream: Option<oneshot::Receiver<StreamEnd>>,
    /// How it went as far as is known.
    verdict: Verdict,
}

/// How an invocation went.
#[derive(Debug, Default)]
enum Verdict {
    #[default]
    Success,
    /// The function says that it failed.
    Error {
        error_type: String,
        message: String,
    },
    Failure(Failure),
    /// The worker ends.
    Killed,
}

impl Environment {
    /// Serves an event, from thawing to REPORT. The state says afterwards whether the environment can serve another.
    pub(super) async fn serve(&mut self, job: Job, begun: Option<Begun>) {
        self.happened(Event::Assigned);
        if self.takes_many() {
            return self.serve_many(job, begun).await;
        }
        let mut serving = Serving::new(job, begun, self.lease.timeout);
        match self.deliver(&mut serving) {
            Ok(answer) => self.listen(&mut serving, answer).await,
            Err(reason) => {
                self.break_down(ShutdownReason::Failure);
                serving.refuse(InvokeError::CannotStart {
                    function: self.function_name(),
                    reason,
                });
                return;
            }
        }
        self.finish(serving);
    }

    fn deliver(&mut self, serving: &mut Serving) -> Result<oneshot::Receiver<RuntimeAnswer>, String> {
        let invocation = &serving.invocation;
        let left = serving.until.saturating_duration_since(Instant::now());
        let deadline_ms = now_ms() + u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let lease = Arc::clone(&self.lease);
        let (processes, log) = self.parts();
        processes.thaw().map_err(|error| error.to_string())?;
        let answer = processes
            .api
            .deliver(invocation, deadline_ms)
            .map_err(|error| error.to_string())?;
        if let Some(begun) = &mut serving.begun {
            // The runtime is ready: what it touches from now on belongs to no start. Ends within FIGURES_WAIT.
            begun.tiers = Some(tokio::spawn(std::mem::take(&mut begun.reads).finish()));
        }
        // A second attempt at initialising has said so already.
        if serving.begun.as_ref().is_none_or(|begun| begun.invocation.is_none()) {
            if lease.invocations_max == 1 {
                log.keep_tail(invocation.tail);
            } else if invocation.tail {
                log.share_tail();
            }
            let start = Record::Start {
                request_id: &invocation.request_id,
                version: &lease.function.version,
            };
            processes.record(log, &start);
        }
        Ok(answer)
    }

    /// Until runtime and extensions have asked for the next event, or it is clear that they will not.
    async fn listen(&mut self, serving: &mut Serving, answer: oneshot::Receiver<RuntimeAnswer>) {
        let mut answer = Some(answer);
        while matches!(self.life, Life::Busy(_)) {
            let processes = self.processes.as_mut().expect("a busy environment has processes");
            let heard = tokio::select! {
                biased;
                heard = processes.hear(&mut self.log, answer.as_mut(), serving.until) => heard,
                Some(order) = self.orders.recv() => {
                    // Others cannot come: the pool knows that it is busy.
                    if matches!(order, Order::Kill) {
                        serving.verdict = Verdict::Killed;
                        self.break_down(ShutdownReason::Failure);
                    }
                    continue;
                }
            };
            match heard {
                Heard::Answer(received) => {
                    answer = None;
                    if let Some(received) = received {
                        self.answered(serving, received);
                    }
                }
                Heard::Runtime(RuntimeEvent::AllIdle) => self.happened(Event::Settled),
                Heard::Runtime(RuntimeEvent::ExtensionFailed { name, failure, .. }) => {
                    self.fail(
                        serving,
                        Failure::Extension {
                            error_type: failure.to_owned(),
                            name,
                        },
                    );
                }
                Heard::Runtime(_) => {}
                Heard::Exit(Who::Extension(name), _) => self.fail(serving, Failure::extension_crash(name)),
                Heard::Exit(Who::Runtime, how) => self.exited(serving, answer.take(), how).await,
                Heard::Time => self.fail(
                    serving,
                    Failure::TimedOut {
                        timeout: self.lease.timeout,
                    },
                ),
            }
        }
    }

    fn answered(&mut self, serving: &mut Serving, received: RuntimeAnswer) {
        self.happened(Event::Answered);
        // Before the caller can ask again.
        self.machine.pool().settling(self.id);
        serving.answer(received);
    }

    /// The runtime's process has ended. Its last words may be an answer.
    async fn exited(&mut self, serving: &mut Serving, answer: Option<oneshot::Receiver<RuntimeAnswer>>, how: HowEnded) {
        if let Some(answer) = answer
            && let Ok(Ok(received)) = tokio::time::timeout(ANSWER_AFTER_EXIT, answer).await
        {
            self.answered(serving, received);
        }
        let (processes, _) = self.parts();
        let failure = processes.exit_failure(how);
        self.fail(serving, failure);
    }

    /// The environment is of no use any more. A caller that has no answer yet gets this one.
    fn fail(&mut self, serving: &mut Serving, failure: Failure) {
        let reason = match failure {
            Failure::TimedOut { .. } => ShutdownReason::Timeout,
            _ => ShutdownReason::Failure,
        };
        let (processes, _) = self.parts();
        processes.api.fail_invocation(&serving.invocation.request_id);
        self.break_down(reason);
        serving.fail(failure);
    }

    fn break_down(&mut self, reason: ShutdownReason) {
        self.machine.pool().leave(self.id);
        self.shutdown = reason;
        self.happened(Event::Broke);
    }

    /// Writes the log's last lines of the invocation and tells the caller what it cost.
    fn finish(&mut self, mut serving: Serving) {
        let duration = serving.begin.elapsed();
        serving.settle_stream();
        if matches!(serving.verdict, Verdict::Killed) && serving.caller.is_some() {
            return serving.refuse(Self::shutting_down());
        }
        self.look_at_memory(duration);
        let init = serving.begun.as_ref().and_then(|begun| begun.init);
        let report = self.report(duration, init);
        let outcome = serving.verdict.outcome();
        self.write_end(&serving, &outcome, &report, init);
        let log_tail = match (self.takes_many(), serving.invocation.tail) {
            (false, _) => self.log.take_tail(),
            (true, true) => self.log.copy_tail(),
            (true, false) => None,
        };
        let ending = Ending {
            error: serving.verdict.error(&serving.invocation.request_id),
            log_tail,
            report,
        };
        self.send_ending(serving, ending);
    }

    fn write_end(&mut self, serving: &Serving, outcome: &Outcome, report: &Report, init: Option<ComeUp>) {
        let request_id = &serving.invocation.request_id;
        let (processes, log) = self.parts();
        processes.drain(log);
        if let Verdict::Failure(failure) = &serving.verdict
            && let Some(line) = failure.log_line(request_id, &timestamp(now_ms()))
        {
            log.text(|| line);
        }
        log.text(|| end_line(request_id));
        let done = Record::RuntimeDone {
            request_id,
            outcome,
            duration: report.duration,
            produced_bytes: serving.produced_bytes,
        };
        processes.record(log, &done);
        let last = Record::Report {
            request_id,
            outcome,
            report,
            init,
        };
        processes.record(log, &last);
    }

    fn send_ending(&mut self, serving: Serving, mut ending: Ending) {
        let Some(sender) = serving.ending else {
            return;
        };
        let Some(begun) = serving.begun else {
            // A caller that has gone does not want to know.
            let _ = sender.send(ending);
            return;
        };
        // So that the start's line comes after the invocation's.
        self.log.flush();
        let (log, request_id) = (self.log.aside(), serving.invocation.request_id);
        // The daemon's figures come later than the environment's next event may. Ends within FIGURES_WAIT.
        tokio::spawn(async move {
            let tiers = match begun.tiers {
                Some(tiers) => tiers.await.unwrap_or_default(),
                None => Vec::new(),
            };
            let record = begun.clock.finish(tiers);
            log.write(cold_start_line(&request_id, &record), "lambent.coldStart", &record);
            ending.report.cold_start = Some(record);
            let _ = sender.send(ending);
        });
    }

    fn report(&self, duration: Duration, init: Option<ComeUp>) -> Report {
        let billed_init = match self.lease.initialization {
            Initialization::OnDemand | Initialization::SnapStart => init.map_or(Duration::ZERO, ComeUp::billed),
            // Billed by the hour, elsewhere.
            Initialization::Provisioned => Duration::ZERO,
        };
        let used_mb = self.memory_peak.0.div_ceil(MB).min(u64::from(self.lease.memory_mb));
        Report {
            duration,
            billed: round_up_to_ms(duration + billed_init),
            memory_mb: self.lease.memory_mb,
            memory_used_mb: u32::try_from(used_mb).unwrap_or(u32::MAX),
            cold_start: None,
        }
    }

    fn look_at_memory(&mut self, duration: Duration) {
        let is_recent = self.memory_peak.1.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN);
        if !is_recent || duration >= LONG_INVOCATION || self.life == Life::Failed {
            self.memory_seen();
        }
    }

    pub(super) fn memory_seen(&mut self) {
        let Some(processes) = &self.processes else {
            return;
        };
        let usage = processes.usage();
        // Files of /tmp are no memory of the function. What was removed before this look is counted, though.
        let seen = usage
            .memory_peak_bytes
            .max(usage.memory_bytes)
            .saturating_sub(usage.tmp_bytes);
        self.memory_peak = (self.memory_peak.0.max(seen), Some(Instant::now()));
    }
}

/// Answers an event whose environment failed to initialise, twice.
pub(super) fn refuse_with(environment: &mut Environment, job: Job, begun: Begun, failure: Failure) {
    let mut serving = Serving::new(job, Some(begun), environment.lease.timeout);
    serving.fail(failure);
    environment.finish(serving);
}

impl Serving {
    fn new(job: Job, begun: Option<Begun>, timeout: Duration) -> Self {
        let begin = begun
            .as_ref()
            .and_then(|begun| begun.invocation)
            .unwrap_or_else(Instant::now);
        Self {
            invocation: job.invocation,
            caller: Some(job.caller),
            ending: None,
            begin,
            delivered: Instant::now(),
            until: begin + timeout,
            begun,
            produced_bytes: None,
            stream: None,
            verdict: Verdict::Success,
        }
    }

    /// Takes what the runtime answered to the caller.
    fn answer(&mut self, received: RuntimeAnswer) {
        if let Some(begun) = &mut self.begun {
            begun.clock.part("first_byte", self.delivered);
        }
        match received {
            RuntimeAnswer::Response {
                content_type,
                body,
                end,
            } => {
                if let Body::Whole(bytes) = &body {
                    self.produced_bytes = Some(bytes.len() as u64);
                }
                self.stream = end;
                self.reply(Answer {
                    content_type,
                    body,
                    error: None,
                });
            }
            RuntimeAnswer::Error { error_type, body } => {
                self.verdict = function_error(error_type, &body);
                self.produced_bytes = Some(body.len() as u64);
                self.reply_error(body);
            }
            RuntimeAnswer::TooLarge => self.fail(Failure::TooLarge),
            RuntimeAnswer::Truncated => self.fail(Failure::Truncated),
            RuntimeAnswer::InvalidResponseMode => self.fail(Failure::InvalidResponseMode),
        }
    }

    /// The platform's verdict. It does not undo an answer that is out.
    fn fail(&mut self, failure: Failure) {
        if self.caller.is_some() {
            self.reply_error(failure.payload(&self.invocation.request_id));
        }
        // What the function said of itself is what its caller knows.
        if matches!(self.verdict, Verdict::Success) {
            self.verdict = Verdict::Failure(failure);
        }
    }

    fn reply_error(&mut self, body: Bytes) {
        self.reply(Answer {
            content_type: "application/json".to_owned(),
            body: Body::Whole(body),
            error: Some(ErrorMark::Unhandled),
        });
    }

    fn reply(&mut self, answer: Answer) {
        if let Some(caller) = self.caller.take() {
            self.ending = Some(caller.answer(answer));
        }
    }

    /// A stream that ended badly makes a success a failure.
    fn settle_stream(&mut self) {
        if let Some(mut end) = self.stream.take()
            && let Ok(end) = end.try_recv()
        {
            self.stream_ended(end);
        }
    }

    fn stream_ended(&mut self, end: StreamEnd) {
        if !matches!(self.verdict, Verdict::Success) {
            return;
        }
        match end {
            StreamEnd::Error { error_type, body } => self.verdict = function_error(Some(error_type), &body),
            StreamEnd::TooLarge => self.verdict = Verdict::Failure(Failure::TooLarge),
            StreamEnd::Truncated => self.verdict = Verdict::Failure(Failure::Truncated),
            StreamEnd::Complete => {}
        }
    }

    fn refuse(self, error: InvokeError) {
        if let Some(caller) = self.caller {
            caller.refuse(error);
        }
    }
}

impl Verdict {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Success | Self::Killed => Outcome::Success,
            Self::Error { error_type, .. } => Outcome::Error {
                error_type: error_type.clone(),
            },
            Self::Failure(failure) => failure.outcome(),
        }
    }

    fn error(&self, request_id: &str) -> Option<(ErrorMark, String, String)> {
        let (error_type, message) = match self {
            Self::Success | Self::Killed => return None,
            Self::Error { error_type, message } => (error_type.clone(), message.clone()),
            Self::Failure(failure) => (failure.error_type().to_owned(), failure.message(request_id)),
        };
        Some((ErrorMark::Unhandled, error_type, message))
    }
}

/// A function's own error, with what its JSON says where the header says nothing.
fn function_error(error_type: Option<String>, body: &[u8]) -> Verdict {
    #[derive(Default, serde::Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Said {
        error_type: Option<String>,
        error_message: Option<String>,
    }
    let said: Said = serde_json::from_slice(body).unwrap_or_default();
    Verdict::Error {
        error_type: error_type
            .or(said.error_type)
            .unwrap_or_else(|| "Runtime.Unknown".to_owned()),
        message: said.error_message.unwrap_or_default(),
    }
}

fn round_up_to_ms(duration: Duration) -> Duration {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Verdict, function_error, round_up_to_ms};
    use std::time::Duration;

    #[test]
    fn every_begun_millisecond_is_billed() {
        for (us, expected) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (1_234_567, 1235)] {
            assert_eq!(
                round_up_to_ms(Duration::from_micros(us)),
                Duration::from_millis(expected)
            );
        }
    }

    fn check(error_type: Option<&str>, body: &str, expected: (&str, &str)) {
        let Verdict::Error { error_type, message } = function_error(error_type.map(str::to_owned), body.as_bytes())
        else {
            panic!("no error");
        };
        assert_eq!((error_type.as_str(), message.as_str()), expected);
    }

    #[test]
    fn errors_are_named_by_header_or_body() {
        check(
            Some("Header"),
            r#"{"errorType":"Body","errorMessage":"m"}"#,
            ("Header", "m"),
        );
        check(None, r#"{"errorType":"Body","errorMessage":"m"}"#, ("Body", "m"));
        check(None, "not json", ("Runtime.Unknown", ""));
    }
}
