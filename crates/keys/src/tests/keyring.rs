//! The local keyring, beyond what every provider keeps.

use super::account;
use super::conformance::conforms;
use crate::{KeyError, KeyProvider, Keyring, KeyringError, WrappedDataKey, WrappingKey};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Tells the test binary that it is a child, and which keyring to use.
const PATH_VARIABLE: &str = "LAMBENT_TEST_KEYRING";

fn open(path: &Path) -> KeyProvider {
    KeyProvider::Local(Keyring::open_or_create(path).unwrap())
}

#[tokio::test]
async fn keyring_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(&open(&folder.path().join("new/keyring.json"))).await;
}

#[tokio::test]
async fn every_bit_counts() {
    let folder = tempfile::tempdir().unwrap();
    let provider = open(&folder.path().join("keyring.json"));
    let WrappedDataKey { wrapped, .. } = provider.generate(&account(1)).await.unwrap();
    for bit in 0..wrapped.len() * 8 {
        let mut changed = wrapped.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(provider.unwrap(&account(1), &changed).await.is_err(), "bit {bit}");
    }
    for length in 0..wrapped.len() {
        assert!(
            provider.unwrap(&account(1), &wrapped[..length]).await.is_err(),
            "cut to {length}"
        );
    }
}

#[tokio::test]
async fn another_keyring_is_told_from_a_damaged_key() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| open(&folder.path().join(name)));
    let made = one.generate(&account(1)).await.unwrap();
    let no_key = other.unwrap(&account(1), &made.wrapped).await.unwrap_err();
    assert!(
        no_key.to_string().contains("has no key for account 123456789011"),
        "{no_key}"
    );
    other.generate(&account(1)).await.unwrap();
    let foreign = other.unwrap(&account(1), &made.wrapped).await.unwrap_err();
    assert!(matches!(foreign, KeyError::Foreign(_)), "{foreign}");
}

#[tokio::test]
async fn a_key_that_another_process_made_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.json");
    let (early, late) = (open(&path), open(&path));
    let made = late.generate(&account(1)).await.unwrap();
    assert_eq!(early.unwrap(&account(1), &made.wrapped).await.unwrap(), made.key);
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_for_anybody_until_it_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.json");
    let keyring = Keyring::open_or_create(&path).unwrap();
    let (provider, elsewhere) = (KeyProvider::Local(keyring.clone()), open(&path));
    let made = provider.generate(&account(1)).await.unwrap();
    let other = provider.generate(&account(2)).await.unwrap();
    assert!(keyring.set_revoked(&account(1), true).await.unwrap().revoked);
    for provider in [&provider, &elsewhere] {
        for error in [
            provider.unwrap(&account(1), &made.wrapped).await.unwrap_err(),
            provider.generate(&account(1)).await.unwrap_err(),
            provider.rotate(&account(1)).await.unwrap_err(),
            // The older wrapping is no way around it.
            provider
                .unwrap_newest(&account(1), Some(&made.wrapped), &made.wrapped)
                .await
                .unwrap_err(),
        ] {
            assert!(
                matches!(error, KeyError::Keyring(KeyringError::Revoked { .. })),
                "{error}"
            );
            assert!(
                error.is_refusal() && error.to_string().contains("123456789011"),
                "{error}"
            );
        }
        assert_eq!(provider.unwrap(&account(2), &other.wrapped).await.unwrap(), other.key);
    }
    assert!(!keyring.set_revoked(&account(1), false).await.unwrap().revoked);
    assert_eq!(elsewhere.unwrap(&account(1), &made.wrapped).await.unwrap(), made.key);
}

#[tokio::test]
async fn pruning_keeps_the_newest_key_and_those_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::open_or_create(folder.path().join("keyring.json")).unwrap();
    let provider = KeyProvider::Local(keyring.clone());
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(provider.generate(&account(1)).await.unwrap());
        provider.rotate(&account(1)).await.unwrap();
    }
    let before = keyring.account(&account(1)).await.unwrap().unwrap().names;
    assert_eq!(before.len(), 5);
    let used = WrappingKey::of(&made[1].wrapped).unwrap().name().to_owned();
    let left = keyring.prune(&account(1), [used.clone()].into()).await.unwrap();
    assert_eq!(left.names, [before[0].clone(), used]);
    for (number, made) in made.iter().enumerate() {
        let opened = provider.unwrap(&account(1), &made.wrapped).await;
        assert_eq!(opened.is_ok(), number == 1, "{number}");
    }
}

#[tokio::test]
async fn rotations_end_at_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let provider = open(&folder.path().join("keyring.json"));
    provider.generate(&account(1)).await.unwrap();
    for _ in 1..crate::keyring_file::KEYS_MAX {
        provider.rotate(&account(1)).await.unwrap();
    }
    let error = provider.rotate(&account(1)).await.unwrap_err();
    assert!(error.to_string().contains("has 64 keys"), "{error}");
    let error = provider.rotate(&account(2)).await.unwrap_err();
    assert!(error.to_string().contains("has no key for account"), "{error}");
}

/// Not a test by itself: what `concurrent_first_uses_end_with_one_key` starts many times.
#[tokio::test]
async fn child() {
    if let Some(path) = std::env::var_os(PATH_VARIABLE) {
        use_for_the_first_time(Path::new(&path)).await;
    }
}

/// Makes keys for an account that all use and for one of its own; leaves what it wrapped beside the keyring.
async fn use_for_the_first_time(path: &Path) {
    let provider = open(path);
    for own in [account(0), account(1 + (std::process::id() % 8) as u8)] {
        let made = provider.generate(&own).await.unwrap();
        let name = format!("wrapped {own} {:?} {}", std::thread::current().id(), std::process::id());
        std::fs::write(path.with_file_name(name), made.wrapped).unwrap();
    }
}

#[tokio::test]
async fn concurrent_first_uses_end_with_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.json");
    let children: Vec<Child> = (0..8).map(|_| start_child(&path)).collect();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(use_for_the_first_time(&path));
            })
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    for thread in threads {
        thread.join().unwrap();
    }
    let provider = open(&path);
    let mut opened = 0;
    for entry in folder.path().read_dir().unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if let Some(rest) = name.strip_prefix("wrapped ") {
            let account = rest.split(' ').next().unwrap().parse().unwrap();
            let wrapped = std::fs::read(entry.path()).unwrap();
            provider.unwrap(&account, &wrapped).await.unwrap();
            opened += 1;
        }
    }
    assert_eq!(opened, 2 * 16);
}

fn start_child(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::keyring::child"])
        .env(PATH_VARIABLE, path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}
