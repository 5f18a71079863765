use super::*;
use crate::{AliasChange, PageRequest, PublishRequest};

/// A function with versions 1, 2 and 3.
async fn with_versions() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.active("hello").await;
    for memory_mb in [128, 256, 512] {
        fixture.set_memory("hello", memory_mb).await;
        fixture
            .control
            .publish_version(&fixture.account, "hello", PublishRequest::default())
            .await
            .unwrap();
    }
    fixture
}

fn to(version: &str) -> AliasChange {
    AliasChange {
        version: Some(version.into()),
        ..AliasChange::default()
    }
}

fn weights(pairs: &[(&str, f64)]) -> AliasChange {
    let routing = pairs
        .iter()
        .map(|(version, weight)| ((*version).into(), *weight))
        .collect();
    AliasChange {
        routing: Some(routing),
        ..AliasChange::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_an_alias() {
    let fixture = with_versions().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let arn = format!("arn:aws:lambda:us-east-1:{account}:function:hello:live");
    let created = control.create_alias(account, "hello", "live", to("1")).await.unwrap();
    assert_eq!(
        (created.arn.as_str(), created.version.as_str(), created.routing.clone()),
        (arn.as_str(), "1", None)
    );
    assert_eq!(control.alias(account, "hello", "live").await.unwrap(), created);
    check_error(
        control.create_alias(account, "hello", "live", to("2")).await,
        "Conflict",
        &format!("Alias already exists: {arn}"),
    );

    let weighted = control
        .update_alias(account, "hello", "live", weights(&[("2", 0.1)]))
        .await
        .unwrap();
    assert_eq!(weighted.routing, Some(("2".into(), 0.1)));
    assert_ne!(weighted.revision_id, created.revision_id);
    let stale = AliasChange {
        revision_id: Some(created.revision_id),
        ..to("2")
    };
    check_error(
        control.update_alias(account, "hello", "live", stale).await,
        "PreconditionFailed",
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve \
         the latest Revision Id",
    );
    let fresh = AliasChange {
        revision_id: Some(weighted.revision_id),
        ..to("3")
    };
    let moved = control.update_alias(account, "hello", "live", fresh).await.unwrap();
    assert_eq!(
        (moved.version.as_str(), moved.routing),
        ("3", Some(("2".into(), 0.1))),
        "weights stay"
    );
    let plain = control
        .update_alias(account, "hello", "live", weights(&[]))
        .await
        .unwrap();
    assert_eq!(plain.routing, None);

    control.delete_alias(account, "hello", "live").await.unwrap();
    control.delete_alias(account, "hello", "live").await.unwrap();
    check_error(
        control.alias(account, "hello", "live").await,
        "NotFound",
        &format!("Cannot find alias arn: {arn}"),
    );
    check_error(
        control.update_alias(account, "hello", "live", to("1")).await,
        "NotFound",
        &format!("Alias not found: {arn}"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_alias_cannot_point_to() {
    let fixture = with_versions().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let base = format!("Function not found: arn:aws:lambda:us-east-1:{account}:function");
    check_error(
        control.create_alias(account, "hello", "a", to("9")).await,
        "NotFound",
        &format!("{base}:hello:9"),
    );
    check_error(
        control.create_alias(account, "other", "a", to("1")).await,
        "NotFound",
        &format!("{base}:other:1"),
    );
    control.create_alias(account, "hello", "live", to("1")).await.unwrap();
    let change = async |change: AliasChange| control.update_alias(account, "hello", "live", change).await;
    check_error(
        change(weights(&[("9", 0.1)])).await,
        "NotFound",
        &format!("{base}:hello:9"),
    );
    check_error(
        change(weights(&[("2", 0.1), ("3", 0.1)])).await,
        "Invalid",
        "Number of items in AdditionalVersionWeights cannot be greater than 1",
    );
    check_error(
        change(weights(&[("1", 0.1)])).await,
        "Invalid",
        "Invalid function version 1. Function version 1 is already included in routing configuration.",
    );
    let latest = "$LATEST is not supported for an alias pointing to more than 1 version";
    check_error(change(weights(&[("$LATEST", 0.1)])).await, "Invalid", latest);
    check_error(
        change(AliasChange {
            version: Some("$LATEST".into()),
            ..weights(&[("2", 0.1)])
        })
        .await,
        "Invalid",
        latest,
    );
    for wrong in [-0.1, 1.1, f64::NAN] {
        let refused = change(weights(&[("2", wrong)])).await.unwrap_err().to_string();
        assert!(
            refused.contains("Member must have value less than or equal to 1.0"),
            "{refused}"
        );
    }
    let refused = change(weights(&[("two", 0.1)])).await.unwrap_err().to_string();
    assert!(refused.contains("Map keys must satisfy constraint"), "{refused}");
    assert_eq!(
        control.alias(account, "hello", "live").await.unwrap().routing,
        None,
        "nothing of this was kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_are_listed_by_name_and_version() {
    let fixture = with_versions().await;
    let (control, account) = (&fixture.control, &fixture.account);
    for (alias, version) in [("c", "1"), ("a", "2"), ("b", "1"), ("d", "$LATEST")] {
        control
            .create_alias(account, "hello", alias, to(version))
            .await
            .unwrap();
    }
    let list = async |version: Option<&str>| {
        let mut request = PageRequest {
            marker: None,
            items_max: Some(2),
        };
        let mut names = Vec::new();
        loop {
            let page = control.aliases(account, "hello", version, &request).await.unwrap();
            assert!(page.items.len() <= 2);
            names.extend(page.items.into_iter().map(|alias| alias.name));
            if page.next.is_none() {
                return names.join(" ");
            }
            request.marker = page.next;
        }
    };
    assert_eq!(list(None).await, "a b c d");
    assert_eq!(list(Some("1")).await, "b c");
    assert_eq!(list(Some("$LATEST")).await, "d");
    assert_eq!(list(Some("3")).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_an_alias_names_stays() {
    let fixture = with_versions().await;
    let (control, account) = (&fixture.control, &fixture.account);
    control.create_alias(account, "hello", "live", to("1")).await.unwrap();
    control.create_alias(account, "hello", "next", to("3")).await.unwrap();
    control
        .update_alias(account, "hello", "live", weights(&[("2", 0.5)]))
        .await
        .unwrap();
    for version in ["1", "2"] {
        check_error(
            control.delete_function(account, "hello", Some(version)).await,
            "Conflict",
            "Unable to delete version because the following aliases reference it: [live]",
        );
    }
    control.delete_alias(account, "hello", "live").await.unwrap();
    control.delete_function(account, "hello", Some("1")).await.unwrap();
    assert!(control.function(account, "hello", Some("1")).await.is_err());
    assert_eq!(
        control.function(account, "hello", Some("next")).await.unwrap().version,
        "3"
    );
}
