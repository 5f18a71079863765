//! SnapStart: versions whose environments go on from a snapshot.
//!
//! ```text
//! published, with SnapStart ──> Pending, Wanted ──code prepared──> Pending, Wanted, with a lease: a worker is to take it
//!                                      │                                │            │                 │
//!                                      └──failed──> Failed <──init failed            taken             cannot be taken
//!                                                                                      v                 v
//!                                                                                 Active, On      Active, Off: its reason
//! ```
//! Nothing here runs a function: whoever has a worker asks what is wanted ([`Control::snapshots_wanted`]) and says how it
//! went. Until then the version is one that is being prepared, also after a restart.

use crate::file_systems::check_with_snap_start;
use crate::function_record::{VersionKey, replace, unprepared};
use crate::states::StateEvent;
use crate::{Configuration, Control, ControlError, FunctionRecord, Reason};
use api::{ImageAddress, Lease, SnapshotFailure, TakenSnapshot};
use chunk::Account;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// `ApplyOn` of a function without SnapStart.
const NONE: &str = "None";

/// MB of `/tmp` that a function with SnapStart may have. Source: "Improving startup performance with Lambda SnapStart".
const TMP_MB_MAX: u32 = 512;

/// Bytes of a snapshot beside memory and files: what is noted of its processes.
const SNAPSHOT_SPARE_BYTES: u64 = 128 << 20;

/// Characters of a reason that are kept: a function's own words can be as long as it likes.
const REASON_CHARACTERS_MAX: usize = 1000;

/// Tries to write how it went over what others write meanwhile; nobody writes a version that waits for its snapshot.
const TRIES_MAX: u32 = 10;

/// How far a version's snapshot is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Optimization {
    /// None is asked for: `$LATEST`, and versions without SnapStart.
    #[default]
    Unasked,
    /// It is to be taken; the version is Pending until then.
    Wanted,
    /// Environments go on from it.
    On(SnapshotFacts),
    /// There is none, though one was asked for: the version works as an ordinary one.
    Off {
        /// Why not, and what to do.
        reason: String,
    },
}

/// What is known of a snapshot; its device is in the version's lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFacts {
    /// Bytes of memory in it.
    pub memory_bytes: u64,
    /// How long the initialisation took, ms.
    pub init_ms: u64,
    /// How long the writing took, ms.
    pub checkpoint_ms: u64,
    /// The processors on which it can be restored, as the worker says it.
    pub processor: String,
}

/// A version whose snapshot is to be taken.
#[derive(Clone, Debug)]
pub struct SnapshotWish {
    /// Whose.
    pub account: Account,
    /// The function's bare name.
    pub name: String,
    /// The version's number.
    pub number: u64,
    /// What its environments are made from.
    pub lease: Arc<Lease>,
}

/// How a wish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotEnd {
    /// It is written down.
    Recorded,
    /// The version is gone, or somebody else has ended the wish.
    Unwanted,
}

impl Optimization {
    /// Of a version that is published with this configuration.
    pub(crate) fn of_version(configuration: &Configuration) -> Self {
        if is_asked(configuration) {
            Self::Wanted
        } else {
            Self::Unasked
        }
    }

    /// Whether the version's environments follow SnapStart's protocol, restored or not.
    pub(crate) fn is_asked(&self) -> bool {
        *self != Self::Unasked
    }

    /// `OptimizationStatus` as the API writes it.
    #[must_use]
    pub fn status(&self) -> &'static str {
        if matches!(self, Self::On(_)) { "On" } else { "Off" }
    }
}

impl FunctionRecord {
    /// Whether nothing but the snapshot is missing.
    pub(crate) fn awaits_snapshot(&self) -> bool {
        self.optimization == Optimization::Wanted && self.lifecycle.is_preparing() && self.lease.is_some()
    }

    fn end_with(&mut self, device: ImageAddress, facts: SnapshotFacts) {
        if let Some(lease) = &self.lease {
            let mut lease = Lease::clone(lease);
            // Environments with a snapshot are others than the one that it was taken of.
            lease.revision = Uuid::new_v4().to_string();
            lease.snapshot = Some(device);
            self.lease = Some(Arc::new(lease));
        }
        self.optimization = Optimization::On(facts);
        self.lifecycle = self.lifecycle.clone().apply(StateEvent::Prepared);
    }

    fn end_without(&mut self, failure: &SnapshotFailure) {
        let event = if let Some(reason) = reason_of(failure) {
            self.lease = None;
            self.optimization = Optimization::Off {
                reason: reason.text.clone(),
            };
            StateEvent::PreparationFailed(reason)
        } else {
            let reason = cut(&failure.to_string());
            self.optimization = Optimization::Off { reason };
            StateEvent::Prepared
        };
        self.lifecycle = self.lifecycle.clone().apply(event);
    }
}

impl Control {
    /// Versions whose snapshots are to be taken now: of one function, or of all.
    pub async fn snapshots_wanted(&self, of: Option<(&Account, &str)>) -> Result<Vec<SnapshotWish>, ControlError> {
        let mut wishes = Vec::new();
        for (account, name, number) in unprepared(self, of).await? {
            let mut connection = self.pool().acquire().await?;
            let key = VersionKey {
                account: &account,
                name: &name,
                number,
            };
            let found = key.read(self, &mut connection).await?;
            let lease = found
                .filter(FunctionRecord::awaits_snapshot)
                .and_then(|record| record.lease);
            wishes.extend(lease.map(|lease| SnapshotWish {
                account,
                name,
                number,
                lease,
            }));
        }
        Ok(wishes)
    }

    /// Keeps a snapshot: from now on the version is Active, and its environments go on from it. The snapshot's directory
    /// is removed in any case.
    ///
    /// Errors: the snapshot cannot be stored or recorded; the version still waits.
    pub async fn snapshot_taken(&self, wish: &SnapshotWish, taken: TakenSnapshot) -> Result<SnapshotEnd, ControlError> {
        let facts = SnapshotFacts {
            memory_bytes: taken.memory_bytes,
            init_ms: milliseconds(taken.init),
            checkpoint_ms: milliseconds(taken.checkpoint),
            processor: taken.processor,
        };
        let packages = self.packages();
        let bytes_max = snapshot_bytes_max(&wish.lease);
        let device = packages
            .keep_snapshot(&wish.account, taken.directory, bytes_max)
            .await?;
        let ended = self
            .end_wish(wish, |record| record.end_with(device.clone(), facts.clone()))
            .await;
        if !matches!(ended, Ok(SnapshotEnd::Recorded)) {
            packages.drop_snapshot(&device).await;
        }
        ended
    }

    /// Says that there is no snapshot. Where the function is at fault the version is Failed; else it works as an ordinary
    /// one, and says why.
    pub async fn snapshot_failed(
        &self,
        wish: &SnapshotWish,
        failure: &SnapshotFailure,
    ) -> Result<SnapshotEnd, ControlError> {
        self.end_wish(wish, |record| record.end_without(failure)).await
    }

    async fn end_wish(
        &self,
        wish: &SnapshotWish,
        change: impl Fn(&mut FunctionRecord),
    ) -> Result<SnapshotEnd, ControlError> {
        let key = VersionKey {
            account: &wish.account,
            name: &wish.name,
            number: wish.number,
        };
        for _ in 0..TRIES_MAX {
            let mut transaction = self.write().await?;
            let found = key.read(self, &mut transaction).await?;
            let Some(mut record) = found.filter(|record| is_of(record, wish)) else {
                return Ok(SnapshotEnd::Unwanted);
            };
            change(&mut record);
            if replace(&mut transaction, &record).await? {
                transaction.commit().await?;
                self.function_changed(&wish.account, &wish.name);
                return Ok(SnapshotEnd::Recorded);
            }
        }
        Ok(SnapshotEnd::Unwanted)
    }
}

/// What SnapStart cannot be had with. Sources: "Improving startup performance with Lambda SnapStart", its unsupported
/// features; the wording is Lambda's for runtimes.
pub(crate) fn check(configuration: &Configuration) -> Result<(), ControlError> {
    check_with_snap_start(configuration)?;
    if is_asked(configuration) && configuration.tmp_mb > TMP_MB_MAX {
        return Err(ControlError::invalid(format!(
            "EphemeralStorage of {} MB is not supported for SnapStart enabled functions. The largest is {TMP_MB_MAX} MB.",
            configuration.tmp_mb
        )));
    }
    Ok(())
}

/// Environments ahead of invocations would be made twice.
pub(crate) fn check_provisioned(version: &FunctionRecord) -> Result<(), ControlError> {
    if version.optimization.is_asked() {
        return Err(ControlError::invalid(
            "Provisioned Concurrency is not supported for SnapStart enabled functions.",
        ));
    }
    Ok(())
}

fn is_asked(configuration: &Configuration) -> bool {
    configuration.snap_start != NONE
}

/// What a worker may have written: the memory, in which `/tmp` lies; the files of `/tmp` with their holes, and those of
/// `/dev/shm`, which has half the size of the memory.
fn snapshot_bytes_max(lease: &Lease) -> u64 {
    let (tmp, memory) = (u64::from(lease.tmp_mb) << 20, u64::from(lease.memory_mb) << 20);
    let all = memory + tmp;
    all + tmp + all / 2 + SNAPSHOT_SPARE_BYTES
}

fn is_of(record: &FunctionRecord, wish: &SnapshotWish) -> bool {
    let revision = record.lease.as_ref().map(|lease| &lease.revision);
    record.awaits_snapshot() && revision == Some(&wish.lease.revision)
}

/// Why the version is Failed, if the function is at fault. Codes are the model's.
fn reason_of(failure: &SnapshotFailure) -> Option<Reason> {
    let code = match failure {
        SnapshotFailure::Init { error_type, .. } => match error_type.as_str() {
            "Runtime.InvalidEntrypoint" => "FunctionError.InvalidEntryPoint",
            "Runtime.InvalidWorkingDir" => "FunctionError.InvalidWorkingDirectory",
            "Runtime.OutOfMemory" => "FunctionError.InitResourceExhausted",
            "Extension.TooManyExtensions" => "FunctionError.TooManyExtensions",
            text if text.starts_with("Extension.") => "FunctionError.ExtensionInitError",
            _ => "FunctionError.RuntimeInitError",
        },
        SnapshotFailure::TimedOut { .. } => "FunctionError.InitTimeout",
        SnapshotFailure::Unsuitable { .. } | SnapshotFailure::Worker { .. } => return None,
    };
    Some(Reason {
        code: code.to_owned(),
        text: cut(&failure.to_string()),
    })
}

fn cut(text: &str) -> String {
    text.chars().take(REASON_CHARACTERS_MAX).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(error_type: &str) -> SnapshotFailure {
        SnapshotFailure::Init {
            error_type: error_type.to_owned(),
            message: "why".to_owned(),
        }
    }

    #[test]
    fn only_the_functions_own_faults_fail_its_version() {
        let check = |failure: SnapshotFailure, expected: Option<(&str, &str)>| {
            let reason = reason_of(&failure);
            let found = reason
                .as_ref()
                .map(|reason| (reason.code.as_str(), reason.text.as_str()));
            assert_eq!(found, expected, "{failure:?}");
        };
        let runtime = "FunctionError.RuntimeInitError";
        check(init("Runtime.ExitError"), Some((runtime, "Runtime.ExitError: why")));
        check(init("ValueError"), Some((runtime, "ValueError: why")));
        check(
            init("Extension.Crash"),
            Some(("FunctionError.ExtensionInitError", "Extension.Crash: why")),
        );
        check(
            init("Runtime.InvalidEntrypoint"),
            Some(("FunctionError.InvalidEntryPoint", "Runtime.InvalidEntrypoint: why")),
        );
        let limit = Duration::from_secs(130);
        let late = "the initialisation took longer than 130 s";
        check(
            SnapshotFailure::TimedOut { limit },
            Some(("FunctionError.InitTimeout", late)),
        );
        let reason = "no CRIU".to_owned();
        check(SnapshotFailure::Unsuitable { reason: reason.clone() }, None);
        check(SnapshotFailure::Worker { reason }, None);
    }

    #[test]
    fn a_functions_words_are_cut() {
        let long = SnapshotFailure::Init {
            error_type: "e".to_owned(),
            message: "ü".repeat(5000),
        };
        assert_eq!(reason_of(&long).unwrap().text.chars().count(), REASON_CHARACTERS_MAX);
    }

    #[test]
    fn what_snapshots_cannot_have_is_refused() {
        let mut configuration = Configuration::new("f", crate::PackageType::Image, "x86_64");
        configuration.tmp_mb = 513;
        assert!(check(&configuration).is_ok());
        "PublishedVersions".clone_into(&mut configuration.snap_start);
        let refused = check(&configuration).unwrap_err().to_string();
        assert!(refused.contains("513 MB is not supported for SnapStart"), "{refused}");
        configuration.tmp_mb = 512;
        assert!(check(&configuration).is_ok());
    }
}
