use super::*;
use crate::{NewEvent, QUEUED_EVENTS_MAX, QueuedEvent};
use std::collections::HashSet;
use std::time::Duration;

/// Long enough for a test to end before it runs out.
const LONG_MS: u64 = 3_600_000;

fn event(fixture: &Fixture, number: usize) -> NewEvent {
    NewEvent {
        account: fixture.account.clone(),
        function: "f".to_owned(),
        qualifier: Some("live".to_owned()),
        payload: format!(r#"{{"number": {number}}}"#),
        request_id: format!("request-{number}"),
        client_context: None,
        trace_id: "Root=1-0-0".to_owned(),
    }
}

async fn claim(fixture: &Fixture, claim_ms: u64) -> Vec<QueuedEvent> {
    fixture.control.claim_events(100, claim_ms).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_there_until_it_is_finished() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.control.next_event_due().await.unwrap(), None);
    fixture.control.enqueue_event(event(&fixture, 1)).await.unwrap();
    let bell = fixture.control.events_added();
    tokio::time::timeout(Duration::from_secs(10), bell.notified())
        .await
        .expect("the bell rings");
    let claimed = claim(&fixture, LONG_MS).await;
    assert_eq!((claimed.len(), claimed[0].attempt), (1, 0));
    let kept = &claimed[0].event;
    assert_eq!((kept.function.as_str(), kept.qualifier.as_deref()), ("f", Some("live")));
    assert_eq!(
        (kept.payload.as_str(), kept.request_id.as_str()),
        (r#"{"number": 1}"#, "request-1")
    );
    assert!(
        claim(&fixture, LONG_MS).await.is_empty(),
        "a claimed event is nobody else's"
    );
    assert!(fixture.control.next_event_due().await.unwrap().unwrap() > clock() + LONG_MS / 2);
    fixture.control.finish_event(&claimed[0].id, Vec::new()).await.unwrap();
    fixture.control.finish_event(&claimed[0].id, Vec::new()).await.unwrap();
    assert_eq!(fixture.control.next_event_due().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_runs_out() {
    let fixture = Fixture::new().await;
    fixture.control.enqueue_event(event(&fixture, 1)).await.unwrap();
    assert_eq!(claim(&fixture, 0).await.len(), 1);
    let again = claim(&fixture, 0).await;
    assert_eq!(again.len(), 1, "whoever claimed it has died");
    fixture.control.hold_event(&again[0].id, LONG_MS).await.unwrap();
    assert!(claim(&fixture, 0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_waits_for_its_time() {
    let fixture = Fixture::new().await;
    fixture.control.enqueue_event(event(&fixture, 1)).await.unwrap();
    let id = claim(&fixture, LONG_MS).await.remove(0).id;
    let later = clock() + LONG_MS;
    fixture.control.retry_event(&id, later, 1).await.unwrap();
    assert!(claim(&fixture, LONG_MS).await.is_empty());
    assert_eq!(fixture.control.next_event_due().await.unwrap(), Some(later));
    fixture.control.release_events().await.unwrap();
    assert_eq!(
        fixture.control.next_event_due().await.unwrap(),
        Some(later),
        "nobody has it: it keeps its time"
    );
    fixture.control.retry_event(&id, clock(), 2).await.unwrap();
    assert_eq!(claim(&fixture, LONG_MS).await[0].attempt, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn claimed_events_are_due_when_the_process_begins_again() {
    let fixture = Fixture::new().await;
    for number in 0..3 {
        fixture.control.enqueue_event(event(&fixture, number)).await.unwrap();
    }
    assert_eq!(claim(&fixture, LONG_MS).await.len(), 3);
    let fixture = fixture.reopened().await;
    fixture.control.release_events().await.unwrap();
    assert_eq!(claim(&fixture, LONG_MS).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_claimers_never_get_the_same_event() {
    let fixture = Fixture::new().await;
    for number in 0..40 {
        fixture.control.enqueue_event(event(&fixture, number)).await.unwrap();
    }
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let control = fixture.control.clone();
        tasks.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            loop {
                let claimed = control.claim_events(3, LONG_MS).await.unwrap();
                if claimed.is_empty() {
                    return ids;
                }
                ids.extend(claimed.into_iter().map(|event| event.id));
            }
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (40, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_queues_too_much_is_refused() {
    let fixture = Fixture::new().await;
    fixture.control.enqueue_event(event(&fixture, 1)).await.unwrap();
    sqlx::query("UPDATE queued_event_totals SET events = $1")
        .bind(i64::try_from(QUEUED_EVENTS_MAX).unwrap())
        .execute(fixture.control.pool())
        .await
        .unwrap();
    let refused = fixture.control.enqueue_event(event(&fixture, 2)).await;
    assert!(
        matches!(refused, Err(ControlError::LimitExceeded { .. })),
        "{refused:?}"
    );
    let other = NewEvent {
        account: "999999999999".parse().unwrap(),
        ..event(&fixture, 3)
    };
    fixture.control.enqueue_event(other).await.unwrap();
    let claimed = claim(&fixture, LONG_MS).await;
    assert_eq!(claimed.len(), 2);
    for event in claimed {
        fixture.control.finish_event(&event.id, Vec::new()).await.unwrap();
    }
    fixture.control.enqueue_event(event(&fixture, 4)).await.unwrap();
}

/// Claims of the one event that is there; none if it is not due.
async fn claims(fixture: &Fixture) -> Option<u32> {
    claim(fixture, 0).await.first().map(|event| event.claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_counted_until_the_function_itself_fails() {
    let fixture = Fixture::new().await;
    fixture.control.enqueue_event(event(&fixture, 1)).await.unwrap();
    let id = claim(&fixture, 0).await.remove(0).id;
    assert_eq!(claims(&fixture).await, Some(2), "whoever claimed it has died");
    fixture.control.retry_event(&id, 0, 0).await.unwrap();
    assert_eq!(claims(&fixture).await, Some(3), "the platform failed");
    fixture.control.retry_event(&id, 0, 1).await.unwrap();
    assert_eq!(claims(&fixture).await, Some(1), "the function failed");
    let fixture = fixture.reopened().await;
    assert_eq!(claims(&fixture).await, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_its_claimers_die_of_waits_longer_each_time() {
    let mut fixture = Fixture::new().await;
    fixture.control.enqueue_event(event(&fixture, 1)).await.unwrap();
    for wait_s in [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        claim(&fixture, LONG_MS).await;
        fixture = fixture.reopened().await;
        let before = clock();
        fixture.control.release_events().await.unwrap();
        let due = fixture.control.next_event_due().await.unwrap().unwrap();
        let (earliest, latest) = (before + wait_s * 1_000, clock() + wait_s * 1_000);
        assert!(
            (earliest..=latest).contains(&due),
            "{wait_s}: {earliest} {due} {latest}"
        );
        sqlx::query("UPDATE queued_events SET due_ms = 0")
            .execute(fixture.control.pool())
            .await
            .unwrap();
    }
}
