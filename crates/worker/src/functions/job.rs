//! An invocation on its way through the pool to an environment and back to its caller.

use api::{Body, Ending, ErrorMark, Invocation, InvokeError, Lease, Reply};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// An invocation with its caller.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) lease: Arc<Lease>,
    pub(crate) invocation: Invocation,
    /// When it was asked for.
    pub(crate) asked: Instant,
    pub(crate) caller: Caller,
}

/// Whoever waits for the reply; it may have gone.
#[derive(Debug)]
pub(crate) struct Caller {
    reply: oneshot::Sender<Result<Reply, InvokeError>>,
}

/// What a caller is told.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) content_type: String,
    pub(crate) body: Body,
    pub(crate) error: Option<ErrorMark>,
}

impl Job {
    pub(crate) fn new(
        lease: Arc<Lease>,
        invocation: Invocation,
    ) -> (Self, oneshot::Receiver<Result<Reply, InvokeError>>) {
        let (reply, receiver) = oneshot::channel();
        let job = Self {
            lease,
            invocation,
            asked: Instant::now(),
            caller: Caller { reply },
        };
        (job, receiver)
    }

    /// There will be no answer.
    pub(crate) fn refuse(self, error: InvokeError) {
        self.caller.refuse(error);
    }
}

impl Caller {
    /// There will be no answer.
    pub(crate) fn refuse(self, error: InvokeError) {
        // A caller that has gone does not want to know.
        let _ = self.reply.send(Err(error));
    }

    /// Answers; the ending follows through what this gives.
    pub(crate) fn answer(self, answer: Answer) -> oneshot::Sender<Ending> {
        let (sender, ending) = oneshot::channel();
        let _ = self.reply.send(Ok(Reply {
            content_type: answer.content_type,
            body: answer.body,
            ending,
            error: answer.error,
        }));
        sender
    }
}
