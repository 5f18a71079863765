use super::*;
use crate::{
    EventSource, EventSourceChange, EventSourceFilter, EventSourceSettings, EventSourceState as State, NewEventSource,
};
use std::collections::BTreeMap;

const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:q";

fn settings(enabled: bool) -> EventSourceSettings {
    EventSourceSettings {
        enabled,
        batch_messages_max: 10,
        window_s: 0,
        concurrency_max: None,
        reports_failures: false,
        filters: Vec::new(),
        tags: BTreeMap::new(),
    }
}

fn new(fixture: &Fixture, qualifier: Option<&str>) -> NewEventSource {
    NewEventSource {
        account: fixture.account.clone(),
        function: "f".to_owned(),
        qualifier: qualifier.map(str::to_owned),
        source: QUEUE.to_owned(),
        settings: settings(true),
    }
}

async fn change(fixture: &Fixture, id: &str, enabled: bool) -> Result<EventSource, ControlError> {
    let change = EventSourceChange {
        function: None,
        settings: Some(settings(enabled)),
    };
    fixture.control.update_event_source(&fixture.account, id, change).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_followed_step_by_step() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let made = control.create_event_source(new(&fixture, None)).await.unwrap();
    assert_eq!(made.state, State::Creating);
    assert!(matches!(
        change(&fixture, &made.id, false).await,
        Err(ControlError::InUse { .. })
    ));
    control.settle_event_source(&made).await.unwrap();
    let enabled = control.event_source(account, &made.id).await.unwrap();
    assert_eq!(enabled.state, State::Enabled);
    let changed = change(&fixture, &made.id, false).await.unwrap();
    assert_eq!((changed.state, changed.writes), (State::Disabling, 2));
    // Whoever followed an older change says nothing about this one.
    control.settle_event_source(&enabled).await.unwrap();
    assert_eq!(
        control.all_event_sources().await.unwrap(),
        std::slice::from_ref(&changed)
    );
    control.settle_event_source(&changed).await.unwrap();
    assert_eq!(
        control.event_source(account, &made.id).await.unwrap().state,
        State::Disabled
    );
    let deleting = control.delete_event_source(account, &made.id).await.unwrap();
    assert_eq!(deleting.state, State::Deleting);
    let fixture = fixture.reopened().await;
    fixture.control.settle_event_source(&deleting).await.unwrap();
    let missing = "The resource you requested does not exist.";
    let gone = fixture.control.event_source(&fixture.account, &made.id).await;
    check_error(gone, "NotFound", missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_has_one_mapping_of_a_queue() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let made = control.create_event_source(new(&fixture, None)).await.unwrap();
    let message = format!(
        "An event source mapping with SQS arn (\" {QUEUE} \") and function (\" f \") already exists. Please update or \
         delete the existing mapping with UUID {}",
        made.id
    );
    check_error(
        control.create_event_source(new(&fixture, None)).await,
        "Conflict",
        &message,
    );
    let live = control.create_event_source(new(&fixture, Some("live"))).await.unwrap();
    let none = control.create_event_source(new(&fixture, Some("none"))).await;
    assert!(matches!(none, Err(ControlError::NotFound { .. })), "{none:?}");
    let of = |function: Option<(&str, Option<&str>)>, source: Option<&str>| EventSourceFilter {
        function: function.map(|(name, qualifier)| (name.to_owned(), qualifier.map(str::to_owned))),
        source: source.map(str::to_owned),
    };
    let count = async |filter: EventSourceFilter| {
        let first = control
            .event_sources(&fixture.account, &filter, &page(None, 1))
            .await
            .unwrap();
        let mut ids: Vec<_> = first.items.iter().map(|source| source.id.clone()).collect();
        if first.next.is_some() {
            let second = control
                .event_sources(&fixture.account, &filter, &page(first.next, 10))
                .await;
            ids.extend(second.unwrap().items.into_iter().map(|source| source.id));
        }
        ids.len()
    };
    assert_eq!(count(of(None, None)).await, 2);
    assert_eq!(count(of(Some(("f", None)), Some(QUEUE))).await, 2);
    assert_eq!(count(of(Some(("f", Some("live"))), None)).await, 1);
    assert_eq!(count(of(Some(("g", None)), None)).await, 0);
    assert_eq!(count(of(None, Some("other"))).await, 0);
    let other = "999999999999".parse().unwrap();
    assert!(control.event_source(&other, &live.id).await.is_err());
    let tags = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    control
        .tag_event_source(&fixture.account, &live.id, tags.clone())
        .await
        .unwrap();
    let tagged = control.event_source(&fixture.account, &live.id).await.unwrap();
    assert_eq!((tagged.settings.tags, tagged.writes), (tags, live.writes));
}
