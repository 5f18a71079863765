//! Preparation: code made ready in the background, so that the next invocation runs it.
//!
//! The database says what has to be prepared (`preparing = 1`), before the client is answered. A task does it and writes
//! down how it went; what a crash interrupted is taken up again by [`Control::resume_preparations`].

use crate::code::PreparedCode;
use crate::function_record::{VersionKey, replace, unprepared};
use crate::states::StateEvent;
use crate::{CodeRecord, Control, ControlError, FunctionRecord, Optimization, PackageError, Reason, ZipCode, lease};
use api::Lease;
use chunk::Account;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Before the result is written once more after the database failed.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// Tries to write a result. After these the version stays as it is until the next start.
const TRIES_MAX: u32 = 30;

/// The tasks that prepare. As many as versions wait; [`crate::Packages`] limits how many work at once.
#[derive(Default)]
pub(crate) struct Preparing {
    tasks: Mutex<JoinSet<()>>,
}

/// How a preparation went.
struct Outcome {
    prepared: Option<PreparedCode>,
    lease: Result<Lease, Reason>,
}

impl Control {
    /// Ends the background work and the connections. What was not finished is taken up at the next start.
    pub async fn close(&self) {
        let mut tasks = std::mem::take(
            &mut *self
                .inner
                .preparing
                .tasks
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        tasks.shutdown().await;
        self.pool().close().await;
    }

    /// Takes up what an earlier process did not finish. For the process that runs functions, once, after it opened the
    /// record.
    pub async fn resume_preparations(&self) -> Result<(), ControlError> {
        for (account, name, number) in unprepared(self, None).await? {
            self.begin_preparation(VersionKey {
                account: &account,
                name: &name,
                number,
            });
        }
        Ok(())
    }

    /// Lets a task prepare a version that was recorded as one to be prepared.
    pub(crate) fn begin_preparation(&self, key: VersionKey<'_>) {
        let control = self.clone();
        let (account, name, number) = (key.account.clone(), key.name.to_owned(), key.number);
        let mut tasks = self
            .inner
            .preparing
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Results of those that have ended; without this the set would only grow.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move { control.prepare(&account, &name, number).await });
    }

    async fn prepare(&self, account: &Account, name: &str, number: u64) {
        let key = VersionKey { account, name, number };
        for _ in 0..TRIES_MAX {
            match self.try_prepare(key).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%account, name, number, %error, "cannot record how the preparation went; trying again");
                    tokio::time::sleep(RETRY_WAIT).await;
                }
            }
        }
        tracing::error!(%account, name, number, "the preparation is given up until the next start");
    }

    /// False if the version was written by somebody else meanwhile and has to be looked at again.
    async fn try_prepare(&self, key: VersionKey<'_>) -> Result<bool, ControlError> {
        let mut connection = self.pool().acquire().await?;
        let found = key.read(self, &mut connection).await?;
        drop(connection);
        let waits = |record: &FunctionRecord| record.lifecycle.is_preparing() && !record.awaits_snapshot();
        let Some(mut record) = found.filter(waits) else {
            return Ok(true);
        };
        let outcome = self.make_ready(&record).await;
        let event = match outcome.lease {
            Ok(lease) => {
                record.lease = Some(Arc::new(lease));
                if record.optimization == Optimization::Wanted {
                    StateEvent::SnapshotAwaited
                } else {
                    StateEvent::Prepared
                }
            }
            Err(reason) => {
                tracing::warn!(
                    arn = record.arn,
                    version = record.version,
                    reason.code,
                    reason.text,
                    "cannot prepare"
                );
                StateEvent::PreparationFailed(reason)
            }
        };
        record.prepared = outcome.prepared;
        record.lifecycle = record.lifecycle.clone().apply(event);
        let mut transaction = self.write().await?;
        let written = replace(&mut transaction, &record).await?;
        transaction.commit().await?;
        if written {
            self.function_changed(key.account, key.name);
        }
        Ok(written)
    }

    async fn make_ready(&self, record: &FunctionRecord) -> Outcome {
        let prepared = match record.prepared.clone() {
            Some(prepared) => Ok(prepared),
            None => self.prepare_code(record).await,
        };
        match prepared {
            Ok(prepared) => {
                let lease = lease::build(self, record, &prepared);
                Outcome {
                    prepared: Some(prepared),
                    lease,
                }
            }
            Err(error) => Outcome {
                prepared: None,
                lease: Err(reason_of(error)),
            },
        }
    }

    async fn prepare_code(&self, record: &FunctionRecord) -> Result<PreparedCode, PackageError> {
        let account = &record.account;
        match &record.code {
            CodeRecord::Zip(zip) => self.prepare_zip(record, zip).await,
            CodeRecord::Image { uri, .. } => {
                let uri = record.code.resolved_uri().unwrap_or_else(|| uri.clone());
                let architecture = &record.configuration.architecture;
                let image = self.packages().prepare_image(account, &uri, architecture).await?;
                Ok(PreparedCode::of_image(image))
            }
        }
    }

    async fn prepare_zip(&self, record: &FunctionRecord, zip: &ZipCode) -> Result<PreparedCode, PackageError> {
        let account = &record.account;
        let runtime = record.configuration.runtime.as_deref().unwrap_or_default();
        let layers: Vec<ZipCode> = record
            .configuration
            .layers
            .iter()
            .map(|layer| layer.code.clone())
            .collect();
        let mut base = self.packages().runtime(account, runtime).await?;
        if runtime.starts_with("provided") {
            base.arguments = vec![self.packages().bootstrap(account, zip, &layers).await?.to_owned()];
        }
        let code = self.packages().prepare_zip(account, zip, &layers).await?;
        Ok(PreparedCode::of_zip(base, code))
    }
}

/// Codes of the model only: waiters and SDKs know no others.
fn reason_of(error: PackageError) -> Reason {
    let code = if error.is_request() {
        "InvalidConfiguration"
    } else {
        error.reason_code
    };
    Reason {
        code: code.to_owned(),
        text: error.message,
    }
}
