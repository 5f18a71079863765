//! Carries cold starts to the record, off the path of the invocation that waited for one.

use crate::metrics::Metrics;
use crate::restore_watch::RestoreWatch;
use chunk::Account;
use control::{Control, StartRecord};
use std::fmt;
use tokio::sync::{Mutex, mpsc};
use tracing::warn;

/// Cold starts that wait to be written. More are not recorded (they still count in the histograms): a record must not
/// become a queue that holds invocations back.
const WAITING_MAX: usize = 1024;

/// One cold start on its way.
pub(crate) struct StartEntry {
    pub(crate) account: Account,
    pub(crate) name: String,
    pub(crate) record: StartRecord,
}

/// The way to the record.
pub(crate) struct StartRecords {
    sender: mpsc::Sender<StartEntry>,
    receiver: Mutex<mpsc::Receiver<StartEntry>>,
    control: Control,
    watch: RestoreWatch,
}

impl StartRecords {
    pub(crate) fn new(control: Control) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        Self {
            sender,
            receiver: Mutex::new(receiver),
            control,
            watch: RestoreWatch::default(),
        }
    }

    /// Hands a cold start over; never waits.
    pub(crate) fn push(&self, entry: StartEntry) {
        if let Err(error) = self.sender.try_send(entry) {
            warn!("a cold start is not recorded: {error}");
        }
    }

    /// Writes what is handed over, until the task is ended, and looks at what that says of versions.
    pub(crate) async fn write_all(&self, metrics: &Metrics) {
        let mut receiver = self.receiver.lock().await;
        while let Some(entry) = receiver.recv().await {
            self.write(&entry).await;
            self.watch.look(&self.control, metrics, &entry).await;
        }
    }

    /// Writes what still waits. For the end, after [`StartRecords::write_all`] was ended.
    pub(crate) async fn write_rest(&self) {
        let mut receiver = self.receiver.lock().await;
        while let Ok(entry) = receiver.try_recv() {
            self.write(&entry).await;
        }
    }

    async fn write(&self, entry: &StartEntry) {
        if let Err(error) = self
            .control
            .append_start(&entry.account, &entry.name, &entry.record)
            .await
        {
            warn!(function = entry.name, "a cold start is not recorded: {error}");
        }
    }
}

impl fmt::Debug for StartRecords {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StartRecords").finish_non_exhaustive()
    }
}
