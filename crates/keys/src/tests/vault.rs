//! The transit provider against the documented interface; see `transit_server` for what that proves.

use super::account;
use super::conformance::conforms;
use super::transit_server::{NAMESPACE, TOKEN, TransitKey, TransitServer};
use crate::{ErrorKind, KeyError, KeyProvider, VaultFault, VaultSettings, VaultTransit};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

pub(super) struct Fixture {
    pub(super) server: TransitServer,
    folder: TempDir,
}

impl Fixture {
    pub(super) async fn new(derived: bool) -> Self {
        let server = TransitServer::start().await;
        for name in ["lambent", "lambent-123456789011"] {
            server.state().keys.insert(name.to_owned(), TransitKey::new(derived));
        }
        let folder = tempfile::tempdir().unwrap();
        write_token(&folder.path().join("token"), &format!("{TOKEN}\n"), 0o600);
        Self { server, folder }
    }

    pub(super) fn settings(&self, key: &str) -> VaultSettings {
        VaultSettings {
            address: format!("http://{}", self.server.address),
            key: key.to_owned(),
            mount: "transit".to_owned(),
            namespace: Some(NAMESPACE.to_owned()),
            token_file: self.folder.path().join("token"),
            ca_file: None,
        }
    }

    pub(super) fn provider(&self, key: &str) -> KeyProvider {
        KeyProvider::Vault(VaultTransit::new(self.settings(key)).unwrap())
    }
}

fn write_token(path: &Path, token: &str, mode: u32) {
    fs::write(path, token).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn fault(error: &KeyError) -> VaultFault {
    match error {
        KeyError::Vault(error) => error.fault(),
        _ => panic!("{error}"),
    }
}

#[tokio::test]
async fn transit_conforms_with_plain_and_derived_keys() {
    for derived in [false, true] {
        let fixture = Fixture::new(derived).await;
        conforms(&fixture.provider("lambent")).await;
    }
}

#[tokio::test]
async fn wrapped_keys_name_the_key_with_its_version() {
    let fixture = Fixture::new(false).await;
    let provider = fixture.provider("lambent-{account}");
    let name = async || provider.wrapping_key(&account(1)).await.unwrap().name().to_owned();
    assert_eq!(name().await, "team/images/transit/lambent-123456789011:v1");
    provider.rotate(&account(1)).await.unwrap();
    assert_eq!(name().await, "team/images/transit/lambent-123456789011:v2");
    let error = provider.generate(&account(2)).await.unwrap_err();
    assert_eq!(fault(&error), VaultFault::UnknownKey, "{error}");
    let made = provider.generate(&account(1)).await.unwrap();
    let error = fixture
        .provider("lambent")
        .unwrap(&account(1), &made.wrapped)
        .await
        .unwrap_err();
    assert!(matches!(error, KeyError::Foreign(_)), "{error}");
}

#[tokio::test]
async fn what_the_server_says_is_told_from_its_silence() {
    let fixture = Fixture::new(false).await;
    let provider = fixture.provider("lambent");
    let made = provider.generate(&account(1)).await.unwrap();
    let check = async |fault_expected, is_refusal, words: &str| {
        let error = provider.unwrap(&account(1), &made.wrapped).await.unwrap_err();
        assert_eq!(
            (fault(&error), error.is_refusal()),
            (fault_expected, is_refusal),
            "{error}"
        );
        assert!(
            error.to_string().contains(words) && !error.to_string().contains(TOKEN),
            "{error}"
        );
    };
    fixture
        .server
        .state()
        .forbidden
        .push("transit/decrypt/lambent".to_owned());
    check(VaultFault::AccessDenied, true, "policies must allow update").await;
    fixture.server.state().token_is_known = false;
    check(VaultFault::NoCredentials, false, "does not take the token").await;
    fixture.server.state().token_is_known = true;
    fixture.server.state().forbidden.clear();
    fixture
        .server
        .state()
        .keys
        .get_mut("lambent")
        .unwrap()
        .min_decryption_version = 2;
    check(VaultFault::UnusableKey, true, "disallowed by policy").await;
    fixture.server.state().keys.remove("lambent");
    check(VaultFault::UnknownKey, true, "encryption key not found").await;
    fixture.server.state().failures = vec![503; 3];
    check(VaultFault::Unavailable, false, "status 503").await;
    fixture.server.state().failures = vec![307];
    check(VaultFault::Refused, false, "redirects").await;
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again() {
    let fixture = Fixture::new(false).await;
    let provider = fixture.provider("lambent");
    fixture.server.state().failures = vec![503, 429];
    let made = provider.generate(&account(1)).await.unwrap();
    assert_eq!(fixture.server.state().requests, ["transit/encrypt/lambent"; 3]);
    assert_eq!(provider.unwrap(&account(1), &made.wrapped).await.unwrap(), made.key);
}

#[tokio::test]
async fn an_absent_server_is_named() {
    let fixture = Fixture::new(false).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = VaultSettings {
        address: address.clone(),
        ..fixture.settings("lambent")
    };
    let provider = KeyProvider::Vault(VaultTransit::new(settings).unwrap());
    let error = provider.generate(&account(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert!(!error.is_refusal(), "{error}");
    for part in [&address, "lambent", "does not answer", "Connection refused"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_token_is_its_owners_alone_and_read_anew() {
    let fixture = Fixture::new(false).await;
    let provider = fixture.provider("lambent");
    let path = fixture.folder.path().join("token");
    for (token, mode, words) in [
        (TOKEN, 0o640, "chmod 600"),
        ("", 0o600, "does not hold a token"),
        ("two words", 0o600, "does not hold a token"),
    ] {
        write_token(&path, token, mode);
        let error = provider.generate(&account(1)).await.unwrap_err();
        assert_eq!(fault(&error), VaultFault::NoCredentials, "{error}");
        assert!(
            error.to_string().contains(words) && !error.to_string().contains(TOKEN),
            "{error}"
        );
    }
    write_token(&path, TOKEN, 0o600);
    provider.generate(&account(1)).await.unwrap();
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let fixture = Fixture::new(false).await;
    let good = fixture.settings("lambent");
    let bad = fixture.folder.path().join("token");
    for (settings, words) in [
        (
            VaultSettings {
                address: "vault.example:8200".to_owned(),
                ..good.clone()
            },
            "use https://",
        ),
        (
            VaultSettings {
                address: "http://10.0.0.1:8200".to_owned(),
                ..good.clone()
            },
            "use https://",
        ),
        (
            VaultSettings {
                key: "a/b".to_owned(),
                ..good.clone()
            },
            "the key's name",
        ),
        (
            VaultSettings {
                mount: String::new(),
                ..good.clone()
            },
            "the mount's name",
        ),
        (
            VaultSettings {
                namespace: Some("a b".to_owned()),
                ..good.clone()
            },
            "the namespace's name",
        ),
        (
            VaultSettings {
                ca_file: Some(bad),
                ..good.clone()
            },
            "token has no certificate",
        ),
    ] {
        let error = VaultTransit::new(settings).unwrap_err();
        assert_eq!(error.fault(), VaultFault::Settings);
        assert!(error.to_string().contains(words), "{error}");
    }
}
