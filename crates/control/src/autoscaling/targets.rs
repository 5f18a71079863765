//! Scalable targets.

use super::rows::{Found, Kind, RowKey};
use super::{SCALABLE_TARGETS_MAX, ScalableResource, missing};
use crate::column::document;
use crate::{Control, ControlError, QualifiedName};
use chunk::Account;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A version or an alias whose provisioned concurrency is kept between two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalableTarget {
    /// What is scaled.
    pub resource: ScalableResource,
    /// The part of its ARN that is its own.
    pub id: String,
    /// Fewest environments.
    pub min: u32,
    /// Most environments.
    pub max: u32,
    /// As it was given; kept, not assumed.
    pub role_arn: Option<String>,
    /// What is not done for now.
    pub suspended: ScalingSuspended,
    /// Names and values.
    pub tags: BTreeMap<String, String>,
    /// When it was first registered, milliseconds since 1970.
    pub created_ms: u64,
}

/// What is not done for now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingSuspended {
    /// Policies do not take away.
    pub scale_in: bool,
    /// Policies do not add.
    pub scale_out: bool,
    /// Scheduled actions do not run.
    pub scheduled: bool,
}

/// What RegisterScalableTarget says; what it leaves out stays.
#[derive(Clone, Debug, Default)]
pub struct ScalableTargetChange {
    /// Fewest environments; a new target needs it.
    pub min: Option<u32>,
    /// Most environments; a new target needs it.
    pub max: Option<u32>,
    /// A role.
    pub role_arn: Option<String>,
    /// What is not done for now.
    pub suspended: Option<ScalingSuspended>,
    /// Added to those that there are.
    pub tags: BTreeMap<String, String>,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct TargetDocument {
    id: String,
    pub(super) min: u32,
    pub(super) max: u32,
    role_arn: Option<String>,
    pub(super) suspended: ScalingSuspended,
    tags: BTreeMap<String, String>,
    created_ms: u64,
}

impl Control {
    /// Makes a version or an alias a target, or changes it.
    ///
    /// Errors: no such version or alias; a new target without both numbers; the fewest are more than the most.
    pub async fn register_scalable_target(
        &self,
        resource: &ScalableResource,
        change: ScalableTargetChange,
    ) -> Result<ScalableTarget, ControlError> {
        let known = self.qualified(&resource.qualified()).await;
        known.map_err(|error| {
            error.if_not_found(|| {
                ControlError::invalid(format!(
                    "Lambda function version or alias doesn't exist: {}",
                    resource.id()
                ))
            })
        })?;
        let mut transaction = self.write().await?;
        let key = RowKey::of(Kind::Target, resource, "");
        let before: Option<TargetDocument> = match key.read(&mut transaction).await? {
            Some((text, _)) => Some(document(&text, "target")?),
            None if key.count(&mut transaction).await? >= SCALABLE_TARGETS_MAX => {
                let message = format!("An account has at most {SCALABLE_TARGETS_MAX} scalable targets.");
                return Err(ControlError::LimitExceeded { message });
            }
            None => None,
        };
        let after = changed(before, change, self.now_ms())?;
        key.write(&mut transaction, &after, 0).await?;
        transaction.commit().await?;
        self.ring_scaling();
        Ok(after.into_target(resource.clone()))
    }

    /// An account's targets, by name and qualifier.
    pub async fn scalable_targets(&self, account: &Account) -> Result<Vec<ScalableTarget>, ControlError> {
        self.targets_of(Some(account)).await
    }

    pub(super) async fn targets_of(&self, account: Option<&Account>) -> Result<Vec<ScalableTarget>, ControlError> {
        let rows = self.scaling_rows(Kind::Target, account).await?;
        let target = |found: Found<TargetDocument>| found.document.into_target(found.resource);
        Ok(rows.into_iter().map(target).collect())
    }

    /// Makes it a target no more; its policies and actions go with it, and its provisioned concurrency stays.
    pub async fn deregister_scalable_target(&self, resource: &ScalableResource) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        if !RowKey::of(Kind::Target, resource, "").remove(&mut transaction).await? {
            return Err(missing("No scalable target found", resource, ""));
        }
        sqlx::query(
            "DELETE FROM autoscaling WHERE kind IN ('policy', 'action') AND account = $1 AND name = $2 AND qualifier = $3",
        )
        .bind(resource.account.as_str())
        .bind(&resource.name)
        .bind(&resource.qualifier)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.ring_scaling();
        Ok(())
    }

    /// Removes tags of a target.
    pub async fn untag_scalable_target(
        &self,
        resource: &ScalableResource,
        keys: &[String],
    ) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        let key = RowKey::of(Kind::Target, resource, "");
        let Some((text, _)) = key.read(&mut transaction).await? else {
            return Err(missing("No scalable target found", resource, ""));
        };
        let mut target: TargetDocument = document(&text, "target")?;
        target.tags.retain(|tag, _| !keys.contains(tag));
        key.write(&mut transaction, &target, 0).await?;
        transaction.commit().await
    }
}

fn changed(
    before: Option<TargetDocument>,
    change: ScalableTargetChange,
    now_ms: u64,
) -> Result<TargetDocument, ControlError> {
    let mut after = match (before, change.min, change.max) {
        (Some(before), ..) => before,
        (None, Some(min), Some(max)) => TargetDocument {
            id: Uuid::new_v4().simple().to_string(),
            min,
            max,
            role_arn: None,
            suspended: ScalingSuspended::default(),
            tags: BTreeMap::new(),
            created_ms: now_ms,
        },
        (None, ..) => {
            return Err(ControlError::invalid(
                "MinCapacity and MaxCapacity must both be specified when registering a new scalable target.",
            ));
        }
    };
    after.min = change.min.unwrap_or(after.min);
    after.max = change.max.unwrap_or(after.max);
    after.role_arn = change.role_arn.or(after.role_arn);
    after.suspended = change.suspended.unwrap_or(after.suspended);
    after.tags.extend(change.tags);
    check_bounds(after.min, after.max)?;
    if after.tags.len() > crate::TAGS_MAX {
        let message = format!("A scalable target has at most {} tags.", crate::TAGS_MAX);
        return Err(ControlError::LimitExceeded { message });
    }
    Ok(after)
}

pub(super) fn check_bounds(min: u32, max: u32) -> Result<(), ControlError> {
    if min > max {
        return Err(ControlError::invalid(
            "Maximum capacity cannot be less than minimum capacity.",
        ));
    }
    Ok(())
}

impl TargetDocument {
    fn into_target(self, resource: ScalableResource) -> ScalableTarget {
        ScalableTarget {
            resource,
            id: self.id,
            min: self.min,
            max: self.max,
            role_arn: self.role_arn,
            suspended: self.suspended,
            tags: self.tags,
            created_ms: self.created_ms,
        }
    }
}

impl ScalableResource {
    /// As other settings name it.
    #[must_use]
    pub fn qualified(&self) -> QualifiedName<'_> {
        QualifiedName {
            account: &self.account,
            name: &self.name,
            qualifier: &self.qualifier,
        }
    }
}
