use super::*;
use crate::{
    ScalableResource, ScalableTargetChange, ScalingActivity, ScalingPolicy, ScalingSuspended, ScheduledAction,
};

fn resource(fixture: &Fixture, name: &str, qualifier: &str) -> ScalableResource {
    ScalableResource {
        account: fixture.account.clone(),
        name: name.to_owned(),
        qualifier: qualifier.to_owned(),
    }
}

fn bounds(min: Option<u32>, max: Option<u32>) -> ScalableTargetChange {
    ScalableTargetChange {
        min,
        max,
        ..ScalableTargetChange::default()
    }
}

fn policy(resource: &ScalableResource, target: f64) -> ScalingPolicy {
    ScalingPolicy {
        resource: resource.clone(),
        name: "policy".to_owned(),
        id: String::new(),
        target,
        scale_out_cooldown_s: Some(1),
        scale_in_cooldown_s: None,
        disable_scale_in: None,
        created_ms: 0,
    }
}

async fn put_action(control: &Control, resource: &ScalableResource, min: Option<u32>, max: Option<u32>) {
    let put = control.put_scheduled_action(resource, "action", |before| {
        let before = before.unwrap_or(ScheduledAction {
            resource: resource.clone(),
            name: "action".to_owned(),
            id: String::new(),
            schedule: "rate(1 day)".to_owned(),
            timezone: None,
            start_ms: None,
            end_ms: None,
            min: None,
            max: None,
            created_ms: 0,
            done_ms: 0,
        });
        Ok(ScheduledAction { min, max, ..before })
    });
    put.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_scalable_target() {
    let fixture = Fixture::new().await;
    let (control, live) = (&fixture.control, resource(&fixture, "f", "live"));
    check_error(
        control.register_scalable_target(&live, bounds(Some(1), None)).await,
        "Invalid",
        "MinCapacity and MaxCapacity must both be specified when registering a new scalable target.",
    );
    let made = control
        .register_scalable_target(&live, bounds(Some(1), Some(4)))
        .await
        .unwrap();
    let changed = control
        .register_scalable_target(&live, bounds(None, Some(3)))
        .await
        .unwrap();
    assert_eq!((changed.id, changed.min, changed.max), (made.id, 1, 3));
    check_error(
        control.register_scalable_target(&live, bounds(Some(4), None)).await,
        "Invalid",
        "Maximum capacity cannot be less than minimum capacity.",
    );
    check_error(
        control
            .register_scalable_target(&resource(&fixture, "f", "none"), bounds(Some(0), Some(1)))
            .await,
        "Invalid",
        "Lambda function version or alias doesn't exist: function:f:none",
    );
    control.put_scaling_policy(&policy(&live, 0.5)).await.unwrap();
    put_action(control, &live, Some(1), None).await;
    let fixture = fixture.reopened().await;
    let plans = fixture.control.scaling_plans().await.unwrap();
    assert_eq!(plans.len(), 1);
    assert_eq!((plans[0].policies.len(), plans[0].actions.len()), (1, 1));
    fixture.control.deregister_scalable_target(&live).await.unwrap();
    assert!(
        fixture
            .control
            .scaling_policies(&fixture.account)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        fixture
            .control
            .scheduled_actions(&fixture.account)
            .await
            .unwrap()
            .is_empty()
    );
    check_error(
        fixture.control.put_scaling_policy(&policy(&live, 0.5)).await,
        "NotFound",
        "No scalable target registered for service namespace: lambda, resource ID: function:f:live, scalable dimension: \
         lambda:function:ProvisionedConcurrency",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_runs_once_for_a_time() {
    let fixture = Fixture::new().await;
    let (control, live) = (&fixture.control, resource(&fixture, "f", "live"));
    control
        .register_scalable_target(&live, bounds(Some(2), Some(4)))
        .await
        .unwrap();
    let run = async |after_ms: u64| {
        let plan = control.scaling_plans().await.unwrap().remove(0);
        let action = plan.actions[0].clone();
        let has_run = control
            .run_scheduled_action(&action, action.done_ms + after_ms)
            .await
            .unwrap();
        let plan = control.scaling_plans().await.unwrap().remove(0);
        (has_run, plan.target.min, plan.target.max)
    };
    put_action(control, &live, Some(6), None).await;
    assert_eq!(run(0).await, (false, 2, 4), "its making is no time of its own");
    assert_eq!(run(10).await, (true, 6, 6));
    assert_eq!(run(0).await, (false, 6, 6), "once for each time");
    put_action(control, &live, None, Some(1)).await;
    assert_eq!(run(10).await, (true, 1, 1));
    let suspended = ScalableTargetChange {
        suspended: Some(ScalingSuspended {
            scheduled: true,
            ..ScalingSuspended::default()
        }),
        ..bounds(Some(0), Some(1))
    };
    control.register_scalable_target(&live, suspended).await.unwrap();
    assert_eq!(run(10).await, (true, 0, 1), "it is passed over");
    control.delete_scheduled_action(&live, "action").await.unwrap();
    assert_eq!(
        control
            .delete_scheduled_action(&live, "action")
            .await
            .unwrap_err()
            .to_string(),
        "No scheduled action found for service namespace: lambda, resource ID: function:f:live, scalable dimension: \
         lambda:function:ProvisionedConcurrency: action"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn old_activities_go_and_all_goes_with_the_function() {
    let fixture = Fixture::new().await;
    let (control, live) = (&fixture.control, resource(&fixture, "f", "live"));
    control
        .register_scalable_target(&live, bounds(Some(0), Some(4)))
        .await
        .unwrap();
    for begin_ms in 0..110 {
        let activity = ScalingActivity {
            resource: live.clone(),
            id: String::new(),
            description: "d".to_owned(),
            cause: "c".to_owned(),
            begin_ms,
            is_success: begin_ms % 2 == 0,
            message: "m".to_owned(),
        };
        control.add_scaling_activity(&activity).await.unwrap();
    }
    let activities = control.scaling_activities(&fixture.account).await.unwrap();
    let times: Vec<u64> = activities.iter().map(|activity| activity.begin_ms).collect();
    assert_eq!(times, (10..110).rev().collect::<Vec<_>>());
    control.delete_function(&fixture.account, "f", None).await.unwrap();
    assert!(control.scaling_activities(&fixture.account).await.unwrap().is_empty());
    assert!(control.scaling_plans().await.unwrap().is_empty());
}
