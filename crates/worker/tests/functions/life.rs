//! Environments that do well: start, reuse, scale, freeze, end.

use crate::fixture::{
    Fixture, WAIT, invocation, lease, lease_with_extension, unique, wait_for, wait_until_nothing_is_left,
};
use api::{Body, InvokeError, ResponseMode, Worker, WorkerReport};
use serde_json::json;
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;
use worker::FunctionSettings;

/// The argument that makes the program a worker to be killed.
pub(crate) const VICTIM: &str = "victim";

pub(crate) async fn an_event_is_answered_and_the_environment_used_again() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let lease = lease("one");
    let reply = fixture.invoke(&lease, &json!({"a": 1})).await.unwrap();
    let Body::Whole(body) = &reply.body else {
        panic!("a stream");
    };
    let first: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(first["event"], json!({"a": 1}));
    let start = reply.ending.await.unwrap().report.cold_start.unwrap();
    let parts = start.parts.iter().map(|part| part.name.as_str());
    // A busy machine makes the wait for a turn a part.
    let parts: Vec<&str> = parts.filter(|name| *name != "wait").collect();
    assert_eq!(parts, ["mount", "sandbox", "runtime", "init", "first_byte"]);
    assert!(start.total_us > 0);
    // Two fresh images, of which the stand-in says that two bytes were read.
    assert_eq!((start.tiers[0].chunks, start.tiers[0].bytes), (2, 4));
    let reply = fixture.invoke(&lease, &json!({})).await.unwrap();
    let ending = reply.ending.await.unwrap();
    assert!(ending.report.cold_start.is_none() && ending.error.is_none());
    assert!(ending.report.memory_used_mb > 0 && ending.report.memory_used_mb < 1769);
    let (third, is_error) = fixture.ask(&lease, &json!({})).await;
    assert!(!is_error);
    assert_eq!((&third["begin"], &third["count"]), (&first["begin"], &json!(3)));
    assert_eq!(fixture.functions.report().started, 1);
    fixture.end().await;
}

pub(crate) async fn five_at_once_get_five_environments() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let (lease, event) = (Arc::new(lease("one")), json!({"do": "sleep", "ms": 500}));
    let running: Vec<_> = (0..5)
        .map(|_| {
            let (functions, lease, event) = (Arc::clone(&fixture.functions), Arc::clone(&lease), event.clone());
            tokio::spawn(async move { functions.invoke(lease, invocation(&event)).await.unwrap() })
        })
        .collect();
    for one in running {
        assert!(one.await.unwrap().error.is_none());
    }
    assert_eq!(fixture.functions.report().started, 5);
    wait_for("all idle", || fixture.functions.report().idle == 5).await;
    fixture.end().await;
}

pub(crate) async fn the_one_used_last_serves_next() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let lease = lease("one");
    let (slow, quick) = (json!({"do": "sleep", "ms": 5000}), json!({}));
    let (_, quick_one) = tokio::join!(fixture.ask(&lease, &slow), async {
        wait_for("the slow one is served", || fixture.functions.report().busy == 1).await;
        fixture.ask(&lease, &quick).await.0["begin"].clone()
    });
    wait_for("both idle", || fixture.functions.report().idle == 2).await;
    let mut seen = HashSet::new();
    for _ in 0..5 {
        seen.insert(fixture.ask(&lease, &quick).await.0["begin"].to_string());
        wait_for("both idle", || fixture.functions.report().idle == 2).await;
    }
    assert_eq!(seen.len(), 1, "one of two served all");
    assert!(
        !seen.contains(&quick_one.to_string()),
        "and it is the slow one, which was used last"
    );
    fixture.end().await;
}

pub(crate) async fn frozen_between_invocations() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let lease = lease("one");
    fixture.ask(&lease, &json!({"do": "tick"})).await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let (ticks, _) = fixture.ask(&lease, &json!({"do": "ticks"})).await;
    // It ticks each millisecond, and may do so for the linger time.
    assert!(
        ticks.as_u64().unwrap() < 300,
        "{ticks} ticks in a second that was to be frozen"
    );
    fixture.end().await;
}

pub(crate) async fn idle_ones_end() {
    let settings = FunctionSettings {
        idle: Duration::from_millis(200),
        ..FunctionSettings::default()
    };
    let fixture = Fixture::new(settings).await;
    let lease = lease("one");
    let (first, _) = fixture.ask(&lease, &json!({})).await;
    wait_for("it ends", || {
        fixture.functions.report()
            == WorkerReport {
                started: 1,
                ..WorkerReport::default()
            }
    })
    .await;
    let (second, _) = fixture.ask(&lease, &json!({})).await;
    assert_ne!(first["begin"], second["begin"]);
    fixture.end().await;
}

pub(crate) async fn retired_ones_end_and_an_old_lease_still_works() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let (old, new) = (lease("old"), lease("new"));
    let slow = json!({"do": "sleep", "ms": 700});
    let (answer, ()) = tokio::join!(fixture.ask(&old, &slow), async {
        wait_for("it is served", || fixture.functions.report().busy == 1).await;
        fixture.ask(&new, &json!({})).await;
        fixture.functions.retire(&old.function.arn, &["new".to_owned()]).await;
    });
    assert_eq!(answer, (json!("slept"), false));
    wait_for("the old one ends", || fixture.functions.report().idle == 1).await;
    let (answer, is_error) = fixture.ask(&old, &json!({})).await;
    assert!(!is_error && answer["count"] == 1);
    wait_for("it ends again", || {
        fixture.functions.report().idle == 1 && fixture.functions.report().busy == 0
    })
    .await;
    fixture.end().await;
}

pub(crate) async fn no_room_is_said() {
    let settings = FunctionSettings {
        environments_max: 1,
        ..FunctionSettings::default()
    };
    let fixture = Fixture::new(settings).await;
    let lease = lease("one");
    let slow = json!({"do": "sleep", "ms": 5000});
    let (answer, refused) = tokio::join!(fixture.ask(&lease, &slow), async {
        wait_for("it is served", || fixture.functions.report().busy == 1).await;
        fixture.invoke(&lease, &json!({})).await
    });
    assert_eq!(answer, (json!("slept"), false));
    assert!(matches!(refused, Err(InvokeError::NoCapacity(_))), "{refused:?}");
    fixture.end().await;
}

pub(crate) async fn idle_ones_make_room() {
    let settings = FunctionSettings {
        memory_mb_max: 2000,
        ..FunctionSettings::default()
    };
    let fixture = Fixture::new(settings).await;
    for revision in ["one", "two", "one"] {
        let (answer, _) = fixture.ask(&lease(revision), &json!({})).await;
        assert_eq!(answer["count"], 1);
        wait_for("it rests", || fixture.functions.report().idle == 1).await;
    }
    assert_eq!(fixture.functions.report().started, 3);
    fixture.end().await;
}

pub(crate) async fn a_caller_that_goes_does_not_stop_the_invocation() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let lease = lease("one");
    let event = json!({"do": "sleep", "ms": 300});
    tokio::select! {
        _ = fixture.invoke(&lease, &event) => panic!("too soon"),
        () = wait_for("it is served", || fixture.functions.report().busy == 1) => {}
    }
    wait_for("it is over", || fixture.functions.report().idle == 1).await;
    let report = fixture.wait_for_line("REPORT").await;
    assert!(!report.contains("Status"), "{report}");
    fixture.end().await;
}

pub(crate) async fn responses_are_streamed() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let mut event = invocation(&json!({"do": "stream"}));
    event.mode = ResponseMode::Streaming;
    let reply = fixture.functions.invoke(Arc::new(lease("one")), event).await.unwrap();
    let Body::Stream(mut pieces) = reply.body else {
        panic!("not a stream");
    };
    let mut whole = Vec::new();
    while let Some(piece) = pieces.recv().await {
        whole.extend_from_slice(&piece);
    }
    assert_eq!(String::from_utf8(whole).unwrap(), "one two three");
    assert!(reply.ending.await.unwrap().error.is_none());
    // A caller that takes no stream gets it whole.
    let reply = fixture.invoke(&lease("one"), &json!({"do": "stream"})).await.unwrap();
    assert_eq!(reply.content_type, "text/plain");
    assert!(matches!(reply.body, Body::Whole(body) if body == "one two three"));
    fixture.end().await;
}

pub(crate) async fn extensions_hear_of_everything() {
    let settings = FunctionSettings {
        idle: Duration::from_millis(100),
        ..FunctionSettings::default()
    };
    let fixture = Fixture::new(settings).await;
    let lease = lease_with_extension("one");
    for count in 1..3 {
        let (answer, _) = fixture.ask(&lease, &json!({})).await;
        assert_eq!(answer["count"], count);
    }
    fixture.wait_for_line("extension heard SHUTDOWN").await;
    let invokes = fixture
        .log()
        .iter()
        .filter(|line| *line == "extension heard INVOKE")
        .count();
    assert_eq!(invokes, 2);
    fixture.end().await;
}

pub(crate) async fn shutting_down_kills_what_does_not_end() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let lease = lease("one");
    fixture.ask(&lease, &json!({})).await;
    let event = json!({"do": "sleep", "ms": 3_600_000});
    let (outcome, ()) = tokio::join!(fixture.invoke(&lease, &event), async {
        wait_for("it is served", || fixture.functions.report().busy == 1).await;
        fixture.functions.shutdown(Duration::from_millis(100)).await;
    });
    assert!(matches!(outcome, Err(InvokeError::ShuttingDown)), "{outcome:?}");
    let outcome = fixture.invoke(&lease, &json!({})).await;
    assert!(matches!(outcome, Err(InvokeError::ShuttingDown)), "{outcome:?}");
    fixture.end().await;
}

pub(crate) async fn a_killed_worker_leaves_nothing() {
    let (directory, cgroup) = (tempfile::tempdir().unwrap(), unique());
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([VICTIM, directory.path().to_str().unwrap(), &cgroup])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(victim.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "busy\n");
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until_nothing_is_left(&cgroup, directory.path()).await;
}

/// A worker that has an idle, a frozen and a busy environment, until it is killed.
pub(crate) fn victim() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let directory = tempfile::Builder::new().tempdir_in(&arguments[2]).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let fixture = Fixture::in_directory(FunctionSettings::default(), directory, arguments[3].clone()).await;
        fixture.ask(&lease("idle"), &json!({})).await;
        fixture.ask(&lease_with_extension("idle too"), &json!({})).await;
        let event = json!({"do": "sleep", "ms": 3_600_000});
        let lease = lease("busy");
        let served = fixture.invoke(&lease, &event);
        let seen = async {
            wait_for("it is served", || fixture.functions.report().busy == 1).await;
            println!("busy");
            tokio::time::sleep(WAIT).await;
        };
        tokio::join!(served, seen).0.unwrap();
    });
    ExitCode::SUCCESS
}
