//! What Application Auto Scaling keeps: targets, policies, scheduled actions, and what they did.
//!
//! A target is a version or an alias whose provisioned concurrency is kept between two numbers. Policies and scheduled
//! actions hang on it and go with it; activities tell what was done. Nothing is decided here: the gateway looks at them
//! and at what runs, and writes what it decides through [`Control::put_provisioned_concurrency`].

mod actions;
mod activities;
mod policies;
mod rows;
mod targets;

pub use actions::ScheduledAction;
pub use activities::ScalingActivity;
pub use policies::ScalingPolicy;
pub(crate) use rows::SCHEMA;
pub use targets::{ScalableTarget, ScalableTargetChange, ScalingSuspended};

use crate::{Control, ControlError};
use chunk::Account;
use rows::{Kind, RowKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Most targets of an account. Lambda's quota is 500 for most services, and can be raised.
pub const SCALABLE_TARGETS_MAX: u64 = 1_000;

/// What is scaled: a version or an alias of a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScalableResource {
    /// The owner.
    pub account: Account,
    /// The function.
    pub name: String,
    /// A version's number or an alias's name.
    pub qualifier: String,
}

/// A target with all that hangs on it.
#[derive(Clone, Debug)]
pub struct ScalingPlan {
    /// The target.
    pub target: ScalableTarget,
    /// By name.
    pub policies: Vec<ScalingPolicy>,
    /// By name.
    pub actions: Vec<ScheduledAction>,
}

impl Control {
    /// All targets of all accounts, for whoever scales them.
    pub async fn scaling_plans(&self) -> Result<Vec<ScalingPlan>, ControlError> {
        let mut plans = BTreeMap::new();
        for target in self.targets_of(None).await? {
            let plan = ScalingPlan {
                target,
                policies: Vec::new(),
                actions: Vec::new(),
            };
            plans.insert(plan.target.resource.clone(), plan);
        }
        for policy in self.policies_of(None).await? {
            if let Some(plan) = plans.get_mut(&policy.resource) {
                plan.policies.push(policy);
            }
        }
        for action in self.actions_of(None).await? {
            if let Some(plan) = plans.get_mut(&action.resource) {
                plan.actions.push(action);
            }
        }
        Ok(plans.into_values().collect())
    }

    /// Told when a target, a policy or an action changes.
    #[must_use]
    pub fn scaling_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.inner.scaling_bell)
    }

    /// Whoever scales is to look again.
    pub(crate) fn ring_scaling(&self) {
        self.inner.scaling_bell.notify_one();
    }

    /// Fails by Application Auto Scaling's name if there is no such target.
    async fn check_target(&self, resource: &ScalableResource) -> Result<(), ControlError> {
        let key = RowKey::of(Kind::Target, resource, "");
        match key.read(&mut *self.pool().acquire().await?).await? {
            Some(_) => Ok(()),
            None => Err(missing("No scalable target registered", resource, "")),
        }
    }
}

impl ScalableResource {
    /// `function:NAME:QUALIFIER`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("function:{}:{}", self.name, self.qualifier)
    }
}

/// In Application Auto Scaling's words.
fn missing(what: &str, resource: &ScalableResource, item: &str) -> ControlError {
    let colon = if item.is_empty() { "" } else { ": " };
    ControlError::not_found(format!(
        "{what} for service namespace: lambda, resource ID: {}, scalable dimension: \
         lambda:function:ProvisionedConcurrency{colon}{item}",
        resource.id()
    ))
}
