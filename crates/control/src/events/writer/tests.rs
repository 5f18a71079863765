use super::*;
use crate::ControlParts;
use crate::record_tests::{clock, packages};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The record in a directory, by a clock.
async fn open(directory: &Path, clock: fn() -> u64) -> Control {
    let parts = ControlParts {
        database: format!("sqlite://{}", directory.join("record.db").display()),
        region: "us-east-1".into(),
        packages: packages(directory, directory),
        network: api::Network::Off,
        clock,
    };
    Control::open(parts).await.unwrap()
}

/// Lets a task of its own write an event for each of these, all of which wait before it begins; what each hears.
async fn write(control: &Control, request_ids: impl IntoIterator<Item = String>) -> Vec<Result<(), ControlError>> {
    let (writer, inbox) = EventWriter::new();
    let mut answers = Vec::new();
    for request_id in request_ids {
        let event = NewEvent {
            account: "123456789012".parse().unwrap(),
            function: "f".to_owned(),
            qualifier: None,
            payload: "{}".to_owned(),
            request_id,
            client_context: None,
            trace_id: String::new(),
        };
        let (answer, written) = oneshot::channel();
        let write = EventWrite::Enqueue(Box::new(event));
        assert!(writer.0.send(Ticket { write, answer }).await.is_ok());
        answers.push(written);
    }
    drop(writer);
    write_all(Arc::downgrade(&control.inner), inbox).await;
    let mut results = Vec::new();
    for answer in answers {
        results.push(answer.await.unwrap());
    }
    results
}

/// Makes the database refuse each event whose request is called so.
async fn refuse(control: &Control, request_id: &str) {
    let trigger = format!(
        "CREATE TRIGGER refusal BEFORE INSERT ON queued_events WHEN NEW.request_id = '{request_id}'
         BEGIN SELECT RAISE(ABORT, 'refused'); END"
    );
    let trigger = sqlx::query(sqlx::AssertSqlSafe(trigger));
    trigger.execute(control.pool()).await.unwrap();
}

async fn count(control: &Control, what: &'static str) -> i64 {
    let counted = sqlx::query_scalar(what).fetch_one(control.pool()).await;
    counted.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_committed_together() {
    static LOOKS: AtomicU64 = AtomicU64::new(1);
    let directory = tempfile::tempdir().unwrap();
    // Each look at the clock gives another time, and a commit looks once.
    let control = open(directory.path(), || LOOKS.fetch_add(1, Ordering::Relaxed)).await;
    let writes = WRITES_AT_ONCE + 40;
    let written = write(&control, (0..writes).map(|number| number.to_string())).await;
    assert!(written.iter().all(Result::is_ok));
    let events = count(&control, "SELECT COUNT(*) FROM queued_events").await;
    assert_eq!(usize::try_from(events).unwrap(), writes);
    let commits = count(&control, "SELECT COUNT(DISTINCT enqueued_ms) FROM queued_events").await;
    assert_eq!(commits, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_the_database_refuses_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let control = open(directory.path(), clock).await;
    refuse(&control, "refused").await;
    let asked = ["a", "b", "refused", "c", "refused", "d"];
    let written = write(&control, asked.map(str::to_owned)).await;
    for (request_id, written) in asked.into_iter().zip(written) {
        match request_id {
            "refused" => assert!(matches!(written, Err(ControlError::Database(_))), "{written:?}"),
            _ => written.unwrap(),
        }
    }
    assert_eq!(count(&control, "SELECT COUNT(*) FROM queued_events").await, 4);
    let totals = count(&control, "SELECT events FROM queued_event_totals").await;
    assert_eq!(totals, 4, "what was refused is not counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_database_refuses_all_the_rest_is_not_tried() {
    let directory = tempfile::tempdir().unwrap();
    let control = open(directory.path(), clock).await;
    refuse(&control, "refused").await;
    let asked = ["refused", "refused", "a", "refused", "refused", "refused", "b", "c"];
    let written = write(&control, asked.map(str::to_owned)).await;
    let tried = written
        .iter()
        .map(|written| !matches!(written, Err(ControlError::EventNotWritten)));
    let tried: Vec<bool> = tried.collect();
    assert_eq!(tried, [true, true, true, true, true, true, false, false]);
    assert_eq!(count(&control, "SELECT COUNT(*) FROM queued_events").await, 1);
}
