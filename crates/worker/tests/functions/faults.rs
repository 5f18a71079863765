//! Functions that do badly: each gets Lambda's answer, and no other notices.

use crate::fixture::{Fixture, lease, wait_for};
use api::{InvokeError, Lease, Worker};
use serde_json::{Value, json};
use std::time::Duration;
use worker::FunctionSettings;

/// The answer to a bad event, and that the next good one is served by another environment.
async fn check(fixture: &Fixture, lease: &Lease, event: &Value, error_type: &str, message: &str) {
    let started = fixture.functions.report().started;
    let (answer, is_error) = fixture.ask(lease, event).await;
    assert!(is_error, "{answer}");
    assert_eq!(answer["errorType"], error_type, "{answer}");
    let said = answer["errorMessage"].as_str().unwrap();
    assert!(said.starts_with("RequestId: ") && said.ends_with(message), "{said}");
    let (answer, is_error) = fixture.ask(lease, &json!({})).await;
    assert!(!is_error && answer["count"] == 1, "{answer}");
    assert_eq!(fixture.functions.report().started, started + 2);
    fixture.functions.retire(&lease.function.arn, &[]).await;
    wait_for("all end", || fixture.functions.report().idle == 0).await;
}

pub(crate) async fn a_timeout_is_lambdas() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let mut lease = lease("one");
    lease.timeout = Duration::from_secs(1);
    let event = json!({"do": "sleep", "ms": 60_000});
    let message = " Error: Task timed out after 1.00 seconds";
    check(&fixture, &lease, &event, "Sandbox.Timedout", message).await;
    fixture.wait_for_line("Task timed out after 1.00 seconds").await;
    let report = fixture.wait_for_line("REPORT").await;
    assert!(report.ends_with("Status: timeout"), "{report}");
    fixture.end().await;
}

pub(crate) async fn exits_are_lambdas() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let cases = [
        (0, " Error: Runtime exited without providing a reason"),
        (7, " Error: Runtime exited with error: exit status 7"),
    ];
    for (code, message) in cases {
        let event = json!({"do": "exit", "code": code});
        check(&fixture, &lease("one"), &event, "Runtime.ExitError", message).await;
    }
    let report = fixture.wait_for_line("REPORT").await;
    assert!(
        report.ends_with("Status: error\tError Type: Runtime.ExitError"),
        "{report}"
    );
    fixture.end().await;
}

pub(crate) async fn a_last_answer_counts() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let answer = fixture.ask(&lease("one"), &json!({"do": "answer and exit"})).await;
    assert_eq!(answer, (json!("last words"), false));
    wait_for("it has ended", || fixture.functions.report().busy == 0).await;
    fixture.end().await;
}

pub(crate) async fn out_of_memory_is_said() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let mut lease = lease("one");
    lease.memory_mb = 256;
    let message = " Error: Runtime exited with error: signal: killed";
    check(&fixture, &lease, &json!({"do": "eat"}), "Runtime.OutOfMemory", message).await;
    let report = fixture.wait_for_line("REPORT").await;
    assert!(
        report.contains("Memory Size: 256 MB\tMax Memory Used: 256 MB"),
        "{report}"
    );
    assert!(
        report.ends_with("Status: error\tError Type: Runtime.OutOfMemory"),
        "{report}"
    );
    fixture.end().await;
}

pub(crate) async fn forking_without_end_harms_nobody_else() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let (bomb, other) = (lease("bomb"), lease("other"));
    let event = json!({"do": "fork"});
    let ((children, is_error), answer) = tokio::join!(fixture.ask(&bomb, &event), async {
        wait_for("it forks", || fixture.functions.report().busy == 1).await;
        fixture.ask(&other, &json!({})).await
    });
    assert!(
        !is_error && (1..1024).contains(&children.as_u64().unwrap()),
        "{children}"
    );
    assert!(!answer.1 && answer.0["count"] == 1);
    fixture.end().await;
}

pub(crate) async fn a_full_tmp_is_the_functions_own_affair() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let (bytes, is_error) = fixture.ask(&lease("one"), &json!({"do": "fill"})).await;
    assert!(!is_error);
    let mb = bytes.as_u64().unwrap() / 1024 / 1024;
    assert!((60..=64).contains(&mb), "{mb} MB in /tmp of 64 MB");
    fixture.end().await;
}

pub(crate) async fn errors_and_large_answers_are_lambdas() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let lease = lease("one");
    let answer = fixture.ask(&lease, &json!({"do": "fail"})).await;
    assert_eq!(
        answer,
        (json!({"errorType": "Function.Sad", "errorMessage": "as asked"}), true)
    );
    let (answer, is_error) = fixture.ask(&lease, &json!({"do": "large"})).await;
    let message = "Response payload size exceeded maximum allowed payload size (6291556 bytes).";
    assert_eq!(
        answer,
        json!({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message})
    );
    assert!(is_error);
    // Neither is the environment's end.
    let (answer, _) = fixture.ask(&lease, &json!({})).await;
    assert_eq!(answer["count"], 3);
    fixture.end().await;
}

pub(crate) async fn a_failed_initialisation_is_tried_twice_and_said() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let mut lease = lease("one");
    lease.program.environment = vec![("INIT".to_owned(), "error".to_owned())];
    let answer = fixture.ask(&lease, &json!({})).await;
    assert_eq!(
        answer,
        (
            json!({"errorType": "Function.Broken", "errorMessage": "as asked"}),
            true
        )
    );
    for phase in ["init", "invoke"] {
        let line = fixture.wait_for_line(&format!("Phase: {phase}")).await;
        assert!(line.starts_with("INIT_REPORT Init Duration: ") && line.ends_with("Error Type: Function.Broken"));
    }
    lease.revision = "two".to_owned();
    lease.program.environment = vec![("INIT".to_owned(), "exit".to_owned())];
    let (answer, is_error) = fixture.ask(&lease, &json!({})).await;
    assert!(is_error);
    assert_eq!(answer["errorType"], "Runtime.ExitError");
    let message = answer["errorMessage"].as_str().unwrap();
    assert!(
        message.ends_with("Error: Runtime exited with error: exit status 3"),
        "{message}"
    );
    fixture.end().await;
}

pub(crate) async fn a_slow_initialisation_goes_on_within_the_invocation() {
    let settings = FunctionSettings {
        init: Duration::from_millis(500),
        ..FunctionSettings::default()
    };
    let fixture = Fixture::new(settings).await;
    let mut lease = lease("one");
    lease.program.environment = vec![("INIT".to_owned(), "slow".to_owned())];
    let (answer, is_error) = fixture.ask(&lease, &json!({})).await;
    assert!(!is_error && answer["count"] == 1, "{answer}");
    fixture.wait_for_line("Phase: init\tStatus: timeout").await;
    let report = fixture.wait_for_line("REPORT RequestId").await;
    assert!(!report.contains("Init Duration"), "{report}");
    lease.revision = "two".to_owned();
    lease.timeout = Duration::from_secs(1);
    lease.program.environment = vec![("INIT".to_owned(), "never".to_owned())];
    let (answer, is_error) = fixture.ask(&lease, &json!({})).await;
    assert!(is_error && answer["errorType"] == "Sandbox.Timedout", "{answer}");
    let message = answer["errorMessage"].as_str().unwrap();
    assert!(
        message.ends_with("Error: Task timed out after 1.00 seconds"),
        "{message}"
    );
    fixture.end().await;
}

pub(crate) async fn a_missing_program_is_named() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let mut lease = lease("one");
    lease.program.arguments = vec!["/missing".to_owned()];
    match fixture.invoke(&lease, &json!({})).await {
        Err(InvokeError::InvalidEntrypoint { program, .. }) => assert_eq!(program, "/missing"),
        other => panic!("{other:?}"),
    }
    fixture.end().await;
}
