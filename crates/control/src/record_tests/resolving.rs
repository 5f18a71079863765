use super::*;
use crate::{AliasChange, PublishRequest};
use std::collections::HashSet;

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_waits_for_a_new_function() {
    let fixture = Fixture::new().await;
    let waiting = {
        let (control, account) = (fixture.control.clone(), fixture.account.clone());
        fixture.insert_prepared("hello").await;
        tokio::spawn(async move { control.resolve(&account, "hello", None, 0.5).await })
    };
    let resolved = tokio::time::timeout(WAIT, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(resolved.executed_version, "$LATEST");
    assert_eq!(resolved.lease.program.arguments, ["/bootstrap"]);
    assert_eq!(
        resolved.lease.function.arn,
        fixture.control.function_arn(&fixture.account, "hello")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_invocations_ask_no_database() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.active("hello").await;
    let first = control.resolve(account, "hello", None, 0.5).await.unwrap();
    control.pool().close().await;
    let warm = control.resolve(account, "hello", Some("$LATEST"), 0.5).await.unwrap();
    assert_eq!(warm.lease.revision, first.lease.revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_send_their_part() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.active("hello").await;
    control
        .publish_version(account, "hello", PublishRequest::default())
        .await
        .unwrap();
    fixture.set_memory("hello", 256).await;
    control
        .publish_version(account, "hello", PublishRequest::default())
        .await
        .unwrap();
    let change = AliasChange {
        version: Some("1".into()),
        routing: Some(BTreeMap::from([("2".to_owned(), 0.1)])),
        ..AliasChange::default()
    };
    control.create_alias(account, "hello", "live", change).await.unwrap();
    let mut second = 0;
    for lot in 0..1000 {
        let lot = f64::from(lot) / 1000.0;
        let resolved = control.resolve(account, "hello", Some("live"), lot).await.unwrap();
        assert_eq!(resolved.lease.function.version, resolved.executed_version);
        second += usize::from(resolved.executed_version == "2");
    }
    assert_eq!(second, 100);
    assert_eq!(
        control.function(account, "hello", Some("live")).await.unwrap().version,
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_follow_changes() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.active("hello").await;
    let revision = async |qualifier: Option<&str>| {
        control
            .resolve(account, "hello", qualifier, 0.5)
            .await
            .unwrap()
            .lease
            .revision
            .clone()
    };
    let first = revision(None).await;
    control
        .publish_version(account, "hello", PublishRequest::default())
        .await
        .unwrap();
    let published = revision(Some("1")).await;
    let mut changes = control.changes();
    fixture.set_memory("hello", 256).await;
    let heard = changes.recv().await.unwrap();
    assert_eq!(
        (heard.name.as_str(), heard.arn.as_str()),
        ("hello", control.function_arn(account, "hello").as_str())
    );
    let second = revision(None).await;
    assert_eq!(HashSet::from([&first, &published, &second]).len(), 3);
    let in_use: HashSet<_> = control
        .revisions_in_use(account, "hello")
        .await
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(
        in_use,
        HashSet::from([published, second]),
        "not the one before the change"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_concurrency_comes_with_the_lease() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.active("hello").await;
    let reserved = async || {
        control
            .resolve(account, "hello", None, 0.5)
            .await
            .unwrap()
            .reserved_concurrency
    };
    assert_eq!(reserved().await, None);
    control
        .put_reserved_concurrency(account, "hello", 7, 1000)
        .await
        .unwrap();
    assert_eq!(reserved().await, Some(7));
    control.delete_reserved_concurrency(account, "hello").await.unwrap();
    assert_eq!(reserved().await, None);
}
