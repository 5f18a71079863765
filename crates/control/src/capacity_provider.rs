//! CapacityProviderConfig: what a function of Lambda's managed instances says, whose environments take several invocations.
//!
//! The machines here are one capacity provider of each account, [`NAME`]. A function that names it gets the invocations for
//! each environment that it asks for, as the tag `lambent:concurrency` would give it; of both, the tag decides. Everything
//! else that managed instances change in Lambda is not done.

use crate::{Configuration, Control, ControlError, Settings};
use chunk::Account;
use serde::{Deserialize, Serialize};

/// The only capacity provider.
const NAME: &str = "lambent";

/// Most invocations that an environment takes, as by the tag. Lambda's model has 1,600, where instances are a function's own.
const INVOCATIONS_MAX: u32 = 256;

/// Where a function's environments are, and what each takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityConfig {
    /// ARN of the capacity provider.
    pub provider: String,
    /// Invocations that an environment takes at once; one where it is not said.
    pub invocations_max: Option<u32>,
}

impl Control {
    /// Checks what a request names.
    pub(crate) fn check_capacity(&self, account: &Account, settings: &Settings) -> Result<(), ControlError> {
        let Some(asked) = &settings.capacity else {
            return Ok(());
        };
        let own = format!("arn:aws:lambda:{}:{account}:capacity-provider:{NAME}", self.region());
        if asked.provider != own {
            return Err(ControlError::NotFound {
                what: format!(
                    "Capacity provider not found: {}. The machines of this endpoint are {own}.",
                    asked.provider
                ),
            });
        }
        if asked
            .invocations_max
            .is_some_and(|invocations| invocations > INVOCATIONS_MAX)
        {
            return Err(ControlError::invalid(format!(
                "PerExecutionEnvironmentMaxConcurrency can be at most {INVOCATIONS_MAX} here."
            )));
        }
        Ok(())
    }
}

/// A snapshot is of a runtime that takes one at a time, and Lambda refuses it for managed instances, too.
pub(crate) fn check_with_snap_start(configuration: &Configuration) -> Result<(), ControlError> {
    if configuration.snap_start == "None" || configuration.capacity.is_none() {
        return Ok(());
    }
    Err(ControlError::invalid(
        "SnapStart is not supported for functions with CapacityProviderConfig. Remove one of them from the function.",
    ))
}

impl Configuration {
    /// Invocations that an environment takes at once, unless a tag says it.
    pub(crate) fn invocations_max(&self) -> u32 {
        let asked = self.capacity.as_ref().and_then(|capacity| capacity.invocations_max);
        asked.unwrap_or(1).max(1)
    }
}
