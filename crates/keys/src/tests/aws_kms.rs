//! AWS KMS, as moto plays it.

use super::account;
use super::conformance::conforms;
use super::moto::Moto;
use crate::aws_kms::timeouts;
use crate::{AwsKms, ErrorKind, KeyError, KeyProvider, KmsFault, WrappedError};
use aws_config::BehaviorVersion;
use aws_sdk_kms::config::{Credentials, Region};
use aws_sdk_kms::{Client, Config};
use std::net::TcpListener;
use std::process::Command;

/// A client as `AwsKms::connect` makes it, but with credentials of its own: tests do not change the environment.
fn client(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .timeout_config(timeouts())
        .build();
    Client::from_conf(config)
}

pub(super) fn kms(key_id: &str, endpoint: &str) -> KeyProvider {
    KeyProvider::AwsKms(AwsKms::over(client(endpoint), key_id, endpoint))
}

async fn create_key(endpoint: &str) -> String {
    let answer = client(endpoint).create_key().send().await.unwrap();
    answer.key_metadata.unwrap().key_id
}

#[tokio::test]
async fn kms_conforms() {
    let moto = Moto::start();
    let key_id = create_key(&moto.url()).await;
    conforms(&kms(&key_id, &moto.url())).await;
    an_absent_key_is_named(&moto).await;
    another_key_does_not_open(&moto).await;
    credentials_come_from_the_environment(&key_id, &moto);
    a_new_key_takes_over_from_a_previous_one(&moto).await;
}

async fn a_new_key_takes_over_from_a_previous_one(moto: &Moto) {
    let [old, new] = [create_key(&moto.url()).await, create_key(&moto.url()).await];
    let made = kms(&old, &moto.url()).generate(&account(1)).await.unwrap();
    let both = AwsKms::over(client(&moto.url()), &new, &moto.url()).with_previous(std::slice::from_ref(&old));
    let both = KeyProvider::AwsKms(both);
    let key = both.unwrap(&account(1), &made.wrapped).await.unwrap();
    assert_eq!(key, made.key);
    let wrapped = both.wrap(&account(1), &key).await.unwrap();
    // The old key is not needed any more.
    let opened = kms(&new, &moto.url()).unwrap(&account(1), &wrapped).await.unwrap();
    assert_eq!(opened, made.key);
}

async fn an_absent_key_is_named(moto: &Moto) {
    let absent = "12345678-1234-1234-1234-123456789012";
    match kms(absent, &moto.url()).generate(&account(1)).await {
        Err(KeyError::AwsKms(error)) => {
            assert_eq!(error.fault(), KmsFault::UnknownKey, "{error}");
            assert!(error.to_string().contains(absent), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// AWS says IncorrectKeyException here; moto says AccessDeniedException.
async fn another_key_does_not_open(moto: &Moto) {
    let [one, other] = [create_key(&moto.url()).await, create_key(&moto.url()).await];
    let made = kms(&one, &moto.url()).generate(&account(1)).await.unwrap();
    let error = kms(&other, &moto.url())
        .unwrap(&account(1), &made.wrapped)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FixRequest, "{error}");
    assert!(
        !matches!(error, KeyError::Wrapped(WrappedError::Refused { .. })),
        "{error}"
    );
}

/// Tells the test binary that it is a child, and where KMS and its key are.
const CHILD_VARIABLE: &str = "LAMBENT_TEST_KMS";

/// Not a test by itself: what `credentials_come_from_the_environment` starts.
#[tokio::test]
async fn child() {
    let Ok(variable) = std::env::var(CHILD_VARIABLE) else {
        return;
    };
    let (endpoint, key_id) = variable.split_once(' ').unwrap();
    let kms = KeyProvider::AwsKms(AwsKms::connect(key_id, Some("us-east-1"), Some(endpoint)).await);
    let made = kms
        .generate(&account(1))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(kms.unwrap(&account(1), &made.wrapped).await.unwrap(), made.key);
}

/// In children, since a test may not change its own environment.
fn credentials_come_from_the_environment(key_id: &str, moto: &Moto) {
    let run = |credentials: &[(&str, &str)]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tests::aws_kms::child"]).env_clear();
        command.env(CHILD_VARIABLE, format!("{} {key_id}", moto.url()));
        // Without these there is nothing else to find.
        command
            .env("HOME", "/nonexistent")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        let output = command.envs(credentials.iter().copied()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (succeeded, output) = run(&[("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    assert!(succeeded, "{output}");
    let (succeeded, output) = run(&[]);
    assert!(
        !succeeded && output.contains("access denied; check the AWS credentials"),
        "{output}"
    );
}

#[tokio::test]
async fn an_absent_server_is_named() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{address}");
    let error = kms("alias/lambent", &endpoint).generate(&account(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert!(!error.is_refusal(), "{error}");
    for part in ["alias/lambent", &endpoint, "does not answer", "Connection refused"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// moto opens with disabled keys, too, so KMS's words are played by hand: what they mean is decided here.
#[tokio::test]
async fn what_kms_says_is_told_from_its_silence() {
    let folder = tempfile::tempdir().unwrap();
    let wrapped = {
        let local = KeyProvider::Local(crate::Keyring::open_or_create(folder.path().join("keyring.json")).unwrap());
        let mut wrapped = local.generate(&account(1)).await.unwrap().wrapped;
        wrapped[1] = 2;
        wrapped
    };
    for (code, fault, is_refusal) in [
        ("DisabledException", KmsFault::UnusableKey, true),
        ("KMSInvalidStateException", KmsFault::UnusableKey, true),
        ("NotFoundException", KmsFault::UnknownKey, true),
        ("AccessDeniedException", KmsFault::AccessDenied, true),
        ("ExpiredTokenException", KmsFault::NoCredentials, false),
        ("InvalidSignatureException", KmsFault::NoCredentials, false),
        ("UnheardOfException", KmsFault::Refused, false),
    ] {
        let endpoint = answering(code);
        let error = kms("some-key", &endpoint)
            .unwrap(&account(1), &wrapped)
            .await
            .unwrap_err();
        match &error {
            KeyError::AwsKms(failed) => assert_eq!(failed.fault(), fault, "{code}: {error}"),
            _ => panic!("{code}: {error}"),
        }
        assert_eq!(error.is_refusal(), is_refusal, "{code}: {error}");
    }
}

/// A server that answers every request with one of KMS's error codes. Its thread ends with the process.
fn answering(code: &'static str) -> String {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 65536]);
            let body = format!("{{\"__type\":\"{code}\",\"message\":\"played\"}}");
            let head = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    format!("http://{address}")
}
