//! Snapshots of published versions: lets the worker take those that the record wants, and says there how it went.
//!
//! ```text
//! a function changed ─> is a snapshot wanted? ─> a place ─> worker: initialise, write ─> control: pack, store, Active
//!          └─ no longer: what is under way ends            │ worker's fault: wait, again, and in the end without one
//!                                                          └ function's fault: Failed; unsuitable: Active, without one
//! ```
//! Nothing of it is written down here: after a restart the same wishes are in the record.

use crate::Gateway;
use api::SnapshotFailure;
use chunk::Account;
use control::{ControlError, SnapshotEnd, SnapshotWish};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Snapshots that are taken and kept at once. Two: an initialisation keeps a processor busy, and waits for chunks meanwhile.
const SNAPSHOTS_MAX: usize = 2;

/// Tries where the worker or the store fails. With the waits between them they last half a minute: what lasts longer is
/// nothing that waiting mends, and the version is to work.
const TRIES_MAX: u32 = 6;

/// Before the second try; it doubles.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Wait after the record failed.
const RECORD_WAIT: Duration = Duration::from_secs(1);

/// Takes what snapshots the record wants, until told to stop.
pub(crate) async fn take(gateway: &Gateway, stop: &CancellationToken) {
    // Before the record is read: what changes afterwards is heard.
    let mut changes = gateway.control.changes();
    let mut taker = Taker::new(gateway.clone());
    taker.look(None).await;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            change = changes.recv() => match change {
                Ok(change) => taker.look(Some((&change.account, &change.name))).await,
                Err(RecvError::Lagged(_)) => taker.look(None).await,
                Err(RecvError::Closed) => break,
            },
            Some(revision) = taker.tasks.join_next() => taker.ended(revision.ok()),
            () = tokio::time::sleep(RECORD_WAIT), if taker.failed => taker.look(None).await,
        }
    }
    // Wishes stay in the record: the next start takes them up.
    taker.tasks.shutdown().await;
}

/// A function.
type Key = (Account, String);

struct Taker {
    gateway: Gateway,
    /// What is under way, by the lease's revision: whose it is, and what ends it.
    under_way: HashMap<String, (Key, CancellationToken)>,
    tasks: JoinSet<String>,
    places: Arc<Semaphore>,
    /// Whether the record could not be read.
    failed: bool,
}

impl Taker {
    fn new(gateway: Gateway) -> Self {
        Self {
            gateway,
            under_way: HashMap::new(),
            tasks: JoinSet::new(),
            places: Arc::new(Semaphore::new(SNAPSHOTS_MAX)),
            failed: false,
        }
    }

    /// Compares what is wanted, of one function or of all, with what is under way.
    async fn look(&mut self, of: Option<(&Account, &str)>) {
        match self.gateway.control.snapshots_wanted(of).await {
            Ok(wishes) => {
                self.failed = false;
                self.end_unwanted(of, &wishes);
                for wish in wishes {
                    self.begin(wish);
                }
            }
            Err(error) => {
                self.failed = true;
                warn!("cannot read which versions want snapshots, trying again: {error}");
            }
        }
    }

    fn end_unwanted(&self, of: Option<(&Account, &str)>, wishes: &[SnapshotWish]) {
        let wanted: HashSet<&str> = wishes.iter().map(|wish| wish.lease.revision.as_str()).collect();
        for (revision, ((account, name), gone)) in &self.under_way {
            let is_meant = of.is_none_or(|of| of == (account, name.as_str()));
            if is_meant && !wanted.contains(revision.as_str()) {
                gone.cancel();
            }
        }
    }

    fn begin(&mut self, wish: SnapshotWish) {
        let revision = wish.lease.revision.clone();
        if self.under_way.contains_key(&revision) {
            return;
        }
        let gone = CancellationToken::new();
        let key = (wish.account.clone(), wish.name.clone());
        self.under_way.insert(revision.clone(), (key, gone.clone()));
        let (gateway, places) = (self.gateway.clone(), Arc::clone(&self.places));
        self.tasks.spawn(async move {
            if let Err(error) = fulfil(&gateway, &wish, (&places, &gone)).await {
                error!(
                    function = wish.name,
                    version = wish.number,
                    "cannot record what became of a snapshot; the version stays Pending until the next start: {error}"
                );
            }
            revision
        });
    }

    /// A task that panicked leaves its entry, so that it is not begun again and again.
    fn ended(&mut self, revision: Option<String>) {
        if let Some(revision) = revision {
            self.under_way.remove(&revision);
        }
    }
}

/// Takes one snapshot, or finds out why there is none.
async fn fulfil(
    gateway: &Gateway,
    wish: &SnapshotWish,
    (places, gone): (&Semaphore, &CancellationToken),
) -> Result<(), ControlError> {
    let mut wait = RETRY_WAIT;
    let mut tries = 0;
    let failure = loop {
        tries += 1;
        let reason = match attempt(gateway, wish, (places, gone)).await {
            Ok(()) => return Ok(()),
            Err(SnapshotFailure::Worker { reason }) => reason,
            Err(failure) => break failure,
        };
        if tries == TRIES_MAX {
            let reason = format!("{reason} (tried {tries} times; publish another version to try again)");
            break SnapshotFailure::Unsuitable { reason };
        }
        warn!(
            function = wish.name,
            version = wish.number,
            "no snapshot yet, trying again in {wait:?}: {reason}"
        );
        tokio::select! {
            () = gone.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => wait *= 2,
        }
    };
    refuse(gateway, wish, &failure).await
}

/// One try; done, too, when it is no longer wanted. Failures of the store and of the record are the worker's kind: to be
/// tried again.
async fn attempt(
    gateway: &Gateway,
    wish: &SnapshotWish,
    (places, gone): (&Semaphore, &CancellationToken),
) -> Result<(), SnapshotFailure> {
    // Until it is packed: what waits for that is on the disk.
    let _place = tokio::select! {
        () = gone.cancelled() => return Ok(()),
        // The semaphore is never closed.
        place = places.acquire() => place.ok(),
    };
    let taken = tokio::select! {
        () = gone.cancelled() => return Ok(()),
        taken = gateway.worker.snapshot(Arc::clone(&wish.lease)) => taken?,
    };
    let (memory_bytes, init, checkpoint) = (taken.memory_bytes, taken.init, taken.checkpoint);
    // Not ended halfway: it finds out by itself that the version is gone, and leaves nothing.
    let end = gateway.control.snapshot_taken(wish, taken).await;
    let end = end.map_err(|error| SnapshotFailure::Worker {
        reason: format!("the snapshot cannot be kept: {error}"),
    })?;
    if end == SnapshotEnd::Recorded {
        gateway.metrics.snapshot("on");
        info!(
            function = wish.name,
            version = wish.number,
            memory_bytes,
            init_ms = init.as_millis(),
            checkpoint_ms = checkpoint.as_millis(),
            "a snapshot was taken"
        );
    }
    Ok(())
}

async fn refuse(gateway: &Gateway, wish: &SnapshotWish, failure: &SnapshotFailure) -> Result<(), ControlError> {
    if gateway.control.snapshot_failed(wish, failure).await? == SnapshotEnd::Unwanted {
        return Ok(());
    }
    let result = match failure {
        SnapshotFailure::Init { .. } | SnapshotFailure::TimedOut { .. } => "failed",
        SnapshotFailure::Unsuitable { .. } | SnapshotFailure::Worker { .. } => "off",
    };
    gateway.metrics.snapshot(result);
    warn!(
        function = wish.name,
        version = wish.number,
        result,
        "a version has no snapshot: {failure}"
    );
    Ok(())
}
