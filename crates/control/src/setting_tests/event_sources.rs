use super::*;
use crate::{
    EVENT_SOURCES_MAX, EventSource, EventSourceFilter, EventSourceSettings, EventSourceState as State, NewEventSource,
    TAGS_MAX,
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
    let change = |_: &EventSource| Ok(settings(enabled));
    fixture
        .control
        .update_event_source(&fixture.account, id, None, change)
        .await
}

async fn again(fixture: &Fixture, qualifier: Option<&str>) -> Result<EventSource, ControlError> {
    fixture.control.create_event_source(new(fixture, qualifier)).await
}

/// What is said of a second mapping of the same.
fn exists(found: &EventSource) -> String {
    format!(
        "An event source mapping with SQS arn (\" {QUEUE} \") and function (\" f \") already exists. Please update or \
         delete the existing mapping with UUID {}",
        found.id
    )
}

async fn rename(fixture: &Fixture, source: &mut EventSource, id: &str) {
    let done = sqlx::query("UPDATE event_sources SET id = $1 WHERE id = $2")
        .bind(id)
        .bind(source.id.as_str())
        .execute(fixture.control.pool())
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
    id.clone_into(&mut source.id);
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
    check_error(again(&fixture, None).await, "Conflict", &exists(&made));
    let mut live = control.create_event_source(new(&fixture, Some("live"))).await.unwrap();
    // The first of all by its id: whoever looks for the function's own must not find it.
    rename(&fixture, &mut live, "0").await;
    check_error(again(&fixture, None).await, "Conflict", &exists(&made));
    check_error(again(&fixture, Some("live")).await, "Conflict", &exists(&live));
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_not_given_to_a_function_that_has_one() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let made = control.create_event_source(new(&fixture, None)).await.unwrap();
    let live = control.create_event_source(new(&fixture, Some("live"))).await.unwrap();
    control.settle_event_source(&live).await.unwrap();
    let give = async |qualifier: Option<&str>| {
        let function = Some(("f".to_owned(), qualifier.map(str::to_owned)));
        let keep = |found: &EventSource| Ok(found.settings.clone());
        control.update_event_source(account, &live.id, function, keep).await
    };
    check_error(give(None).await, "Conflict", &exists(&made));
    let found = control.event_source(account, &live.id).await.unwrap();
    assert_eq!(
        (found.state, found.qualifier.as_deref()),
        (State::Enabled, Some("live"))
    );
    assert_eq!(give(Some("1")).await.unwrap().qualifier.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_so_many_mappings() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.control.write().await.unwrap();
    for number in 1..EVENT_SOURCES_MAX {
        sqlx::query(
            "INSERT INTO event_sources (id, account, name, qualifier, source, state, document, modified_ms, writes)
             VALUES ($1, $2, 'f', '', $1, 'Disabled', '{}', 0, 1)",
        )
        .bind(number.to_string())
        .bind(fixture.account.as_str())
        .execute(&mut *transaction)
        .await
        .unwrap();
    }
    transaction.commit().await.unwrap();
    let last = fixture.control.create_event_source(new(&fixture, None)).await.unwrap();
    let message = "An account has at most 1000 event source mappings. Delete some first.";
    check_error(again(&fixture, Some("live")).await, "LimitExceeded", message);
    // What is there already is said first, since it helps more.
    check_error(again(&fixture, None).await, "Conflict", &exists(&last));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_once_are_all_kept() {
    const TAGGERS: usize = 20;
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let made = control.create_event_source(new(&fixture, None)).await.unwrap();
    control.settle_event_source(&made).await.unwrap();
    let mut taggers = tokio::task::JoinSet::new();
    for number in 0..TAGGERS {
        let (control, account, id) = (control.clone(), account.clone(), made.id.clone());
        taggers.spawn(async move {
            let tag = |tags: &mut BTreeMap<String, String>| drop(tags.insert(number.to_string(), String::new()));
            control.tag_event_source(&account, &id, tag).await
        });
    }
    let larger = |found: &EventSource| {
        Ok(EventSourceSettings {
            batch_messages_max: 7,
            ..found.settings.clone()
        })
    };
    let updated = control.update_event_source(account, &made.id, None, larger).await;
    for tagged in taggers.join_all().await {
        tagged.unwrap();
    }
    let found = control.event_source(account, &made.id).await.unwrap();
    assert_eq!(found.settings.tags.len(), TAGGERS);
    // Tags are nothing that a poller follows; the update is.
    assert_eq!((found.settings.batch_messages_max, found.writes), (7, 2));
    assert_eq!(
        (found.state, updated.unwrap().state),
        (State::Updating, State::Updating)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_has_so_many_tags() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let made = control.create_event_source(new(&fixture, None)).await.unwrap();
    let fill = |count: usize| {
        move |tags: &mut BTreeMap<String, String>| {
            tags.extend((0..count).map(|number| (number.to_string(), String::new())));
        }
    };
    control
        .tag_event_source(account, &made.id, fill(TAGS_MAX))
        .await
        .unwrap();
    let tagged = control.tag_event_source(account, &made.id, fill(TAGS_MAX + 1)).await;
    check_error(tagged, "Invalid", "Tags must be a map of length less or equal to 50.");
    let found = control.event_source(account, &made.id).await.unwrap();
    assert_eq!(found.settings.tags.len(), TAGS_MAX);
}
