//! A runtime that takes several invocations at once.

use super::environment::{Environment, NEXT, invocation};
use crate::runtime_api::{RuntimeAnswer, RuntimeEvent};
use api::Body;

fn answer(id: &str, body: &str) -> String {
    format!(
        "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn text(answer: RuntimeAnswer) -> String {
    match answer {
        RuntimeAnswer::Response {
            body: Body::Whole(body),
            ..
        } => String::from_utf8(body.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn polls_wait_side_by_side_and_answers_find_their_callers() {
    let mut environment = Environment::of_many(2).await;
    let mut workers = [environment.connect().await, environment.connect().await];
    for worker in &mut workers {
        worker.send(NEXT).await;
    }
    environment
        .expect(&[RuntimeEvent::RuntimeReady, RuntimeEvent::AllIdle])
        .await;
    let first = environment.api.deliver(&invocation("a", "1"), 0).unwrap();
    let second = environment.api.deliver(&invocation("b", "2"), 0).unwrap();
    let mut ids = Vec::new();
    for worker in &mut workers {
        let answer = worker.answer().await;
        ids.push(answer.header("Lambda-Runtime-Aws-Request-Id").unwrap().to_owned());
    }
    ids.sort();
    assert_eq!(ids, ["a", "b"]);
    // The second is answered first, on whichever connection.
    workers[0].send(&answer("b", "\"of b\"")).await;
    assert_eq!(workers[0].answer().await.status, 202);
    assert_eq!(text(second.await.unwrap()), "\"of b\"");
    // There is room for another while the first still runs.
    let third = environment.api.deliver(&invocation("c", "3"), 0).unwrap();
    workers[0].send(NEXT).await;
    assert_eq!(
        workers[0].answer().await.header("Lambda-Runtime-Aws-Request-Id"),
        Some("c")
    );
    workers[1].send(&answer("a", "\"of a\"")).await;
    assert_eq!(workers[1].answer().await.status, 202);
    assert_eq!(text(first.await.unwrap()), "\"of a\"");
    environment.api.fail_invocation("c");
    assert!(third.await.is_err());
    workers[0].send(&answer("c", "1")).await;
    assert_eq!(workers[0].answer().await.status, 400, "it is over");
}
