//! Environments that are started ahead of invocations.

use crate::{FunctionIdentity, Lease};
use std::sync::Arc;

/// How many environments of one revision are to be there, whether or not anybody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionTarget {
    /// What they are made from.
    pub lease: Arc<Lease>,
    /// How many.
    pub count: u32,
    /// When it was asked for, milliseconds since 1970: another number than before forgets earlier failures.
    pub asked_ms: u64,
}

/// How a revision's environments that are started ahead fare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionReport {
    /// Of the lease.
    pub revision: String,
    /// Which version of which function.
    pub function: FunctionIdentity,
    /// How many there are to be.
    pub wanted: u32,
    /// When that was asked for: [`ProvisionTarget::asked_ms`].
    pub asked_ms: u64,
    /// How many have initialised, whether or not they serve now.
    pub ready: u32,
    /// How many of these serve now.
    pub busy: u32,
    /// Invocations of the revision that run now, in these and in others.
    pub in_flight: u32,
    /// Events that these served, since this process began or the target was first set.
    pub invocations: u64,
    /// Events that others served meanwhile, because all of these were busy or not there yet.
    pub spillovers: u64,
    /// Why not all are there, if something went wrong last.
    pub failure: Option<ProvisionFailure>,
}

/// Why an environment could not be started ahead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionFailure {
    /// It did not initialise, or died again and again.
    #[error("FUNCTION_ERROR_INIT_FAILURE: {0}")]
    Init(String),
    /// This machine has no room for it.
    #[error("INSUFFICIENT_CAPACITY: {0}")]
    NoRoom(String),
}
