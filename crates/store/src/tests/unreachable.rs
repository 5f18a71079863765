//! Servers that are not there, do not answer, or answer at the third attempt.

use super::backends::aws_options;
use super::s3_server::S3Server;
use super::sealed;
use crate::{ErrorKind, Put, Settings, Store};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

fn open(url: &str, settings: Settings) -> Store {
    Store::open(&url.parse().unwrap(), settings, &aws_options()).unwrap()
}

fn hasty() -> Settings {
    Settings {
        retry_budget: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(200),
        request_timeout: Duration::from_millis(400),
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_named_in_time() {
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [refusing.local_addr().unwrap(), silent.local_addr().unwrap()];
    drop(refusing);
    for address in addresses {
        let store = open(
            &format!("s3://lake/a?endpoint=http://{address}&allow_http=true"),
            hasty(),
        );
        let (id, stored) = sealed(1, 10);
        let start = Instant::now();
        for error in [
            store.active_root().await.unwrap_err(),
            store.put_chunk(1, id, stored.into()).await.unwrap_err(),
        ] {
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Retry, "{text}");
            assert!(
                text.contains(&format!(" in s3://lake/a at http://{address}/: ")),
                "{text}"
            );
        }
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_push_notices_a_silent_server_within_the_budget() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "s3://lake?endpoint=http://{}&allow_http=true",
        silent.local_addr().unwrap()
    );
    let settings = Settings {
        request_timeout: Settings::default().request_timeout,
        ..hasty()
    };
    let start = Instant::now();
    let error = open(&url, settings).active_root().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_connections_are_tried_again() {
    let server = S3Server::start(3, |files| files).await;
    let store = open(&server.url("/pre/fix"), Settings::default());
    let (id, stored) = sealed(1, 1000);
    assert_eq!(store.put_chunk(1, id, stored.clone().into()).await.unwrap(), Put::New);
    assert_eq!(store.get_chunk(1, id).await.unwrap(), stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_absent_buckets_are_told_apart() {
    let server = S3Server::start(0, |files| files).await;
    let wrong = crate::AwsOptions::from_variables(
        [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "wrong")].map(|(a, b)| (a.to_owned(), b.to_owned())),
    );
    let absent = server.url("/pre/fix").replace("bucket", "nobucket");
    for (url, aws, expected) in [
        (
            server.url("/pre/fix"),
            wrong,
            "check the permissions, or the AWS credentials",
        ),
        (absent, aws_options(), "create the bucket or the directory first"),
    ] {
        let store = Store::open(&url.parse().unwrap(), hasty(), &aws).unwrap();
        let error = store.active_root().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FixRequest, "{error}");
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}
