//! One environment and the task that owns it: from its mounts to its end.
//!
//! `start` brings it up, `serve` runs an invocation in it, and what lies between and after them is here. All three
//! wait in [`Processes::hear`] and change the state through [`Life::apply`].

use super::calendar::now_ms;
use super::devices::Device;
use super::dispatch::{Machine, Order};
use super::job::Job;
use super::life::{Attempt, Event, Life, Motion};
use super::log::Log;
use super::pool::{Death, EnvironmentId, Next, Patience};
use super::processes::{Heard, Processes};
use crate::runtime_api::{ExtensionReport, RestoreNext, RuntimeEvent, ShutdownReason};
use api::{Initialization, InvokeError, Lease};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What a shutdown may take with internal extensions, and with external ones, before everything is killed. Without
/// extensions it takes nothing. Source: Lambda's developer guide, "Shutdown phase".
const SHUTDOWN_INTERNAL: Duration = Duration::from_millis(500);
const SHUTDOWN_EXTERNAL: Duration = Duration::from_secs(2);

/// How long telemetry may still be sent before a shutdown. Within what Lambda gives to external extensions.
const FLUSH_WAIT: Duration = Duration::from_millis(200);

/// How often an environment that stays looks whether something has come that it was not told of. Any time will do.
const STAY_LOOK: Duration = Duration::from_secs(3600);

/// An environment, owned by the task that runs [`Environment::live`].
pub(crate) struct Environment {
    pub(super) machine: Arc<Machine>,
    pub(super) id: EnvironmentId,
    pub(super) lease: Arc<Lease>,
    pub(super) life: Life,
    pub(super) log: Log,
    pub(super) orders: mpsc::Receiver<Order>,
    /// There while the environment initialises, waits and serves.
    pub(super) processes: Option<Processes>,
    /// Mounted as long as it lives.
    pub(super) devices: Vec<Arc<Device>>,
    /// Most memory that was seen used, bytes, and when it was looked at.
    pub(super) memory_peak: (u64, Option<Instant>),
    pub(super) shutdown: ShutdownReason,
    pub(super) sandboxes_made: u32,
    /// What its runtime's question for a restore is answered.
    pub(super) restore_next: RestoreNext,
    /// When it was ready, if it was started ahead.
    up: Option<Instant>,
}

impl Environment {
    pub(crate) fn new(
        machine: Arc<Machine>,
        id: EnvironmentId,
        lease: Arc<Lease>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let log = Log::new(&lease, machine.logs.clone());
        let restore_next = match lease.initialization {
            Initialization::SnapStart => RestoreNext::AtOnce,
            Initialization::OnDemand | Initialization::Provisioned => RestoreNext::Unknown,
        };
        Self {
            machine,
            id,
            lease,
            life: Life::Preparing(Attempt::First),
            log,
            orders,
            processes: None,
            devices: Vec::new(),
            memory_peak: (0, None),
            shutdown: ShutdownReason::Spindown,
            sandboxes_made: 0,
            restore_next,
            up: None,
        }
    }

    /// All of its life, which begins with the event that it is started for.
    pub(crate) async fn live(mut self, job: Job) {
        if let Some((job, begun)) = self.start(job).await {
            self.machine.serving(self.id);
            self.serve(job, Some(begun)).await;
            while let Some(job) = self.rest().await {
                self.serve(job, None).await;
            }
        }
        self.end("it failed while it served").await;
    }

    /// All of its life, which begins before there is an event.
    pub(crate) async fn live_ahead(mut self) {
        let started = self.start_ahead().await;
        if started.is_ok() {
            self.up = Some(Instant::now());
            while let Some(job) = self.rest().await {
                self.serve(job, None).await;
            }
        }
        let why = started
            .err()
            .unwrap_or_else(|| "it failed after it had come up".to_owned());
        self.end(&why).await;
    }

    /// Whether it stays without an event.
    fn stays(&self) -> bool {
        self.lease.initialization == Initialization::Provisioned
    }

    pub(super) fn happened(&mut self, event: Event) {
        let before = self.life;
        self.life = before.apply(event);
        tracing::trace!(environment = self.id.0, ?before, ?event, after = ?self.life, "environment");
    }

    pub(super) fn parts(&mut self) -> (&mut Processes, &mut Log) {
        let processes = self.processes.as_mut();
        (
            processes.expect("they are there while the environment lives"),
            &mut self.log,
        )
    }

    /// Name and version, for messages.
    pub(super) fn function_name(&self) -> String {
        format!("{}:{}", self.lease.function.name, self.lease.function.version)
    }

    /// Waits for the next event; `None` when the environment is to end.
    async fn rest(&mut self) -> Option<Job> {
        if !matches!(self.life, Life::Idle(_)) {
            return None;
        }
        let next = self.machine.release(self.id);
        match next {
            Next::Serve(job) => return Some(job),
            Next::Stop => {
                self.happened(Event::Stop);
                return None;
            }
            Next::Rest => {}
        }
        let since = Instant::now();
        loop {
            let until = match self.life {
                Life::Idle(Motion::Running) => since + self.machine.settings.linger,
                Life::Idle(Motion::Frozen) if self.stays() => Instant::now() + STAY_LOOK,
                Life::Idle(Motion::Frozen) => since + self.machine.settings.idle,
                _ => return None,
            };
            if let Some(job) = self.wait_idle(until).await {
                return Some(job);
            }
        }
    }

    /// One thing that happens to an idle environment.
    async fn wait_idle(&mut self, until: Instant) -> Option<Job> {
        let processes = self.processes.as_mut().expect("an idle environment has processes");
        let heard = tokio::select! {
            biased;
            order = self.orders.recv() => match order {
                Some(Order::Run(job)) => return Some(job),
                Some(Order::Stop | Order::Kill) | None => {
                    self.happened(Event::Stop);
                    return None;
                }
            },
            heard = processes.hear(&mut self.log, None, until) => heard,
        };
        match heard {
            Heard::Time if self.life == Life::Idle(Motion::Running) => self.freeze().await,
            Heard::Time if self.stays() => {}
            Heard::Time => self.stop_if_unused(),
            Heard::Exit(who, how) => self.broke_while_idle(&format!("{who:?} ended: {how:?}")),
            Heard::Runtime(RuntimeEvent::ExtensionFailed { name, error_type, .. }) => {
                self.broke_while_idle(&format!("extension {name}: {error_type}"));
            }
            Heard::Runtime(_) | Heard::Answer(_) => {}
        }
        None
    }

    async fn freeze(&mut self) {
        self.log.flush();
        let (processes, _) = self.parts();
        match processes.freeze().await {
            Ok(()) => self.happened(Event::Lingered),
            // It must not run unseen between invocations, so it is of no use.
            Err(error) => self.broke_while_idle(&error.to_string()),
        }
    }

    fn stop_if_unused(&mut self) {
        let is_unused = self.machine.pool().leave_if_idle(self.id);
        // Otherwise an event is on its way.
        if is_unused {
            self.happened(Event::Stop);
        }
    }

    fn broke_while_idle(&mut self, why: &str) {
        tracing::info!(
            function = self.function_name(),
            environment = self.id.0,
            "environment ends: {why}"
        );
        self.machine.pool().leave(self.id);
        self.shutdown = ShutdownReason::Failure;
        self.happened(Event::Broke);
    }

    /// Ends the processes, hands back what came too late, and leaves nothing. `why` is what to say if it failed.
    pub(super) async fn end(mut self, why: &str) {
        // From here on nobody sends it anything.
        self.machine.pool().leave(self.id);
        if self.stays() && self.life == Life::Failed {
            let lived = self.up.map(|up| up.elapsed());
            self.machine.died(self.id, Death { lived, why });
        }
        self.hand_back();
        self.discard_processes().await;
        self.log.flush();
        self.devices.iter().for_each(|device| device.touch());
        self.happened(Event::Ended);
    }

    /// Events that were on their way are served elsewhere.
    fn hand_back(&mut self) {
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Run(job) => self.machine.dispatch(job, Patience::Some),
                Order::Stop | Order::Kill => {}
            }
        }
    }

    /// Tells extensions and runtime to end, gives them Lambda's time, and kills what is left.
    pub(super) async fn discard_processes(&mut self) {
        let Some(mut processes) = self.processes.take() else {
            return;
        };
        let extensions = processes.api.extensions();
        if let Some(time) = shutdown_time(&extensions)
            && processes.thaw().is_ok()
        {
            self.shut_down(&mut processes, time).await;
        }
        processes.kill(&mut self.log).await;
    }

    async fn shut_down(&mut self, processes: &mut Processes, time: Duration) {
        // What subscribers should still hear of the last invocation. A slow one is its own fault.
        let _ = tokio::time::timeout(FLUSH_WAIT, processes.api.flush_telemetry()).await;
        let deadline_ms = now_ms() + u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        processes.api.shutdown(self.shutdown, deadline_ms);
        let until = Instant::now() + time;
        // Lambda sends it where external extensions are registered, and kills at once where they are not.
        if time == SHUTDOWN_EXTERNAL {
            processes.terminate_runtime().await;
        }
        processes.wait_for_end(&mut self.log, until).await;
    }

    /// Ends at once, because the worker does.
    pub(super) const fn shutting_down() -> InvokeError {
        InvokeError::ShuttingDown
    }
}

impl Drop for Environment {
    /// Also when its task panics: its place must not stay taken.
    fn drop(&mut self) {
        self.processes = None;
        self.devices.clear();
        self.machine.remove(self.id);
    }
}

fn shutdown_time(extensions: &[ExtensionReport]) -> Option<Duration> {
    if extensions.iter().any(|extension| extension.external) {
        return Some(SHUTDOWN_EXTERNAL);
    }
    (!extensions.is_empty()).then_some(SHUTDOWN_INTERNAL)
}
