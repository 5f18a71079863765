//! Extensions API.

use super::environment::{Answer, Connection, Environment, NEXT, invocation, post, response};
use crate::runtime_api::{RuntimeEvent, ShutdownReason, TooManyExtensions};
use serde_json::json;

const REGISTER: &str = "/2020-01-01/extension/register";

fn registration(name: &str, events: &str) -> String {
    let headers = format!("Lambda-Extension-Name: {name}\r\n");
    post(REGISTER, &headers, &format!(r#"{{"events":[{events}]}}"#))
}

async fn register(environment: &Environment, name: &str, events: &str) -> String {
    let answer = environment.call(&registration(name, events)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("Lambda-Extension-Identifier").unwrap().to_owned()
}

fn next(identifier: &str) -> String {
    let header = format!("Lambda-Extension-Identifier: {identifier}");
    format!("GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n")
}

async fn poll(environment: &Environment, identifier: &str) -> Connection {
    let mut connection = environment.connect().await;
    connection.send(&next(identifier)).await;
    connection
}

#[tokio::test]
async fn extensions_share_the_life_of_an_environment() {
    let mut environment = Environment::start().await;
    environment.api.expect_extensions(vec!["out".to_owned()]).unwrap();
    let outer = register(&environment, "out", r#""INVOKE","SHUTDOWN""#).await;
    environment.expect(&[RuntimeEvent::ExtensionsRegistered]).await;
    let inner = register(&environment, "in", r#""INVOKE""#).await;
    let mut runtime = environment.connect().await;
    runtime.send(NEXT).await;
    environment.expect(&[RuntimeEvent::RuntimeReady]).await;
    environment
        .call(&registration("late", ""))
        .await
        .check_error(403, "Extension.RegistrationClosed");
    let mut outer_poll = poll(&environment, &outer).await;
    let mut inner_poll = poll(&environment, &inner).await;
    environment.expect(&[RuntimeEvent::AllIdle]).await;

    let event = invocation("a", "{}");
    let _answer = environment.api.deliver(&event, 99).unwrap();
    runtime.answer().await;
    for connection in [&mut outer_poll, &mut inner_poll] {
        let notice = connection.answer().await;
        assert!(notice.header("Lambda-Extension-Event-Identifier").is_some());
        let expected = json!({
            "eventType": "INVOKE", "deadlineMs": 99, "requestId": "a", "invokedFunctionArn": event.arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": event.trace_id},
        });
        assert_eq!(notice.json(), expected);
    }
    runtime.send(&response("a", "{}")).await;
    runtime.answer().await;
    runtime.send(NEXT).await;
    environment.expect(&[RuntimeEvent::RuntimeIdle]).await;
    outer_poll.send(&next(&outer)).await;
    inner_poll.send(&next(&inner)).await;
    environment.expect(&[RuntimeEvent::AllIdle]).await;

    environment.api.shutdown(ShutdownReason::Spindown, 77);
    let expected = json!({"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": 77});
    assert_eq!(outer_poll.answer().await.json(), expected);
    let names: Vec<_> = environment
        .api
        .extensions()
        .into_iter()
        .map(|report| (report.name, report.external))
        .collect();
    assert_eq!(names, [("out".to_owned(), true), ("in".to_owned(), false)]);
}

#[tokio::test]
async fn an_extension_is_told_its_function() {
    let environment = Environment::start().await;
    let told = json!({"functionName": "hello", "functionVersion": "7", "handler": "app.handler"});
    assert_eq!(environment.call(&registration("plain", "")).await.json(), told);
    let headers = "Lambda-Extension-Name: asks\r\nLambda-Extension-Accept-Feature: other, accountId\r\n";
    let answer = environment.call(&post(REGISTER, headers, r#"{"events":[]}"#)).await;
    let told = json!({
        "functionName": "hello", "functionVersion": "7", "handler": "app.handler", "accountId": "123456789012",
    });
    assert_eq!(answer.json(), told);
}

#[tokio::test]
async fn wrong_calls_are_refused_as_lambda_refuses_them() {
    let environment = Environment::start().await;
    let name = "Lambda-Extension-Name: x\r\n";
    let too_long = format!("Lambda-Extension-Name: {}\r\n", "n".repeat(200));
    let unknown = "Lambda-Extension-Identifier: 0b0c2fb0-9f33-4b0e-8e3b-2b1f6f8f3a11\r\n";
    let invalid = "Lambda-Extension-Identifier: x\r\n";
    let typed = format!("{unknown}Lambda-Extension-Function-Error-Type: Extension.Bad\r\n");
    let next = "/2020-01-01/extension/event/next";
    let (init, exit) = ("/2020-01-01/extension/init/error", "/2020-01-01/extension/exit/error");
    for (path, headers, body, error_type) in [
        (REGISTER, "", "{}", "Extension.InvalidExtensionName"),
        (REGISTER, &too_long, "{}", "Extension.InvalidExtensionName"),
        (REGISTER, name, "", "InvalidRequestFormat"),
        (REGISTER, name, r#"{"configurationKeys":["A"]}"#, "InvalidRequestFormat"),
        (REGISTER, name, r#"{"events":["WAKE"]}"#, "Extension.InvalidEventType"),
        (
            REGISTER,
            name,
            r#"{"events":["SHUTDOWN"]}"#,
            "Extension.InvalidEventType",
        ),
        (next, "", "", "Extension.MissingExtensionIdentifier"),
        (next, invalid, "", "Extension.InvalidExtensionIdentifier"),
        (next, unknown, "", "Extension.UnknownExtensionIdentifier"),
        (init, unknown, "", "Extension.MissingHeader"),
        (init, &typed, "", "Extension.UnknownExtensionIdentifier"),
        (exit, "", "", "Extension.MissingExtensionIdentifier"),
    ] {
        let request = post(path, headers, body);
        let request = if path == next {
            request.replacen("POST", "GET", 1)
        } else {
            request
        };
        environment.call(&request).await.check_error(403, error_type);
    }
}

#[tokio::test]
async fn ten_extensions_are_enough() {
    let environment = Environment::start().await;
    let names = |count: usize| (0..count).map(|index| format!("out{index}")).collect();
    assert_eq!(
        environment.api.expect_extensions(names(11)),
        Err(TooManyExtensions { count: 11 })
    );
    environment.api.expect_extensions(names(9)).unwrap();
    register(&environment, "in", "").await;
    environment
        .call(&registration("in", ""))
        .await
        .check_error(403, "Extension.InvalidExtensionState");
    environment
        .call(&registration("more", ""))
        .await
        .check_error(403, "Extension.TooManyExtensions");
}

#[tokio::test]
async fn errors_of_extensions_are_reported() {
    let mut environment = Environment::start().await;
    let failure = |path: &str, identifier: &str| {
        let headers = format!(
            "Lambda-Extension-Identifier: {identifier}\r\nLambda-Extension-Function-Error-Type: Extension.Bad\r\n"
        );
        post(path, &headers, r#"{"errorMessage":"no"}"#)
    };
    for (name, path, kind) in [
        ("a", "/2020-01-01/extension/init/error", "Extension.InitError"),
        ("b", "/2020-01-01/extension/exit/error", "Extension.ExitError"),
    ] {
        let identifier = register(&environment, name, "").await;
        let answer: Answer = environment.call(&failure(path, &identifier)).await;
        assert_eq!((answer.status, answer.json()), (202, json!({"status": "OK"})));
        let expected = RuntimeEvent::ExtensionFailed {
            name: name.to_owned(),
            error_type: "Extension.Bad".to_owned(),
            failure: kind,
        };
        environment.expect(&[expected]).await;
        environment
            .call(&next(&identifier))
            .await
            .check_error(403, "Extension.InvalidExtensionState");
    }
}

#[tokio::test]
async fn a_notice_waits_for_an_extension_that_hung_up() {
    let mut environment = Environment::start().await;
    let identifier = register(&environment, "in", r#""INVOKE""#).await;
    let _runtime = {
        let mut runtime = environment.connect().await;
        runtime.send(NEXT).await;
        runtime
    };
    environment.expect(&[RuntimeEvent::RuntimeReady]).await;
    let polling = poll(&environment, &identifier).await;
    environment.expect(&[RuntimeEvent::AllIdle]).await;
    drop(polling);
    // Until the server has noticed, the extension counts as waiting and a second poll is refused.
    let mut again = loop {
        let mut connection = poll(&environment, &identifier).await;
        match tokio::time::timeout(std::time::Duration::from_millis(50), connection.answer()).await {
            Ok(answer) => answer.check_error(403, "Extension.InvalidExtensionState"),
            Err(_) => break connection,
        }
    };
    let _answer = environment.api.deliver(&invocation("a", "{}"), 1).unwrap();
    assert_eq!(again.answer().await.json()["requestId"], "a");
}
