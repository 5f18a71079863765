use super::*;
use crate::{DeliveryKind, FAILED_BODY_BYTES_MAX, NewDelivery, NewEvent, QueuedDelivery};
use sqlx::Row;
use std::time::Duration;

const LONG_MS: u64 = 3_600_000;

fn delivery(fixture: &Fixture, target: &str) -> NewDelivery {
    NewDelivery {
        account: fixture.account.clone(),
        function: "f".to_owned(),
        kind: DeliveryKind::OnFailure,
        target: target.to_owned(),
        body: r#"{"version": "1.0"}"#.to_owned(),
        error_message: None,
        request_id: "request".to_owned(),
        trace_id: "Root=1".to_owned(),
    }
}

/// Keeps an event and claims it; gives its id.
async fn claimed_event(fixture: &Fixture) -> String {
    let event = NewEvent {
        account: fixture.account.clone(),
        function: "f".to_owned(),
        qualifier: None,
        payload: "{}".to_owned(),
        request_id: "request".to_owned(),
        client_context: None,
        trace_id: "Root=1".to_owned(),
    };
    fixture.control.enqueue_event(event).await.unwrap();
    fixture.control.claim_events(1, LONG_MS).await.unwrap().remove(0).id
}

async fn totals(fixture: &Fixture) -> (i64, i64) {
    let row = sqlx::query("SELECT events, bytes FROM queued_event_totals")
        .fetch_one(fixture.control.pool())
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

/// Claims what is due, of each target at most so many.
async fn claim(fixture: &Fixture, of_each: u32) -> Vec<QueuedDelivery> {
    let targets = fixture.control.due_targets(clock(), 100).await.unwrap();
    let shares: Vec<_> = targets.into_iter().map(|target| (target, of_each)).collect();
    fixture.control.claim_deliveries(&shares, LONG_MS).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_events_end_and_its_deliveries_are_one_write() {
    let fixture = Fixture::new().await;
    let id = claimed_event(&fixture).await;
    let told = vec![delivery(&fixture, "first"), delivery(&fixture, "second")];
    fixture.control.finish_event(&id, told.clone()).await.unwrap();
    let bell = fixture.control.deliveries_added();
    tokio::time::timeout(Duration::from_secs(10), bell.notified())
        .await
        .expect("the bell rings");
    // Whoever ran the same event once more does not tell anybody again.
    fixture.control.finish_event(&id, told).await.unwrap();
    assert_eq!(fixture.control.next_event_due().await.unwrap(), None);
    assert_eq!(totals(&fixture).await.0, 2);
    let fixture = fixture.reopened().await;
    let claimed = claim(&fixture, 10).await;
    let mut targets: Vec<_> = claimed.iter().map(|queued| queued.delivery.target.as_str()).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["first", "second"]);
    assert!(claim(&fixture, 10).await.is_empty());
    for queued in &claimed {
        fixture.control.finish_delivery(&queued.id).await.unwrap();
        fixture.control.finish_delivery(&queued.id).await.unwrap();
    }
    assert_eq!(fixture.control.next_delivery_due(0).await.unwrap(), None);
    assert_eq!(totals(&fixture).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_tried_again_and_then_kept_as_a_failure() {
    let fixture = Fixture::new().await;
    let id = claimed_event(&fixture).await;
    let long = NewDelivery {
        body: format!("\"{}\"", "ä".repeat(FAILED_BODY_BYTES_MAX)),
        ..delivery(&fixture, "queue")
    };
    fixture.control.finish_event(&id, vec![long]).await.unwrap();
    let first = claim(&fixture, 10).await.remove(0);
    fixture.control.retry_delivery(&first.id, 0).await.unwrap();
    let second = claim(&fixture, 10).await.remove(0);
    assert_eq!((first.attempts, second.attempts), (1, 2));
    fixture.control.release_events().await.unwrap();
    let third = claim(&fixture, 10).await.remove(0);
    fixture.control.fail_delivery(&third.id, "it is down").await.unwrap();
    assert_eq!(totals(&fixture).await, (0, 0), "a failure blocks no new event");
    let fixture = fixture.reopened().await;
    assert_eq!(fixture.control.next_delivery_due(0).await.unwrap(), None);
    let failed = fixture
        .control
        .failed_deliveries(&fixture.account, "f", 10)
        .await
        .unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].attempts, failed[0].reason.as_str()), (3, "it is down"));
    assert_eq!(
        (failed[0].kind, failed[0].target.as_str()),
        (DeliveryKind::OnFailure, "queue")
    );
    assert!(failed[0].body.len() <= FAILED_BODY_BYTES_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_claimed_by_their_targets() {
    let fixture = Fixture::new().await;
    for target in ["slow", "quick", "slow", "slow", "b", "slow"] {
        let id = claimed_event(&fixture).await;
        let told = vec![delivery(&fixture, target)];
        fixture.control.finish_event(&id, told).await.unwrap();
    }
    let mut targets = fixture.control.due_targets(clock(), 100).await.unwrap();
    targets.sort_unstable();
    assert_eq!(targets, ["b", "quick", "slow"], "each once");
    assert!(fixture.control.due_targets(0, 100).await.unwrap().is_empty());
    let shares = [("slow".to_owned(), 2), ("none".to_owned(), 5)];
    let claimed = fixture.control.claim_deliveries(&shares, LONG_MS).await.unwrap();
    assert!(claimed.iter().all(|queued| queued.delivery.target == "slow"));
    assert_eq!(claimed.len(), 2);
    // What is claimed of a target hides neither the rest of it nor the others.
    let mut targets = fixture.control.due_targets(clock(), 100).await.unwrap();
    targets.sort_unstable();
    assert_eq!(targets, ["b", "quick", "slow"]);
    assert_eq!(claim(&fixture, 1).await.len(), 3);
    assert_eq!(fixture.control.due_targets(clock(), 100).await.unwrap(), ["slow"]);
    let next = fixture.control.next_delivery_due(clock()).await.unwrap();
    assert!(
        next.unwrap() > clock() + LONG_MS / 2,
        "what is due already is not what will be"
    );
    assert_eq!(claim(&fixture, 10).await.len(), 1);
    assert!(fixture.control.due_targets(clock(), 100).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_each_hears_of_its_own_write() {
    let fixture = Fixture::new().await;
    // Room for ten more.
    let full = i64::try_from(crate::QUEUED_EVENTS_MAX).unwrap() - 10;
    sqlx::query("INSERT INTO queued_event_totals (account, events, bytes) VALUES ($1, $2, 0)")
        .bind(fixture.account.as_str())
        .bind(full)
        .execute(fixture.control.pool())
        .await
        .unwrap();
    let mut tasks = Vec::new();
    for number in 0..50 {
        let control = fixture.control.clone();
        let event = NewEvent {
            account: fixture.account.clone(),
            function: "f".to_owned(),
            qualifier: None,
            payload: "{}".to_owned(),
            request_id: format!("request-{number}"),
            client_context: None,
            trace_id: String::new(),
        };
        tasks.push(tokio::spawn(async move { control.enqueue_event(event).await }));
    }
    let mut kept = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => kept += 1,
            Err(error) => assert!(matches!(error, ControlError::LimitExceeded { .. }), "{error}"),
        }
    }
    assert_eq!(kept, 10);
    assert_eq!(fixture.control.claim_events(100, LONG_MS).await.unwrap().len(), 10);
    assert_eq!(totals(&fixture).await.0, full + 10);
}
