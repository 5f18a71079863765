//! Providers that are slow, and providers that take a question and never answer.

use super::account;
use super::vault::Fixture;
use crate::wrapped::{ProviderCode, encode_head};
use crate::{ErrorKind, KeyError, KeyProvider, Keyring, VaultSettings, VaultTransit};
use std::net::TcpListener;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Who wants the key of one image, one after the other.
const READERS: usize = 100;

/// A listener whose queue takes connections, and who says nothing.
struct Silent(TcpListener);

impl Silent {
    fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }
}

/// Time is the runtime's own here, and runs ahead whenever all wait.
async fn all_are_told_in_the_time_of_one(provider: KeyProvider, wrapped: &[u8], url: &str) {
    let began = Instant::now();
    let mut last = None;
    for _ in 0..READERS {
        let error = provider.unwrap(&account(1), wrapped).await.unwrap_err();
        assert_eq!((error.kind(), error.is_refusal()), (ErrorKind::Retry, false), "{error}");
        last = Some(error.to_string());
    }
    // KMS may take 15 s, Vault three attempts of 5 s; a moment more where a look came just too late.
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    let last = last.unwrap();
    for part in [url, "does not answer", "a moment ago it gave no answer for"] {
        assert!(last.contains(part), "{last}");
    }
    // Later somebody tries again.
    tokio::time::advance(Duration::from_secs(3)).await;
    let error = provider.unwrap(&account(1), wrapped).await.unwrap_err();
    assert!(!error.to_string().contains("a moment ago"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_kms_lets_the_first_wait_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let local = KeyProvider::Local(Keyring::open_or_create(folder.path().join("keyring.json")).unwrap());
    let mut wrapped = local.generate(&account(1)).await.unwrap().wrapped;
    // As KMS's own: the head says whose it is.
    wrapped[1] = 2;
    let silent = Silent::listen();
    let kms = super::aws_kms::kms("some-key", &silent.url());
    all_are_told_in_the_time_of_one(kms, &wrapped, &silent.url()).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_vault_lets_the_first_wait_and_no_other() {
    let fixture = Fixture::new(false).await;
    let (settings, silent) = (fixture.settings("lambent"), Silent::listen());
    let mut wrapped = encode_head(ProviderCode::VaultTransit, "team/images/transit/lambent:v1");
    wrapped.extend(b"vault:v1:AAAA");
    let vault = VaultTransit::new(VaultSettings {
        address: silent.url(),
        ..settings
    });
    all_are_told_in_the_time_of_one(KeyProvider::Vault(vault.unwrap()), &wrapped, &silent.url()).await;
}

/// Server and readers share one thread: who blocked it would wait for ever.
#[tokio::test]
async fn a_slow_vault_answers_all_and_blocks_nobody() {
    let fixture = Fixture::new(false).await;
    let provider = fixture.provider("lambent");
    let made = provider.generate(&account(1)).await.unwrap();
    fixture.server.state().delay = Duration::from_millis(200);
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (provider, wrapped) = (provider.clone(), made.wrapped.clone());
        readers.spawn(async move { provider.unwrap(&account(1), &wrapped).await });
    }
    let answers: Vec<Result<_, KeyError>> = readers.join_all().await;
    assert_eq!(answers.len(), READERS);
    for answer in answers {
        assert_eq!(answer.unwrap(), made.key);
    }
}
