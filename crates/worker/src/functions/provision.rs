//! Environments that are started ahead of events: does what the pool says is missing, and tells of it.

use super::dispatch::{Machine, Order, orders_max, tell};
use super::environment::Environment;
use super::job::Job;
use super::pool::{Death, EnvironmentId, Fresh, Next};
use api::ProvisionTarget;
use std::sync::Arc;
use tokio::sync::mpsc;

impl Machine {
    /// Sets the targets of a function's revisions, and starts what is missing.
    pub(crate) fn provision(self: &Arc<Self>, arn: &str, targets: Vec<ProvisionTarget>) {
        let surplus = self.pool().set_targets(arn, targets);
        tell(surplus, || Order::Stop);
        self.replenish();
    }

    /// Starts what is missing and has room.
    pub(crate) fn replenish(self: &Arc<Self>) {
        let missing = self.pool().replenish();
        for Fresh { id, lease, evicted } in missing {
            tell(evicted, || Order::Stop);
            let (handle, orders) = mpsc::channel(orders_max(&lease));
            self.introduce(id, handle, &lease);
            let environment = Environment::new(Arc::clone(self), id, lease, orders);
            // It is owned by its place in the pool, and awaited by `wait_until_empty`.
            tokio::spawn(environment.live_ahead());
        }
        self.provision_news.notify_waiters();
    }

    /// An environment can take another event.
    pub(crate) fn release(self: &Arc<Self>, id: EnvironmentId) -> Next<Job> {
        let (next, is_news) = {
            let mut pool = self.pool();
            let before = pool.changes();
            (pool.release(id), pool.changes() != before)
        };
        // One has come up, so another may be started; or one is gone.
        if is_news {
            self.replenish();
        }
        next
    }

    /// An environment that was to stay has died: another takes its place, at once or after a pause.
    pub(crate) fn died(self: &Arc<Self>, id: EnvironmentId, death: Death<'_>) {
        let pause = self.pool().died(id, death);
        self.provision_news.notify_waiters();
        let Some(pause) = pause else { return };
        tracing::info!(
            environment = id.0,
            "an environment that was started ahead has died, the next is started after {:?}: {}",
            pause.time,
            death.why
        );
        let machine = Arc::clone(self);
        // Ends after the pause; there is one for each target at most.
        tokio::spawn(async move {
            tokio::time::sleep(pause.time).await;
            machine.pool().end_pause(&pause);
            machine.replenish();
        });
    }

    /// Room has come free. From a task of its own: an environment that is dropped with its runtime starts no other.
    pub(crate) fn replenish_later(self: &Arc<Self>) {
        if self.pool().has_targets()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let machine = Arc::clone(self);
            runtime.spawn(async move { machine.replenish() });
        }
    }

    /// Waits until the pool's number of changes is another one than this.
    pub(crate) async fn provisioned_changed(&self, seen: u64) -> u64 {
        loop {
            let news = self.provision_news.notified();
            tokio::pin!(news);
            // Before the look: what happens after it is heard.
            news.as_mut().enable();
            let changes = self.pool().changes();
            if changes != seen {
                return changes;
            }
            news.await;
        }
    }
}
