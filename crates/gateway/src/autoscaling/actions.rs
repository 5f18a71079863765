//! The operations on scheduled actions.

use super::operations::{Caller, is_named};
use super::resource::{filter, missing, number, resource, text, texts, time};
use super::schedule::{Timetable, TimetableParts};
use super::{invalid, of_record, refuse, shapes};
use crate::json_error::JsonError;
use control::{ControlError, ScalableResource, ScheduledAction};
use serde_json::{Map, Value, json};

/// What PutScheduledAction says; what it leaves out stays.
struct AskedAction {
    schedule: Option<String>,
    timezone: Option<String>,
    start_ms: Option<u64>,
    end_ms: Option<u64>,
    capacity: Option<(Option<u32>, Option<u32>)>,
}

impl Caller<'_> {
    pub(super) async fn put_scheduled_action(&self) -> Result<Value, JsonError> {
        let resource = resource(self.account, self.input)?;
        let name = text(self.input, "ScheduledActionName")?.ok_or_else(|| missing("scheduledActionName"))?;
        check_action_name(name)?;
        let asked = AskedAction::read(self.input)?;
        let now_ms = self.gateway.now_ms();
        let (of, named) = (resource.clone(), name.to_owned());
        let change = move |before| asked.on(before, (of, named), now_ms);
        let control = &self.gateway.control;
        let done = control.put_scheduled_action(&resource, name, change).await;
        done.map_err(of_record)?;
        Ok(json!({}))
    }

    pub(super) async fn describe_scheduled_actions(&self) -> Result<Value, JsonError> {
        let wanted = filter(self.account, self.input)?;
        let names = texts(self.input, "ScheduledActionNames")?;
        let actions = self.gateway.control.scheduled_actions(self.account).await;
        let actions = actions.map_err(of_record)?;
        let shapes: Vec<Value> = actions
            .iter()
            .filter(|action| wanted.as_ref().is_none_or(|wanted| action.resource == *wanted))
            .filter(|action| is_named(names.as_deref(), &action.name))
            .map(|action| shapes::action(&self.gateway.region, action))
            .collect();
        self.page("ScheduledActions", &shapes)
    }

    pub(super) async fn delete_scheduled_action(&self) -> Result<Value, JsonError> {
        let resource = resource(self.account, self.input)?;
        let name = text(self.input, "ScheduledActionName")?.ok_or_else(|| missing("scheduledActionName"))?;
        let done = self.gateway.control.delete_scheduled_action(&resource, name).await;
        done.map_err(of_record)?;
        Ok(json!({}))
    }
}

impl AskedAction {
    fn read(input: &Map<String, Value>) -> Result<Self, JsonError> {
        let capacity = match input.get("ScalableTargetAction") {
            None | Some(Value::Null) => None,
            Some(Value::Object(capacity)) => Some((number(capacity, "MinCapacity")?, number(capacity, "MaxCapacity")?)),
            Some(_) => {
                return Err(refuse(
                    "SerializationException",
                    "ScalableTargetAction is to be a structure",
                ));
            }
        };
        Ok(Self {
            schedule: text(input, "Schedule")?.map(str::to_owned),
            timezone: text(input, "Timezone")?.map(str::to_owned),
            start_ms: time(input, "StartTime")?,
            end_ms: time(input, "EndTime")?,
            capacity,
        })
    }

    fn on(
        self,
        before: Option<ScheduledAction>,
        (resource, name): (ScalableResource, String),
        now_ms: u64,
    ) -> Result<ScheduledAction, ControlError> {
        let before = before.unwrap_or(ScheduledAction {
            resource,
            name,
            id: String::new(),
            schedule: String::new(),
            timezone: None,
            start_ms: None,
            end_ms: None,
            min: None,
            max: None,
            created_ms: now_ms,
            done_ms: now_ms,
        });
        let (min, max) = self.capacity.unwrap_or((before.min, before.max));
        let after = ScheduledAction {
            schedule: self.schedule.unwrap_or(before.schedule),
            timezone: self.timezone.or(before.timezone),
            start_ms: self.start_ms.or(before.start_ms),
            end_ms: self.end_ms.or(before.end_ms),
            min,
            max,
            ..before
        };
        check_action(&after, now_ms)?;
        Ok(after)
    }
}

/// What the record hands on as it is.
fn bad_action(message: impl Into<String>) -> ControlError {
    ControlError::Invalid {
        message: message.into(),
    }
}

fn check_action(action: &ScheduledAction, now_ms: u64) -> Result<(), ControlError> {
    if action.schedule.is_empty() {
        return Err(bad_action("A new scheduled action needs Schedule."));
    }
    match (action.min, action.max) {
        (None, None) => {
            return Err(bad_action("ScalableTargetAction needs MinCapacity or MaxCapacity."));
        }
        (Some(min), Some(max)) if min > max => {
            return Err(bad_action("Maximum capacity cannot be less than minimum capacity."));
        }
        _ => {}
    }
    if action
        .start_ms
        .zip(action.end_ms)
        .is_some_and(|(start, end)| end < start)
    {
        return Err(bad_action("EndTime must not be before StartTime."));
    }
    let timetable = Timetable::read(&parts_of(action));
    let timetable = timetable.map_err(|error| bad_action(format!("Schedule cannot be read: {error}.")))?;
    if timetable.next_after(now_ms).is_none() {
        return Err(bad_action(
            "The schedule is never due from now on: look at Schedule, Timezone, StartTime and EndTime.",
        ));
    }
    Ok(())
}

pub(super) fn parts_of(action: &ScheduledAction) -> TimetableParts<'_> {
    TimetableParts {
        schedule: &action.schedule,
        timezone: action.timezone.as_deref(),
        start_ms: action.start_ms,
        end_ms: action.end_ms,
        created_ms: action.created_ms,
    }
}

/// AWS's pattern: nothing that cannot be printed, none of `:/|`, no space at the ends.
fn check_action_name(name: &str) -> Result<(), JsonError> {
    let is_fit = name.len() <= 256
        && name.trim_matches(' ') == name
        && !name
            .chars()
            .any(|character| character.is_control() || ":/|".contains(character));
    if is_fit {
        return Ok(());
    }
    Err(invalid(
        "ScheduledActionName has at most 256 characters, none of them : / or |, and no space at its ends.",
    ))
}
