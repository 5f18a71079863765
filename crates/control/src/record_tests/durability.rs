use super::*;
use crate::{AliasChange, NewEvent, PublishRequest};
use std::process::{Command, Stdio};

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_reopening() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let key = control.create_access_key(account).await.unwrap();
    fixture.active("hello").await;
    let version = control
        .publish_version(account, "hello", PublishRequest::default())
        .await
        .unwrap();
    let change = AliasChange {
        version: Some("1".into()),
        ..AliasChange::default()
    };
    let alias = control.create_alias(account, "hello", "live", change).await.unwrap();
    let lease = control
        .resolve(account, "hello", Some("live"), 0.5)
        .await
        .unwrap()
        .lease;
    control.close().await;

    let control = open(fixture.directory.path()).await.unwrap();
    assert_eq!(
        control.access_key(&key.id).unwrap().secret.as_str(),
        key.secret.as_str()
    );
    let found = control.function(account, "hello", Some("1")).await.unwrap();
    assert_eq!(
        (found.revision_id, found.configuration),
        (version.revision_id, version.configuration)
    );
    assert_eq!(control.alias(account, "hello", "live").await.unwrap(), alias);
    let again = control
        .resolve(account, "hello", Some("live"), 0.5)
        .await
        .unwrap()
        .lease;
    assert_eq!(*again, *lease, "warm environments of other processes stay good");
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_work_is_taken_up() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    // Recorded, and nobody began to prepare it: what kill -9 leaves behind.
    let configuration = Configuration::new("hello", PackageType::Image, "x86_64");
    let code = CodeRecord::Image {
        uri: "localhost:9000/hello".into(),
        digest: "sha256:ab".into(),
    };
    let key = VersionKey {
        account,
        name: "hello",
        number: 0,
    };
    let mut record = FunctionRecord::new(control, key, configuration, code);
    record.prepared = Some(prepared(account));
    let mut transaction = control.write().await.unwrap();
    insert(&mut transaction, &record).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(
        control.function(account, "hello", None).await.unwrap().lifecycle.state,
        State::Pending
    );
    let again = open(fixture.directory.path()).await.unwrap();
    again.resume_preparations().await.unwrap();
    assert!(is_active(&settled(&again, account, "hello", None).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_by_name() {
    let fixture = Fixture::new().await;
    sqlx::query("UPDATE schema_version SET version = 99")
        .execute(fixture.control.pool())
        .await
        .unwrap();
    let refused = open(fixture.directory.path()).await.unwrap_err();
    assert!(
        matches!(refused, ControlError::SchemaNewer { found: 99, .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("99"), "{refused}");
}

/// The tables as version 1 had them, with an event in them.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_schema_is_brought_up_to_date() {
    let fixture = Fixture::new().await;
    let event = NewEvent {
        account: fixture.account.clone(),
        function: "hello".into(),
        qualifier: None,
        payload: "{}".into(),
        request_id: "request".into(),
        client_context: None,
        trace_id: "Root=1-0-0".into(),
    };
    fixture.control.enqueue_event(event).await.unwrap();
    for statement in [
        "ALTER TABLE queued_events DROP COLUMN claims",
        "ALTER TABLE access_keys DROP COLUMN policy",
        "UPDATE schema_version SET version = 1",
    ] {
        sqlx::query(statement).execute(fixture.control.pool()).await.unwrap();
    }
    let control = open(fixture.directory.path()).await.unwrap();
    let claimed = control.claim_events(1, 0).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].claims), (1, 1));
    drop(control);
    open(fixture.directory.path()).await.expect("it is upgraded once");
}

/// Names a directory; set, the test below is the process that is killed.
const VICTIM: &str = "LAMBENT_RECORD_TEST_VICTIM";

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    if let Some(directory) = std::env::var_os(VICTIM) {
        return write_without_end(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "record_tests::durability::kill_9_loses_nothing_that_was_acknowledged";
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(VICTIM, directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal = directory.path().join("acknowledged");
    let read = || std::fs::read_to_string(&journal).unwrap_or_default();
    let enough = async {
        while read().lines().count() < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(WAIT, enough).await;
    victim.kill().unwrap();
    victim.wait().unwrap();
    reached.expect("the victim writes");

    let control = open(directory.path()).await.unwrap();
    let known: Vec<String> = control
        .access_keys(None)
        .await
        .unwrap()
        .iter()
        .map(|key| format!("{} {}", key.id, key.secret.as_str()))
        .collect();
    let acknowledged = read();
    let complete = acknowledged.rsplit_once('\n').map_or("", |(complete, _)| complete);
    for line in complete.lines() {
        assert!(
            known.iter().any(|key| key == line),
            "{line} was acknowledged and is gone"
        );
    }
}

/// Makes accounts and keys, and writes down each that was acknowledged, until it is killed.
async fn write_without_end(directory: &Path) {
    let control = open(directory).await.unwrap();
    let mut journal = std::fs::File::create(directory.join("acknowledged")).unwrap();
    loop {
        let account = control.create_account(None).await.unwrap().account;
        let key = control.create_access_key(&account).await.unwrap();
        writeln!(journal, "{} {}", key.id, key.secret.as_str()).unwrap();
    }
}
