use super::*;
use crate::{KeyPolicy, KeyStatus};
use std::os::unix::fs::PermissionsExt;

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_found_and_revoked() {
    let fixture = Fixture::new().await;
    let key = fixture.control.create_access_key(&fixture.account).await.unwrap();
    assert_eq!(key.id.len(), 20);
    assert!(key.id.starts_with("AKIA"), "{}", key.id);
    assert!(
        key.id[4..]
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte)),
        "{}",
        key.id
    );
    assert_eq!(key.secret.as_bytes().len(), 40);
    assert!(!format!("{key:?}").contains(key.secret.as_str()));

    let found = fixture.control.access_key(&key.id).expect("a key is good at once");
    assert_eq!(
        (found.account, found.secret.as_str()),
        (fixture.account.clone(), key.secret.as_str())
    );
    fixture.control.revoke_access_key(&key.id).await.unwrap();
    assert!(
        fixture.control.access_key(&key.id).is_none(),
        "a revoked key is refused at once"
    );
    let listed = fixture.control.access_keys(Some(&fixture.account)).await.unwrap();
    assert_eq!(
        listed.iter().map(|key| key.status).collect::<Vec<_>>(),
        [KeyStatus::Revoked]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_is_noticed() {
    let fixture = Fixture::new().await;
    let other = open(fixture.directory.path()).await.unwrap();
    let key = other.create_access_key(&fixture.account).await.unwrap();
    let noticed = async |present: bool| {
        let wait = async {
            while fixture.control.access_key(&key.id).is_some() != present {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WAIT, wait)
            .await
            .expect("changes of other processes are noticed");
    };
    noticed(true).await;
    other.revoke_access_key(&key.id).await.unwrap();
    noticed(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_keys_that_are_not_there() {
    let fixture = Fixture::new().await;
    let named: Account = "123456789012".parse().unwrap();
    check_error(
        fixture.control.create_access_key(&named).await,
        "NotFound",
        "Account not found: 123456789012",
    );
    check_error(
        fixture.control.revoke_access_key("AKIANONE").await,
        "NotFound",
        "Access key not found: AKIANONE",
    );
    assert!(fixture.control.access_key("AKIANONE").is_none());
    let first = fixture.control.create_account(Some(&named)).await.unwrap();
    let again = fixture.control.create_account(Some(&named)).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(fixture.control.accounts().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_its_owners_alone() {
    let fixture = Fixture::new().await;
    fixture.control.create_access_key(&fixture.account).await.unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(fixture.directory.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("record.db") {
            assert_eq!(
                entry.metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{:?}",
                entry.file_name()
            );
            seen += 1;
        }
    }
    assert!(seen >= 2, "the database and its write-ahead log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_kept_with_its_key() {
    let fixture = Fixture::new().await;
    let text = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}}"#;
    let policy = KeyPolicy::parse(text).unwrap();
    let key = fixture
        .control
        .create_limited_key(&fixture.account, Some(policy.clone()))
        .await
        .unwrap();
    let other = fixture.control.create_access_key(&fixture.account).await.unwrap();
    for control in [fixture.control.clone(), open(fixture.directory.path()).await.unwrap()] {
        let found = |id: &str| control.access_key(id).unwrap().policy;
        assert_eq!(found(&key.id).as_deref(), Some(&policy));
        assert_eq!(found(&other.id), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_policy_cannot_be_read_lets_nobody_in_and_stops_no_other() {
    let fixture = Fixture::new().await;
    let damaged = fixture.control.create_access_key(&fixture.account).await.unwrap();
    let good = fixture.control.create_access_key(&fixture.account).await.unwrap();
    let change = "UPDATE access_keys SET policy = 'damaged' WHERE id = $1";
    let change = sqlx::query(change).bind(damaged.id.as_str());
    change.execute(fixture.control.pool()).await.unwrap();

    // What runs already hears of keys that are made and revoked after it.
    let later = fixture.control.create_access_key(&fixture.account).await.unwrap();
    fixture.control.revoke_access_key(&later.id).await.unwrap();
    let started = open(fixture.directory.path()).await.expect("one key stops no server");
    for control in [&fixture.control, &started] {
        assert!(control.access_key(&damaged.id).is_none());
        assert!(control.access_key(&good.id).is_some());
        assert!(control.access_key(&later.id).is_none());
    }
    let status = async || {
        let listed = started.access_keys(Some(&fixture.account)).await.unwrap();
        listed.iter().find(|key| key.id == damaged.id).map(|key| key.status)
    };
    assert_eq!(status().await, Some(KeyStatus::Unreadable));
    started.revoke_access_key(&damaged.id).await.unwrap();
    assert_eq!(status().await, Some(KeyStatus::Revoked));
}
