//! From an event to an environment: asks the pool, and does what it says.

use super::devices::Devices;
use super::environment::Environment;
use super::job::Job;
use super::pool::{Choice, Demand, EnvironmentId, Patience, Pool, START_COUNTS, WaitId};
use super::sandboxes::Sandboxes;
use super::settings::FunctionSettings;
use super::snapshots::Snapshots;
use api::{InvokeError, Lease, LogBatch};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// How long an event waits for an environment that has just answered, before another is started. A runtime asks for
/// its next event within a fraction of a millisecond where a processor is free; where none is, a cold start would take
/// far longer than this, too. With 10 ms, callers that asked one after the other met cold starts on busy machines.
const SETTLE_WAIT: Duration = Duration::from_millis(100);

/// The same where environments were started ahead: one of them could serve the event, so a cold start is what must not
/// be. With 128 MB an environment has 7 ms of a processor in each 100 ms, so to ask for the next event may take that long.
const SETTLE_WAIT_AHEAD: Duration = Duration::from_secs(1);

/// Orders on their way to one environment beside its events: one `Stop` and one `Kill`.
const ORDERS_BESIDE_MAX: usize = 3;

/// Orders on their way to one environment of a lease.
pub(crate) fn orders_max(lease: &Lease) -> usize {
    ORDERS_BESIDE_MAX + invocations_max(lease)
}

/// Events that an environment of a lease takes at once.
pub(crate) fn invocations_max(lease: &Lease) -> usize {
    usize::try_from(lease.invocations_max).unwrap_or(1).max(1)
}

/// What an environment is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Serve an event. Only an idle environment gets one, or one that takes several.
    Run(Job),
    /// End. Only an idle environment is told so.
    Stop,
    /// End at once, whatever is going on.
    Kill,
}

/// The way to an environment's task.
pub(crate) type Handle = mpsc::Sender<Order>;

/// What all environments of a machine share.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) settings: FunctionSettings,
    pub(crate) devices: Devices,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) snapshots: Snapshots,
    pub(crate) logs: mpsc::Sender<LogBatch>,
    pool: Mutex<Pool<Handle, Job>>,
    /// Told when an environment is gone.
    gone: Notify,
    /// Told when something changes about environments that are started ahead.
    pub(super) provision_news: Notify,
}

impl Machine {
    pub(crate) fn new(parts: MachineParts) -> Self {
        Self {
            settings: parts.settings,
            devices: parts.devices,
            sandboxes: parts.sandboxes,
            snapshots: parts.snapshots,
            logs: parts.logs,
            pool: Mutex::new(parts.pool),
            gone: Notify::new(),
            provision_news: Notify::new(),
        }
    }

    /// Has an event served. Never waits.
    pub(crate) fn dispatch(self: &Arc<Self>, mut job: Job, patience: Patience) {
        loop {
            let lease = Arc::clone(&job.lease);
            let demand = Demand {
                revision: &lease.revision,
                arn: &lease.function.arn,
                memory_mb: lease.memory_mb,
                patience,
            };
            let choice = self.pool().choose(demand, job);
            job = match choice {
                Choice::Warm(handle, job) => match handle.try_send(Order::Run(job)) {
                    Ok(()) => return,
                    // It ended at this very moment, and has left the pool, or is about to.
                    Err(error) => match error.into_inner() {
                        Order::Run(job) => job,
                        Order::Stop | Order::Kill => return,
                    },
                },
                Choice::Start { id, evicted, job } => {
                    tell(evicted, || Order::Stop);
                    return self.start(id, job);
                }
                Choice::Wait(id) => return self.give_up_later(lease.revision.clone(), id),
                Choice::Queued => return,
                Choice::Full(job, shortage) => return job.refuse(InvokeError::NoCapacity(shortage.to_string())),
                Choice::Closed(job) => return job.refuse(InvokeError::ShuttingDown),
            }
        }
    }

    /// The pool, for a moment: this lock is never held across an await.
    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool<Handle, Job>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is left of an environment.
    pub(crate) fn remove(self: &Arc<Self>, id: EnvironmentId) {
        self.pool().remove(id);
        self.gone.notify_waiters();
        self.start_waiting_later();
        self.replenish_later();
    }

    /// Waits until there is no environment.
    pub(crate) async fn wait_until_empty(&self) {
        loop {
            let gone = self.gone.notified();
            if self.pool().is_empty() {
                return;
            }
            gone.await;
        }
    }

    fn start(self: &Arc<Self>, id: EnvironmentId, job: Job) {
        let (handle, orders) = mpsc::channel(orders_max(&job.lease));
        self.introduce(id, handle, &job.lease);
        let environment = Environment::new(Arc::clone(self), id, Arc::clone(&job.lease), orders);
        // It is owned by its place in the pool, and awaited by `wait_until_empty`.
        tokio::spawn(environment.live(job));
        let machine = Arc::clone(self);
        // Ends after that; there is one for each start.
        tokio::spawn(async move {
            tokio::time::sleep(START_COUNTS).await;
            machine.pool().end_start(id);
            machine.start_waiting();
        });
    }

    /// An environment has initialised and serves the event that it was started for.
    pub(crate) fn serving(self: &Arc<Self>, id: EnvironmentId) {
        self.pool().serving(id);
        self.start_waiting();
    }

    /// Starts environments for events whose turn it is.
    fn start_waiting(self: &Arc<Self>) {
        loop {
            let next = self.pool().take_startable();
            let Some(job) = next else { return };
            self.dispatch(job, Patience::None);
        }
    }

    /// The same from a task of its own: an environment that is dropped with its runtime starts no other.
    fn start_waiting_later(self: &Arc<Self>) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let machine = Arc::clone(self);
            runtime.spawn(async move { machine.start_waiting() });
        }
    }

    /// Says how to reach a new environment, and how many events it takes.
    pub(super) fn introduce(&self, id: EnvironmentId, handle: Handle, lease: &Lease) {
        let mut pool = self.pool();
        pool.introduce(id, handle);
        pool.widen(id, invocations_max(lease));
    }

    fn give_up_later(self: &Arc<Self>, revision: String, id: WaitId) {
        let machine = Arc::clone(self);
        let wait = if self.pool().has_target(&revision) {
            SETTLE_WAIT_AHEAD
        } else {
            SETTLE_WAIT
        };
        // Ends after that; there are no more of them than environments that have just answered.
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let job = machine.pool().give_up_waiting(&revision, id);
            if let Some(job) = job {
                machine.dispatch(job, Patience::None);
            }
        });
    }
}

/// What a machine is made of.
#[derive(Debug)]
pub(crate) struct MachineParts {
    pub(crate) settings: FunctionSettings,
    pub(crate) devices: Devices,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) snapshots: Snapshots,
    pub(crate) logs: mpsc::Sender<LogBatch>,
    pub(crate) pool: Pool<Handle, Job>,
}

/// Gives environments an order. One that does not take it has ended, or is ending.
pub(crate) fn tell(handles: Vec<Handle>, order: impl Fn() -> Order) {
    for handle in handles {
        let _ = handle.try_send(order());
    }
}
