//! Scheduled actions: at their times they set a target's numbers.

use super::rows::{Found, Kind, RowKey};
use super::targets::{TargetDocument, check_bounds};
use super::{ScalableResource, missing};
use crate::column::document;
use crate::{Control, ControlError};
use chunk::Account;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most actions of a target. Application Auto Scaling's quota.
const ACTIONS_MAX: u64 = 200;

/// What sets a target's numbers at times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledAction {
    /// What it is about.
    pub resource: ScalableResource,
    /// Its name.
    pub name: String,
    /// A UUID, the part of its ARN that is its own.
    pub id: String,
    /// `at(…)`, `rate(…)` or `cron(…)`; read by whoever runs it.
    pub schedule: String,
    /// Name of a time zone, such as `Europe/Berlin`; UTC if there is none.
    pub timezone: Option<String>,
    /// Not before, milliseconds since 1970.
    pub start_ms: Option<u64>,
    /// Not after, milliseconds since 1970.
    pub end_ms: Option<u64>,
    /// The target's new fewest.
    pub min: Option<u32>,
    /// The target's new most.
    pub max: Option<u32>,
    /// When it was first put, milliseconds since 1970.
    pub created_ms: u64,
    /// Up to which time it has run, or need not: no run is due at or before it. Milliseconds since 1970.
    pub done_ms: u64,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct ActionDocument {
    id: String,
    schedule: String,
    timezone: Option<String>,
    start_ms: Option<u64>,
    end_ms: Option<u64>,
    min: Option<u32>,
    max: Option<u32>,
    created_ms: u64,
}

impl Control {
    /// Writes an action, or writes over it. `change` gets the action as it was, if there was one, and gives what it is to
    /// be; what is due before now is not made up for. `id` and the times of what it gives do not count.
    pub async fn put_scheduled_action(
        &self,
        resource: &ScalableResource,
        name: &str,
        change: impl FnOnce(Option<ScheduledAction>) -> Result<ScheduledAction, ControlError>,
    ) -> Result<(), ControlError> {
        self.check_target(resource).await?;
        let now_ms = self.now_ms();
        let mut transaction = self.write().await?;
        let key = RowKey::of(Kind::Action, resource, name);
        let before = match key.read(&mut transaction).await? {
            Some((text, mark_ms)) => Some(action(Found {
                resource: resource.clone(),
                item: name.to_owned(),
                document: document::<ActionDocument>(&text, "action")?,
                mark_ms,
            })),
            None if key.count(&mut transaction).await? >= ACTIONS_MAX => {
                let message = format!("A scalable target has at most {ACTIONS_MAX} scheduled actions.");
                return Err(ControlError::LimitExceeded { message });
            }
            None => None,
        };
        let identity = before.as_ref().map(|before| (before.id.clone(), before.created_ms));
        // A clock that was set back must not run again what has run.
        let done_ms = before.as_ref().map_or(now_ms, |before| before.done_ms.max(now_ms));
        let after = change(before)?;
        let (id, created_ms) = identity.unwrap_or_else(|| (Uuid::new_v4().to_string(), now_ms));
        let after = ActionDocument {
            id,
            schedule: after.schedule,
            timezone: after.timezone,
            start_ms: after.start_ms,
            end_ms: after.end_ms,
            min: after.min,
            max: after.max,
            created_ms,
        };
        key.write(&mut transaction, &after, done_ms).await?;
        transaction.commit().await?;
        self.ring_scaling();
        Ok(())
    }

    /// An account's actions, by resource and name.
    pub async fn scheduled_actions(&self, account: &Account) -> Result<Vec<ScheduledAction>, ControlError> {
        self.actions_of(Some(account)).await
    }

    pub(super) async fn actions_of(&self, account: Option<&Account>) -> Result<Vec<ScheduledAction>, ControlError> {
        let rows = self.scaling_rows(Kind::Action, account).await?;
        Ok(rows.into_iter().map(action).collect())
    }

    /// Removes an action.
    pub async fn delete_scheduled_action(&self, resource: &ScalableResource, name: &str) -> Result<(), ControlError> {
        let key = RowKey::of(Kind::Action, resource, name);
        if !key.remove(&mut *self.pool().acquire().await?).await? {
            return Err(missing("No scheduled action found", resource, name));
        }
        self.ring_scaling();
        Ok(())
    }

    /// Runs an action that is due: marks it as run and sets its target's numbers, both or neither; of a target whose
    /// scheduled actions are suspended only the mark. False if it has run for that time already, or is there no more.
    pub async fn run_scheduled_action(&self, action: &ScheduledAction, due_ms: u64) -> Result<bool, ControlError> {
        let mut transaction = self.write().await?;
        let key = RowKey::of(Kind::Action, &action.resource, &action.name);
        let Some((text, done_ms)) = key.read(&mut transaction).await? else {
            return Ok(false);
        };
        if done_ms >= due_ms {
            return Ok(false);
        }
        let stored: ActionDocument = document(&text, "action")?;
        key.write(&mut transaction, &stored, due_ms).await?;
        let target_key = RowKey::of(Kind::Target, &action.resource, "");
        if let Some((text, mark_ms)) = target_key.read(&mut transaction).await? {
            let mut target: TargetDocument = document(&text, "target")?;
            if target.suspended.scheduled {
                // It is passed over, and not made up for.
                transaction.commit().await?;
                return Ok(true);
            }
            // A number that contradicts the other one moves it, as in Application Auto Scaling's guide.
            target.min = stored
                .min
                .unwrap_or_else(|| target.min.min(stored.max.unwrap_or(u32::MAX)));
            target.max = stored.max.unwrap_or_else(|| target.max.max(target.min));
            check_bounds(target.min, target.max)?;
            target_key.write(&mut transaction, &target, mark_ms).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }
}

fn action(found: Found<ActionDocument>) -> ScheduledAction {
    let Found {
        resource,
        item,
        document,
        mark_ms,
    } = found;
    ScheduledAction {
        resource,
        name: item,
        id: document.id,
        schedule: document.schedule,
        timezone: document.timezone,
        start_ms: document.start_ms,
        end_ms: document.end_ms,
        min: document.min,
        max: document.max,
        created_ms: document.created_ms,
        done_ms: mark_ms,
    }
}
