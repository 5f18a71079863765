use super::*;
use crate::{Destinations, EventInvokeChange};

fn retries(count: u64) -> EventInvokeChange {
    EventInvokeChange {
        retries_max: Some(count),
        ..EventInvokeChange::default()
    }
}

fn to(on_success: Option<&str>, on_failure: Option<&str>) -> EventInvokeChange {
    let destinations = Destinations {
        on_success: on_success.map(str::to_owned),
        on_failure: on_failure.map(str::to_owned),
    };
    EventInvokeChange {
        destinations: Some(destinations),
        ..EventInvokeChange::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_settings() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let latest = fixture.named("f", "$LATEST");
    let none = format!(
        "The function {} doesn't have an EventInvokeConfig",
        fixture.arn("function:f:$LATEST")
    );
    check_error(control.existing_event_invoke_config(&latest).await, "NotFound", &none);
    check_error(
        control.put_event_invoke_config(&latest, retries(1), true).await,
        "NotFound",
        &none,
    );
    let age = EventInvokeChange {
        age_max_s: Some(60),
        ..EventInvokeChange::default()
    };
    control
        .put_event_invoke_config(&latest, retries(2), false)
        .await
        .unwrap();
    let put = control.put_event_invoke_config(&latest, age, false).await.unwrap();
    assert_eq!((put.retries_max, put.age_max_s), (None, Some(60)), "Put replaces all");
    let updated = control
        .put_event_invoke_config(&latest, retries(0), true)
        .await
        .unwrap();
    assert_eq!(
        (updated.retries_max, updated.age_max_s),
        (Some(0), Some(60)),
        "Update keeps the rest"
    );
    assert_eq!(control.event_invoke_config(&latest).await.unwrap(), Some(updated));
    for qualifier in ["1", "live"] {
        control
            .put_event_invoke_config(&fixture.named("f", qualifier), retries(1), false)
            .await
            .unwrap();
    }
    let first = control
        .event_invoke_configs(account, "f", &page(None, 2))
        .await
        .unwrap();
    let second = control
        .event_invoke_configs(account, "f", &page(first.next, 2))
        .await
        .unwrap();
    let names: Vec<_> = first
        .items
        .iter()
        .chain(&second.items)
        .map(|item| item.qualifier.as_str())
        .collect();
    assert_eq!((names, second.next), (vec!["$LATEST", "1", "live"], None));
    control.delete_event_invoke_config(&latest).await.unwrap();
    check_error(control.delete_event_invoke_config(&latest).await, "NotFound", &none);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be() {
    let fixture = Fixture::new().await;
    fixture.insert("g", 0).await;
    let put = async |name: &str, qualifier: &str, change: EventInvokeChange| {
        fixture
            .control
            .put_event_invoke_config(&fixture.named(name, qualifier), change, false)
            .await
    };
    let nothing = "You must specify at least one of error handling or destination setting.";
    check_error(
        put("f", "$LATEST", EventInvokeChange::default()).await,
        "Invalid",
        nothing,
    );
    check_error(
        put("none", "$LATEST", retries(1)).await,
        "NotFound",
        "The function doesn't exist.",
    );
    check_error(
        put("f", "none", retries(1)).await,
        "NotFound",
        "The function doesn't exist.",
    );
    let own = fixture.arn("function:f");
    let itself = "You can't specify the function as a destination for itself.";
    check_error(put("f", "$LATEST", to(Some(&own), None)).await, "Invalid", itself);
    let missing = fixture.arn("function:none");
    let message = format!("The destination ARN {missing} is invalid.");
    check_error(put("f", "$LATEST", to(None, Some(&missing))).await, "Invalid", &message);
    let role = "arn:aws:iam:us-east-1:123456789012:role/r";
    let message = format!(
        "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={role}), onFailure=null) is \
         invalid."
    );
    check_error(put("f", "$LATEST", to(Some(role), None)).await, "Invalid", &message);
    let other = fixture.arn("function:g");
    let queue = "arn:aws:sqs:us-east-1:123456789012:q";
    let config = put("f", "$LATEST", to(Some(&other), Some(queue))).await.unwrap();
    assert_eq!(
        (config.on_success.as_deref(), config.on_failure.as_deref()),
        (Some(other.as_str()), Some(queue))
    );
    let config = put("f", "$LATEST", to(Some(""), None)).await.unwrap();
    assert_eq!((config.on_success, config.on_failure), (None, None));
}
