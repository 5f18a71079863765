//! Environments ahead of invocations: compares what functions ask for with what runs.
//!
//! ```text
//! a function changed ─> plan of the record ─> targets ─> worker         alias moves: the old version's stay, and serve,
//! the worker has news ─> are those of a moving alias there? ─> let it go          until the new one's are there
//! ```
//! The worker keeps to its targets by itself; here is only said what they are. Nothing of it is written down: after a
//! restart the same plan is made from the record.

mod status;
mod text;

pub(crate) use status::{Standing, standing};
pub(crate) use text::metrics_text;

use crate::Gateway;
use api::{ProvisionReport, ProvisionTarget};
use chunk::Account;
use control::{ControlError, ProvisionPart, ProvisionWish};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long a moving alias's former environments stay when it has moved: requests that were sent to them a moment
/// before must not meet cold starts. A request is on its way to the worker for less than a millisecond.
const LINGER: Duration = Duration::from_secs(2);

/// Wait after the record failed.
const RECORD_WAIT: Duration = Duration::from_secs(1);

/// A function.
type Key = (Account, String);

/// Keeps the worker's targets as the record wants them, until told to stop.
pub(crate) async fn reconcile(gateway: &Gateway, stop: &CancellationToken) {
    // Before the record is read: what changes afterwards is heard.
    let mut changes = gateway.control.changes();
    let mut reconciler = Reconciler::new(gateway.clone());
    let mut seen = 0;
    reconciler.all().await;
    loop {
        let wait = reconciler.wait();
        tokio::select! {
            () = stop.cancelled() => return,
            change = changes.recv() => match change {
                Ok(change) => reconciler.one((change.account, change.name)).await,
                Err(RecvError::Lagged(_)) => reconciler.all().await,
                Err(RecvError::Closed) => return,
            },
            now = gateway.worker.provisioned_changed(seen) => {
                seen = now;
                reconciler.look_at_moving().await;
            }
            () = tokio::time::sleep(wait) => reconciler.due().await,
        }
    }
}

struct Reconciler {
    gateway: Gateway,
    /// Functions that have targets.
    managed: HashSet<Key>,
    /// Of them, those with an alias that moves.
    moving: HashSet<Key>,
    /// What stays for a moment when an alias has moved.
    lingering: HashMap<Key, Vec<(ProvisionTarget, Instant)>>,
    /// Functions that could not be read, and when it is tried again.
    failed: HashSet<Key>,
    all_failed: bool,
}

impl Reconciler {
    fn new(gateway: Gateway) -> Self {
        Self {
            gateway,
            managed: HashSet::new(),
            moving: HashSet::new(),
            lingering: HashMap::new(),
            failed: HashSet::new(),
            all_failed: false,
        }
    }

    /// How long nothing is to be done by itself.
    fn wait(&self) -> Duration {
        if self.all_failed || !self.failed.is_empty() {
            return RECORD_WAIT;
        }
        let ends = self.lingering.values().flatten().map(|(_, until)| *until);
        ends.min().map_or(Duration::from_secs(3600), |end| {
            end.saturating_duration_since(Instant::now())
        })
    }

    async fn all(&mut self) {
        match self.gateway.control.provisioned_functions().await {
            Ok(functions) => {
                self.all_failed = false;
                let keys: HashSet<Key> = self.managed.iter().cloned().chain(functions).collect();
                for key in keys {
                    self.one(key).await;
                }
            }
            Err(error) => {
                self.all_failed = true;
                warn!("cannot read which functions ask for environments ahead, trying again: {error}");
            }
        }
    }

    /// What time has come for.
    async fn due(&mut self) {
        if self.all_failed {
            return self.all().await;
        }
        let now = Instant::now();
        let ended = self
            .lingering
            .iter()
            .filter(|(_, kept)| kept.iter().any(|(_, until)| *until <= now));
        let keys: Vec<Key> = ended.map(|(key, _)| key.clone()).chain(self.failed.drain()).collect();
        for key in keys {
            self.one(key).await;
        }
    }

    /// The worker has news. Sets no target: that is news itself.
    async fn look_at_moving(&mut self) {
        for key in self.moving.clone() {
            match self.gateway.control.provision_plan(&key.0, &key.1).await {
                Ok(plan) => self.let_go(&key, &plan),
                Err(error) => {
                    warn!(
                        function = key.1,
                        "cannot look at an alias that moves, trying again: {error}"
                    );
                    self.failed.insert(key);
                }
            }
        }
    }

    async fn one(&mut self, key: Key) {
        if let Err(error) = self.apply(&key).await {
            warn!(
                function = key.1,
                "cannot read what is to be started ahead, trying again: {error}"
            );
            self.failed.insert(key);
        }
    }

    /// Sets a function's targets by its plan.
    async fn apply(&mut self, key: &Key) -> Result<(), ControlError> {
        let (account, name) = key;
        let plan = self.gateway.control.provision_plan(account, name).await?;
        let kept = self.kept(key);
        if plan.is_empty() && kept.is_empty() && !self.managed.contains(key) {
            return Ok(());
        }
        let arn = self.gateway.control.function_arn(account, name);
        let targets = targets(&plan, kept);
        if targets.is_empty() {
            self.managed.remove(key);
        } else {
            self.managed.insert(key.clone());
        }
        self.gateway.worker.provision(&arn, targets).await;
        self.let_go(key, &plan);
        Ok(())
    }

    /// Lets aliases of a function go whose environments are there; remembers whether others still move.
    fn let_go(&mut self, key: &Key, plan: &[ProvisionWish]) {
        let (account, name) = key;
        self.moving.remove(key);
        let arn = self.gateway.control.function_arn(account, name);
        let reports = self.gateway.worker.provisioned(Some(&arn));
        for wish in plan {
            let Some(held) = &wish.held else { continue };
            if wish.parts.iter().all(|part| is_settled(part, wish, &reports)) {
                self.linger(key, wish, held);
                // Its change is heard, and the plan made anew.
                self.gateway.control.release_alias(account, name, &wish.asked.qualifier);
            } else {
                self.moving.insert(key.clone());
            }
        }
    }

    fn linger(&mut self, key: &Key, wish: &ProvisionWish, held: &ProvisionPart) {
        if let Some(target) = target(wish, held) {
            let kept = self.lingering.entry(key.clone()).or_default();
            kept.push((target, Instant::now() + LINGER));
        }
    }

    /// What still stays of a function's former environments.
    fn kept(&mut self, key: &Key) -> Vec<ProvisionTarget> {
        let Some(kept) = self.lingering.get_mut(key) else {
            return Vec::new();
        };
        let now = Instant::now();
        kept.retain(|(_, until)| *until > now);
        let targets = kept.iter().map(|(target, _)| target.clone()).collect();
        if kept.is_empty() {
            self.lingering.remove(key);
        }
        targets
    }
}

/// One target for each revision: the sum of what is wished for it, or what lingers, if that is more.
fn targets(plan: &[ProvisionWish], lingering: Vec<ProvisionTarget>) -> Vec<ProvisionTarget> {
    let wished = plan.iter().flat_map(|wish| {
        let parts = wish.parts.iter().chain(&wish.held);
        parts.filter_map(move |part| target(wish, part))
    });
    let mut targets: Vec<ProvisionTarget> = Vec::new();
    for wished in wished {
        match targets
            .iter_mut()
            .find(|there| there.lease.revision == wished.lease.revision)
        {
            Some(there) => {
                there.count = there.count.saturating_add(wished.count);
                there.asked_ms = there.asked_ms.max(wished.asked_ms);
            }
            None => targets.push(wished),
        }
    }
    for kept in lingering {
        match targets
            .iter_mut()
            .find(|there| there.lease.revision == kept.lease.revision)
        {
            Some(there) => there.count = there.count.max(kept.count),
            None => targets.push(kept),
        }
    }
    targets
}

fn target(wish: &ProvisionWish, part: &ProvisionPart) -> Option<ProvisionTarget> {
    Some(ProvisionTarget {
        lease: Arc::clone(part.lease.as_ref()?),
        count: part.count,
        asked_ms: wish.asked.modified_ms,
    })
}

/// Whether waiting for a part has an end: its environments are there, or will not be by themselves.
fn is_settled(part: &ProvisionPart, wish: &ProvisionWish, reports: &[ProvisionReport]) -> bool {
    let Some(lease) = &part.lease else {
        return part.refusal.is_some();
    };
    let report = reports.iter().find(|report| report.revision == lease.revision);
    report.is_some_and(|report| {
        report.ready >= part.count || report.failure.is_some() && report.asked_ms >= wish.asked.modified_ms
    })
}

#[cfg(test)]
mod tests;
