//! What scaling did: the last activities of each target.

use super::ScalableResource;
use super::rows::{Found, Kind, RowKey};
use crate::column::signed;
use crate::{Control, ControlError};
use chunk::Account;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Activities that are kept of a target; older ones go. Application Auto Scaling keeps six weeks of them.
const ACTIVITIES_MAX: u32 = 100;

/// One thing that was done, or tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalingActivity {
    /// What was scaled.
    pub resource: ScalableResource,
    /// A UUID.
    pub id: String,
    /// What was to be done.
    pub description: String,
    /// Why.
    pub cause: String,
    /// When, milliseconds since 1970.
    pub begin_ms: u64,
    /// Whether it was done.
    pub is_success: bool,
    /// How it went.
    pub message: String,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct ActivityDocument {
    description: String,
    cause: String,
    is_success: bool,
    message: String,
}

impl Control {
    /// Notes an activity; its id does not count.
    pub async fn add_scaling_activity(&self, activity: &ScalingActivity) -> Result<(), ControlError> {
        let resource = &activity.resource;
        let id = Uuid::new_v4().to_string();
        let document = ActivityDocument {
            description: activity.description.clone(),
            cause: activity.cause.clone(),
            is_success: activity.is_success,
            message: activity.message.clone(),
        };
        let mut transaction = self.write().await?;
        let key = RowKey::of(Kind::Activity, resource, &id);
        key.write(&mut transaction, &document, activity.begin_ms).await?;
        sqlx::query(
            "DELETE FROM autoscaling WHERE kind = 'activity' AND account = $1 AND name = $2 AND qualifier = $3
             AND item NOT IN (SELECT item FROM autoscaling WHERE kind = 'activity' AND account = $1 AND name = $2
                              AND qualifier = $3 ORDER BY mark_ms DESC, item LIMIT $4)",
        )
        .bind(resource.account.as_str())
        .bind(&resource.name)
        .bind(&resource.qualifier)
        .bind(signed(u64::from(ACTIVITIES_MAX)))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    /// An account's activities, the last first.
    pub async fn scaling_activities(&self, account: &Account) -> Result<Vec<ScalingActivity>, ControlError> {
        let rows: Vec<Found<ActivityDocument>> = self.scaling_rows(Kind::Activity, Some(account)).await?;
        let activity = |found: Found<ActivityDocument>| ScalingActivity {
            resource: found.resource,
            id: found.item,
            description: found.document.description,
            cause: found.document.cause,
            begin_ms: found.mark_ms,
            is_success: found.document.is_success,
            message: found.document.message,
        };
        let mut activities: Vec<ScalingActivity> = rows.into_iter().map(activity).collect();
        activities.sort_by_key(|activity| std::cmp::Reverse(activity.begin_ms));
        Ok(activities)
    }
}
