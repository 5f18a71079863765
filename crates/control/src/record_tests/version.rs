use super::*;
use crate::{PageRequest, PublishRequest};

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_latest_as_it_was() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.active("hello").await;
    let request = PublishRequest {
        description: Some("first".into()),
        ..PublishRequest::default()
    };
    let first = control.publish_version(account, "hello", request).await.unwrap();
    assert_eq!(
        (first.version.as_str(), first.configuration.description.as_str()),
        ("1", "first")
    );
    assert!(is_active(&first));

    let again = control
        .publish_version(account, "hello", PublishRequest::default())
        .await
        .unwrap();
    assert_eq!(
        (again.version.as_str(), again.revision_id),
        ("1", first.revision_id.clone()),
        "nothing has changed"
    );

    fixture.set_memory("hello", 256).await;
    let second = control
        .publish_version(account, "hello", PublishRequest::default())
        .await
        .unwrap();
    assert_eq!((second.version.as_str(), second.configuration.memory_mb), ("2", 256));
    let kept = control.function(account, "hello", Some("1")).await.unwrap();
    assert_eq!(
        (kept.configuration.memory_mb, kept.revision_id),
        (128, first.revision_id)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_under_conditions() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let latest = fixture.active("hello").await;
    let code = latest.code.sha256().to_owned();
    let with = |code_sha256: Option<&str>, revision_id: Option<&str>| PublishRequest {
        code_sha256: code_sha256.map(Into::into),
        revision_id: revision_id.map(Into::into),
        ..PublishRequest::default()
    };
    check_error(
        control
            .publish_version(account, "hello", with(Some("wrong"), None))
            .await,
        "Invalid",
        &format!(
            "CodeSHA256 (wrong) is different from current CodeSHA256 in $LATEST ({code}). Please try again with the \
             CodeSHA256 in $LATEST."
        ),
    );
    check_error(
        control
            .publish_version(account, "hello", with(None, Some("wrong")))
            .await,
        "PreconditionFailed",
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve \
         the latest Revision Id",
    );
    let good = with(Some(&code), Some(&latest.revision_id));
    assert_eq!(
        control.publish_version(account, "hello", good).await.unwrap().version,
        "1"
    );
    let missing = control
        .publish_version(account, "other", PublishRequest::default())
        .await;
    check_error(
        missing,
        "NotFound",
        &format!("Function not found: arn:aws:lambda:us-east-1:{account}:function:other"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_listed_oldest_first_after_latest() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.active("hello").await;
    for memory_mb in 129..=140 {
        fixture.set_memory("hello", memory_mb).await;
        control
            .publish_version(account, "hello", PublishRequest::default())
            .await
            .unwrap();
    }
    let mut request = PageRequest {
        marker: None,
        items_max: Some(5),
    };
    let mut versions = Vec::new();
    loop {
        let page = control.versions(account, "hello", &request).await.unwrap();
        versions.extend(page.items.into_iter().map(|record| record.version));
        if page.next.is_none() {
            break;
        }
        request.marker = page.next;
    }
    assert_eq!(versions.join(" "), "$LATEST 1 2 3 4 5 6 7 8 9 10 11 12");
    let missing = control.versions(account, "other", &PageRequest::default()).await;
    assert!(matches!(missing, Err(ControlError::NotFound { .. })), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_never_given_twice() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.active("hello").await;
    control
        .publish_version(account, "hello", PublishRequest::default())
        .await
        .unwrap();
    control.delete_function(account, "hello", Some("1")).await.unwrap();
    assert_eq!(
        control
            .publish_version(account, "hello", PublishRequest::default())
            .await
            .unwrap()
            .version,
        "2"
    );
    control.delete_function(account, "hello", None).await.unwrap();
    fixture.active("hello").await;
    assert_eq!(
        control
            .publish_version(account, "hello", PublishRequest::default())
            .await
            .unwrap()
            .version,
        "3"
    );
}
