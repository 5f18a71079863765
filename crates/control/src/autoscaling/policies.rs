//! Policies that follow what runs: target tracking.

use super::rows::{Found, Kind, RowKey};
use super::{ScalableResource, missing};
use crate::column::document;
use crate::{Control, ControlError};
use chunk::Account;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most policies of a target. Application Auto Scaling's quota.
const POLICIES_MAX: u64 = 50;

/// Keeps the part of environments that serve near a number.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingPolicy {
    /// What it scales.
    pub resource: ScalableResource,
    /// Its name.
    pub name: String,
    /// A UUID, the part of its ARN that is its own.
    pub id: String,
    /// The part, above 0 and at most 1.
    pub target: f64,
    /// Seconds between two additions.
    pub scale_out_cooldown_s: Option<u32>,
    /// Seconds between two removals.
    pub scale_in_cooldown_s: Option<u32>,
    /// Whether it only adds.
    pub disable_scale_in: Option<bool>,
    /// When it was first put, milliseconds since 1970.
    pub created_ms: u64,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct PolicyDocument {
    id: String,
    target: f64,
    scale_out_cooldown_s: Option<u32>,
    scale_in_cooldown_s: Option<u32>,
    disable_scale_in: Option<bool>,
    created_ms: u64,
}

impl Control {
    /// Writes a policy, or writes over it; gives its id. `id` and `created_ms` of what is given do not count.
    pub async fn put_scaling_policy(&self, policy: &ScalingPolicy) -> Result<String, ControlError> {
        self.check_target(&policy.resource).await?;
        let mut transaction = self.write().await?;
        let key = RowKey::of(Kind::Policy, &policy.resource, &policy.name);
        let (id, created_ms) = match key.read(&mut transaction).await? {
            Some((text, _)) => {
                let before: PolicyDocument = document(&text, "policy")?;
                (before.id, before.created_ms)
            }
            None if key.count(&mut transaction).await? >= POLICIES_MAX => {
                let message = format!("A scalable target has at most {POLICIES_MAX} scaling policies.");
                return Err(ControlError::LimitExceeded { message });
            }
            None => (Uuid::new_v4().to_string(), self.now_ms()),
        };
        let after = PolicyDocument {
            id: id.clone(),
            target: policy.target,
            scale_out_cooldown_s: policy.scale_out_cooldown_s,
            scale_in_cooldown_s: policy.scale_in_cooldown_s,
            disable_scale_in: policy.disable_scale_in,
            created_ms,
        };
        key.write(&mut transaction, &after, 0).await?;
        transaction.commit().await?;
        self.ring_scaling();
        Ok(id)
    }

    /// An account's policies, by resource and name.
    pub async fn scaling_policies(&self, account: &Account) -> Result<Vec<ScalingPolicy>, ControlError> {
        self.policies_of(Some(account)).await
    }

    pub(super) async fn policies_of(&self, account: Option<&Account>) -> Result<Vec<ScalingPolicy>, ControlError> {
        let rows = self.scaling_rows(Kind::Policy, account).await?;
        Ok(rows.into_iter().map(policy).collect())
    }

    /// Removes a policy.
    pub async fn delete_scaling_policy(&self, resource: &ScalableResource, name: &str) -> Result<(), ControlError> {
        let key = RowKey::of(Kind::Policy, resource, name);
        if !key.remove(&mut *self.pool().acquire().await?).await? {
            return Err(missing("No scaling policy found", resource, name));
        }
        self.ring_scaling();
        Ok(())
    }
}

fn policy(found: Found<PolicyDocument>) -> ScalingPolicy {
    let Found {
        resource,
        item,
        document,
        ..
    } = found;
    ScalingPolicy {
        resource,
        name: item,
        id: document.id,
        target: document.target,
        scale_out_cooldown_s: document.scale_out_cooldown_s,
        scale_in_cooldown_s: document.scale_in_cooldown_s,
        disable_scale_in: document.disable_scale_in,
        created_ms: document.created_ms,
    }
}
