//! What a function and the platform say in the log.

use crate::fixture::{Fixture, invocation, lease, wait_for};
use api::{LogFormat, Worker};
use serde_json::{Value, json};
use std::sync::Arc;
use worker::FunctionSettings;

pub(crate) async fn lines_of_an_invocation() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let mut event = invocation(&json!({"do": "print"}));
    event.tail = true;
    let id = event.request_id.clone();
    let reply = fixture.functions.invoke(Arc::new(lease("one")), event).await.unwrap();
    let ending = reply.ending.await.unwrap();
    let tail = String::from_utf8(ending.log_tail.unwrap().to_vec()).unwrap();
    assert!(tail.len() == 4096 && tail.contains("yyyy\nEND RequestId: "), "{tail}");
    assert!(tail.ends_with("MB\t\n") || tail.ends_with("ms\t\n"), "{tail}");
    fixture.wait_for_line("COLD_START").await;
    let log = fixture.log();
    assert_eq!(log[0], format!("START RequestId: {id} Version: $LATEST"));
    assert_eq!(log[1], "a line of the function");
    assert_eq!(log[2].len(), 5000);
    assert_eq!(log[3], format!("END RequestId: {id}"));
    assert!(
        log[4].starts_with(&format!("REPORT RequestId: {id}\tDuration: ")),
        "{}",
        log[4]
    );
    assert!(log[4].contains("\tMemory Size: 1769 MB\tMax Memory Used: ") && log[4].contains("\tInit Duration: "));
    assert!(
        log[5].starts_with(&format!("COLD_START RequestId: {id}\tTotal: ")),
        "{}",
        log[5]
    );
    let streams: Vec<String> = fixture
        .lines
        .lock()
        .unwrap()
        .iter()
        .map(|batch| batch.stream.clone())
        .collect();
    assert!(
        streams
            .iter()
            .all(|stream| *stream == streams[0] && stream.contains("/[$LATEST]")),
        "{streams:?}"
    );
    fixture.end().await;
}

pub(crate) async fn json_records() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let mut lease = lease("one");
    lease.logging.format = LogFormat::Json;
    lease.logging.system_level = Some("DEBUG".to_owned());
    fixture.ask(&lease, &json!({})).await;
    fixture.wait_for_line("lambent.coldStart").await;
    let records: Vec<Value> = fixture
        .log()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<&str> = records.iter().map(|record| record["type"].as_str().unwrap()).collect();
    let expected = [
        "platform.initStart",
        "platform.initRuntimeDone",
        "platform.initReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
        "lambent.coldStart",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(records[5]["record"]["status"], "success");
    assert!(records[5]["record"]["metrics"]["initDurationMs"].as_f64().unwrap() > 0.0);
    fixture.end().await;
}

pub(crate) async fn variables_of_a_function() {
    let fixture = Fixture::new(FunctionSettings::default()).await;
    let mut lease = lease("one");
    let own = [("MINE", "1"), ("AWS_LAMBDA_FUNCTION_NAME", "not mine")];
    lease.program.environment = own.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let (variables, _) = fixture.ask(&lease, &json!({"do": "environment"})).await;
    assert_eq!(variables["MINE"], "1");
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_NAME"], "tested");
    assert_eq!(variables["AWS_LAMBDA_RUNTIME_API"], "127.0.0.1:9001");
    wait_for("lines", || !fixture.log().is_empty()).await;
    let stream = fixture.lines.lock().unwrap()[0].stream.clone();
    assert_eq!(variables["AWS_LAMBDA_LOG_STREAM_NAME"], stream);
    fixture.end().await;
}
