use super::*;
use crate::{LayerDescription, LayerFilter, LayerName, LayerVersion, NewPermission, ZipCode};

fn layer(fixture: &Fixture, name: &str) -> LayerName {
    LayerName {
        account: fixture.account.clone(),
        name: name.to_owned(),
    }
}

fn zip(name: &str) -> ZipCode {
    ZipCode {
        sha256_base64: name.to_owned(),
        bytes: 100,
    }
}

fn of(runtime: &str, architecture: &str) -> LayerDescription {
    LayerDescription {
        text: "text".to_owned(),
        runtimes: Some(vec![runtime.to_owned()]),
        architectures: Some(vec![architecture.to_owned()]),
        ..LayerDescription::default()
    }
}

async fn publish(fixture: &Fixture, name: &str, description: LayerDescription) -> LayerVersion {
    fixture
        .control
        .publish_layer_version(layer(fixture, name), description, zip(name))
        .await
        .unwrap()
}

fn numbers(versions: &[LayerVersion]) -> Vec<u64> {
    versions.iter().map(|version| version.version).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_layer() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let first = publish(&fixture, "l", of("python3.12", "x86_64")).await;
    assert_eq!((first.version, first.arn()), (1, fixture.arn("layer:l:1")));
    publish(&fixture, "l", LayerDescription::default()).await;
    let l = layer(&fixture, "l");
    assert_eq!(control.layer_version(account, &l, 1).await.unwrap(), first);
    let bare = control.layer_version(account, &l, 2).await.unwrap().description;
    assert_eq!((bare.runtimes, bare.architectures), (None, None));
    let named = control.layer_version_name(&first.arn()).unwrap();
    assert_eq!(named, (l.clone(), 1));
    assert_eq!(control.layer_name(account, &fixture.arn("layer:l")).unwrap(), l);
    let gone = "The resource you requested does not exist.";
    check_error(control.layer_version(account, &l, 3).await, "NotFound", gone);
    check_error(
        control.layer_name(account, "arn:aws:lambda:eu-west-1:123456789012:layer:l"),
        "NotFound",
        gone,
    );
    assert_eq!(control.account_usage(account).await.unwrap().code_bytes, 200);
    control.delete_layer_version(&l, 1).await.unwrap();
    control.delete_layer_version(&l, 1).await.unwrap();
    control.delete_layer_version(&l, 2).await.unwrap();
    check_error(control.layer_version(account, &l, 1).await, "NotFound", gone);
    assert_eq!(
        publish(&fixture, "l", LayerDescription::default()).await.version,
        3,
        "numbers are never used again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_layers_are_listed_by_pages_and_filters() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    for runtime in ["python3.11", "python3.12", "python3.12"] {
        publish(&fixture, "a", of(runtime, "x86_64")).await;
    }
    publish(&fixture, "b", of("nodejs22.x", "arm64")).await;
    publish(&fixture, "c", of("python3.11", "arm64")).await;
    let (all, a) = (LayerFilter::default(), layer(&fixture, "a"));
    let first = control.layer_versions(account, &a, &all, &page(None, 2)).await.unwrap();
    let second = control
        .layer_versions(account, &a, &all, &page(first.next, 2))
        .await
        .unwrap();
    assert_eq!(
        (numbers(&first.items), numbers(&second.items), second.next),
        (vec![3, 2], vec![1], None)
    );
    let old = LayerFilter {
        runtime: Some("python3.11".to_owned()),
        architecture: None,
    };
    let found = control
        .layer_versions(account, &a, &old, &page(None, 50))
        .await
        .unwrap();
    assert_eq!(numbers(&found.items), [1]);
    let names = async |filter: &LayerFilter, request: &PageRequest| {
        let found = control.layers(account, filter, request).await.unwrap();
        let names = found
            .items
            .iter()
            .map(|item| format!("{}:{}", item.layer.name, item.version));
        (names.collect::<Vec<_>>().join(" "), found.next)
    };
    let (first, next) = names(&all, &page(None, 2)).await;
    assert_eq!(
        (first.as_str(), names(&all, &page(next, 2)).await),
        ("a:3 b:1", ("c:1".to_owned(), None))
    );
    assert_eq!(names(&old, &page(None, 50)).await, ("a:1 c:1".to_owned(), None));
    let none = LayerFilter {
        runtime: old.runtime.clone(),
        architecture: Some("x".to_owned()),
    };
    assert_eq!(names(&none, &page(None, 50)).await, (String::new(), None));
    let missing = control
        .layer_versions(account, &layer(&fixture, "none"), &all, &page(None, 1))
        .await
        .unwrap();
    assert!(missing.items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_policy() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let l = layer(&fixture, "l");
    publish(&fixture, "l", LayerDescription::default()).await;
    let permission = |id: &str| NewPermission {
        statement_id: id.to_owned(),
        action: "lambda:GetLayerVersion".to_owned(),
        principal: "*".to_owned(),
        ..NewPermission::default()
    };
    let none = "No policy is associated with the given resource.";
    check_error(control.layer_policy(&l, 1).await, "NotFound", none);
    let (statement, revision) = control
        .add_layer_permission(&l, 1, &permission("s1"), None)
        .await
        .unwrap();
    assert_eq!(statement.resource, fixture.arn("layer:l:1"));
    let policy = control.layer_policy(&l, 1).await.unwrap();
    assert_eq!(
        (policy.revision_id.as_str(), policy.statements),
        (revision.as_str(), vec![statement])
    );
    let wrong = "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve \
                 the latest Revision Id";
    let refused = control
        .add_layer_permission(&l, 1, &permission("s2"), Some("wrong"))
        .await;
    check_error(refused, "PreconditionFailed", wrong);
    check_error(
        control.remove_layer_permission(&l, 1, "s1", Some("wrong")).await,
        "PreconditionFailed",
        wrong,
    );
    check_error(
        control.remove_layer_permission(&l, 1, "none", None).await,
        "NotFound",
        "Statement none is not found in resource policy.",
    );
    let missing = format!("Layer version {} does not exist.", fixture.arn("layer:l:2"));
    check_error(control.layer_policy(&l, 2).await, "NotFound", &missing);
    check_error(
        control.add_layer_permission(&l, 2, &permission("s"), None).await,
        "NotFound",
        &missing,
    );
    control
        .remove_layer_permission(&l, 1, "s1", Some(&revision))
        .await
        .unwrap();
    check_error(control.layer_policy(&l, 1).await, "NotFound", none);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_layer_needs_a_permission() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let stranger: Account = "999999999999".parse().unwrap();
    let l = layer(&fixture, "l");
    let arn = publish(&fixture, "l", LayerDescription::default()).await.arn();
    let gone = "The resource you requested does not exist.";
    check_error(control.layer_version(&stranger, &l, 1).await, "NotFound", gone);
    let missing = format!("Layer version {arn} does not exist.");
    check_error(
        control.layer_codes(&stranger, std::slice::from_ref(&arn)).await,
        "Invalid",
        &missing,
    );
    let all = LayerFilter::default();
    assert!(
        control
            .layer_versions(&stranger, &l, &all, &page(None, 9))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let permission = NewPermission {
        statement_id: "s".to_owned(),
        action: "lambda:GetLayerVersion".to_owned(),
        principal: "999999999999".to_owned(),
        ..NewPermission::default()
    };
    control.add_layer_permission(&l, 1, &permission, None).await.unwrap();
    assert_eq!(control.layer_version(&stranger, &l, 1).await.unwrap().arn(), arn);
    assert_eq!(control.layer_codes(&stranger, &[arn]).await.unwrap(), [zip("l")]);
    let third: Account = "888888888888".parse().unwrap();
    check_error(control.layer_version(&third, &l, 1).await, "NotFound", gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_a_function_can_have() {
    let fixture = Fixture::new().await;
    for name in ["a", "a", "b"] {
        publish(&fixture, name, LayerDescription::default()).await;
    }
    let codes = async |names: &[&str]| {
        let arns: Vec<String> = names.iter().map(|name| fixture.arn(&format!("layer:{name}"))).collect();
        fixture.control.layer_codes(&fixture.account, &arns).await
    };
    assert_eq!(codes(&["b:1", "a:2"]).await.unwrap(), [zip("b"), zip("a")]);
    assert!(codes(&[]).await.unwrap().is_empty());
    check_error(
        codes(&["a:1"; 6]).await,
        "Invalid",
        "Cannot reference more than 5 layers.",
    );
    let (one, two) = (fixture.arn("layer:a:1"), fixture.arn("layer:a:2"));
    check_error(
        codes(&["a:1", "a:2"]).await,
        "Invalid",
        &format!(
            "Two different versions of the same layer are not allowed to be referenced in the same function. {one} and \
             {two} are versions of the same layer."
        ),
    );
    for name in ["a:9", "none:1", "a"] {
        let message = format!(
            "Layer version {} does not exist.",
            fixture.arn(&format!("layer:{name}"))
        );
        check_error(codes(&[name]).await, "Invalid", &message);
    }
    let far = "arn:aws:lambda:eu-west-1:123456789012:layer:a:1".to_owned();
    check_error(
        fixture.control.layer_codes(&fixture.account, &[far]).await,
        "Invalid",
        "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
    );
}
