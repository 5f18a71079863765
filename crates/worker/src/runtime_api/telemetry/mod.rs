//! Telemetry API and Logs API: events of the platform and lines of the function, sent to extensions that ask for them.
//!
//! An extension subscribes during the initialisation, with a port of 127.0.0.1 inside the environment. From then on
//! each event that it asked for goes into its [`buffer`], and a task of its own sends full or old batches
//! ([`delivery`]). Events from before its subscription are kept until the initialisation is over, and given to it
//! first.

mod buffer;
mod delivery;
mod event;
mod subscription;

pub(crate) use event::{TelemetryEvent, TelemetryRecord};
pub(super) use subscription::Interface;

use super::Connector;
use super::refusal::Refusal;
use bytes::Bytes;
use delivery::Subscriber;
use event::Category;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use subscription::Subscription;
use tokio::task::JoinHandle;

/// Bytes of events kept for later subscribers: as much as one batch of Lambda's default size, 256 KiB.
const BACKLOG_BYTES_MAX: usize = 256 * 1024;

/// All subscribers of an environment.
pub(super) struct Telemetry {
    connector: Option<Connector>,
    phase: AtomicU8,
    inner: Mutex<Inner>,
}

/// Values of `phase`: read without the lock for each event of each environment, most of which nobody wants.
const OPEN: u8 = 0;
const CLOSED_WITH_SUBSCRIBERS: u8 = 1;
const CLOSED_WITHOUT: u8 = 2;

#[derive(Default)]
struct Inner {
    /// By the extension's index; at most one each.
    subscribers: Vec<(usize, Arc<Subscriber>, JoinHandle<()>)>,
    backlog: Vec<(Category, Bytes)>,
    backlog_bytes: usize,
}

impl Telemetry {
    pub(super) fn new(connector: Option<Connector>) -> Self {
        Self {
            connector,
            phase: AtomicU8::new(OPEN),
            inner: Mutex::default(),
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.phase.load(Ordering::Acquire) != CLOSED_WITHOUT
    }

    pub(super) fn publish(&self, event: TelemetryEvent) {
        if !self.is_wanted() {
            return;
        }
        let (category, text) = (event.category(), event.render());
        let mut inner = self.lock();
        for (_, subscriber, _) in &inner.subscribers {
            subscriber.push(category, &text);
        }
        let is_open = self.phase.load(Ordering::Acquire) == OPEN;
        if is_open && inner.backlog_bytes + text.len() <= BACKLOG_BYTES_MAX {
            inner.backlog_bytes += text.len();
            inner.backlog.push((category, text));
        }
    }

    /// A subscription's request. An extension that subscribes again has its first subscription replaced.
    pub(super) fn subscribe(
        &self,
        interface: Interface,
        extension: usize,
        name: &str,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let api = interface.name();
        let connector = self.connector.clone().ok_or(Refusal::TelemetryUnsupported { api })?;
        let subscription =
            Subscription::parse(interface, body).map_err(|reason| Refusal::SubscriptionInvalid { reason })?;
        let subscribed = subscription.event(name, now_ms());
        self.add(extension, subscription, connector, api)?;
        self.publish(subscribed);
        Ok(())
    }

    /// The initialisation is over.
    pub(super) fn close_subscriptions(&self) {
        if self.phase.load(Ordering::Acquire) != OPEN {
            return;
        }
        let mut inner = self.lock();
        inner.backlog = Vec::new();
        let phase = if inner.subscribers.is_empty() {
            CLOSED_WITHOUT
        } else {
            CLOSED_WITH_SUBSCRIBERS
        };
        self.phase.store(phase, Ordering::Release);
    }

    pub(super) async fn flush(&self) {
        let subscribers: Vec<_> = {
            let inner = self.lock();
            inner
                .subscribers
                .iter()
                .map(|(_, subscriber, _)| Arc::clone(subscriber))
                .collect()
        };
        for subscriber in subscribers {
            subscriber.flush().await;
        }
    }

    /// Ends all tasks.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        self.phase.store(CLOSED_WITHOUT, Ordering::Release);
        for (_, _, task) in inner.subscribers.drain(..) {
            task.abort();
        }
    }

    fn add(
        &self,
        extension: usize,
        subscription: Subscription,
        connector: Connector,
        api: &'static str,
    ) -> Result<(), Refusal> {
        let mut inner = self.lock();
        if self.phase.load(Ordering::Acquire) != OPEN {
            return Err(Refusal::TelemetryClosed { api });
        }
        if let Some(index) = inner.subscribers.iter().position(|(index, ..)| *index == extension) {
            inner.subscribers.swap_remove(index).2.abort();
        }
        let subscriber = Arc::new(Subscriber::new(subscription));
        for (category, text) in &inner.backlog {
            subscriber.push(*category, text);
        }
        let task = tokio::spawn(delivery::run(Arc::clone(&subscriber), connector));
        inner.subscribers.push((extension, subscriber, task));
        Ok(())
    }

    /// Consistent after every call; a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
