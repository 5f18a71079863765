use super::*;
use control::{ScalableTarget, ScalingSuspended};
use std::collections::BTreeMap;

/// 2030-06-01, which is no day of a change to summer time.
const MIDNIGHT_MS: u64 = 1_906_502_400_000;
const HOUR_MS: u64 = 3_600_000;

fn resource() -> ScalableResource {
    ScalableResource {
        account: "123456789012".parse().unwrap(),
        name: "f".to_owned(),
        qualifier: "live".to_owned(),
    }
}

/// An action that ran last before midnight.
fn action(name: &str, schedule: &str) -> ScheduledAction {
    ScheduledAction {
        resource: resource(),
        name: name.to_owned(),
        id: name.to_owned(),
        schedule: schedule.to_owned(),
        timezone: None,
        start_ms: None,
        end_ms: None,
        min: Some(1),
        max: Some(1),
        created_ms: MIDNIGHT_MS - 48 * HOUR_MS,
        done_ms: MIDNIGHT_MS - HOUR_MS,
    }
}

fn kept(actions: Vec<ScheduledAction>) -> Kept {
    Kept::new(ScalingPlan {
        target: ScalableTarget {
            resource: resource(),
            id: "id".to_owned(),
            min: 0,
            max: 10,
            role_arn: None,
            suspended: ScalingSuspended::default(),
            tags: BTreeMap::new(),
            created_ms: 0,
        },
        policies: Vec::new(),
        actions,
    })
}

#[test]
fn what_was_missed_runs_in_the_order_of_its_times() {
    let kept = kept(vec![
        action("evening-down", "cron(0 20 * * ? *)"),
        action("morning-up", "cron(0 8 * * ? *)"),
        action("never", "at(2031-01-01T00:00:00)"),
        action("noon", "at(2030-06-01T12:00:00)"),
    ]);
    let due = |hours: u64| -> Vec<(u64, &str)> {
        let due = kept.due_until(MIDNIGHT_MS + hours * HOUR_MS).into_iter();
        due.map(|(due_ms, action)| ((due_ms - MIDNIGHT_MS) / HOUR_MS, action.name.as_str()))
            .collect()
    };
    assert_eq!(due(7), []);
    assert_eq!(due(9), [(8, "morning-up")]);
    assert_eq!(due(21), [(8, "morning-up"), (12, "noon"), (20, "evening-down")]);
    // The next morning's, once, after the evening before it.
    assert_eq!(due(33), [(12, "noon"), (20, "evening-down"), (32, "morning-up")]);
}
