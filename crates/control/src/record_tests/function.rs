use super::*;
use crate::configuration::Variables;
use crate::validation::own_architecture;
use crate::{CodeUpdate, FunctionList, LastUpdate, PageRequest};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_function_has_lambdas_defaults() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let mut new = zip_function("hello");
    new.tags = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    let created = control.create_function(account, new).await.unwrap();
    assert_eq!(
        created.arn,
        format!("arn:aws:lambda:us-east-1:{account}:function:hello")
    );
    assert_eq!(
        (created.version.as_str(), created.lifecycle.state),
        ("$LATEST", State::Pending)
    );
    let reason = created.lifecycle.state_reason.unwrap();
    assert_eq!(
        (reason.code.as_str(), reason.text.as_str()),
        ("Creating", "The function is being created.")
    );
    let settings = created.configuration;
    assert_eq!((settings.timeout_s, settings.memory_mb, settings.tmp_mb), (3, 128, 512));
    assert_eq!(
        (settings.tracing.as_str(), settings.snap_start.as_str()),
        ("PassThrough", "None")
    );
    assert_eq!(
        (settings.architecture.as_str(), settings.logging.group.as_str()),
        (own_architecture(), "/aws/lambda/hello")
    );
    let expected = zip("#!/bin/sh\n");
    assert_eq!(created.code.bytes(), expected.len() as u64);
    assert_eq!(control.function_code(account, "hello", None).await.unwrap(), expected);
    assert_eq!(control.function_tags(account, "hello").await.unwrap()["team"], "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_becomes_a_lease() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let published = control
        .create_function(
            account,
            NewFunction {
                publish: true,
                ..zip_function("hello")
            },
        )
        .await
        .unwrap();
    assert_eq!(
        (published.version.as_str(), published.lifecycle.state),
        ("1", State::Pending)
    );
    assert!(is_active(&fixture.settled("hello", None).await));
    assert!(is_active(&fixture.settled("hello", Some("1")).await));
    let lease = control.resolve(account, "hello", Some("1"), 0.5).await.unwrap().lease;
    assert_eq!(lease.program.arguments, ["/var/task/bootstrap"]);
    assert_eq!(lease.program.runtime.as_deref(), Some("provided.al2023"));
    assert_eq!(lease.overlays.len(), 2);

    let update = update_of(CodeSource::Zip(zip("#!/bin/bash\n")));
    let second = control
        .update_code(
            account,
            "hello",
            CodeUpdate {
                publish: true,
                ..update
            },
        )
        .await
        .unwrap();
    assert_eq!(second.version, "2");
    assert!(is_active(&fixture.settled("hello", Some("2")).await));
    let newer = control.resolve(account, "hello", Some("2"), 0.5).await.unwrap().lease;
    assert_ne!(newer.overlays, lease.overlays, "another device");
    let kept = control.resolve(account, "hello", Some("1"), 0.5).await.unwrap().lease;
    assert_eq!(kept.revision, lease.revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_cannot_be_prepared_says_why() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    control
        .create_function(account, python_function("hello"))
        .await
        .unwrap();
    let failed = fixture.settled("hello", None).await;
    assert_eq!(
        (failed.lifecycle.state, failed.lifecycle.last_update),
        (State::Failed, LastUpdate::Failed)
    );
    let reason = failed.lifecycle.state_reason.unwrap();
    assert!(reason.text.contains("python3.11"), "{reason:?}");
    let refused = control.resolve(account, "hello", None, 0.5).await.unwrap_err();
    assert!(
        matches!(&refused, ControlError::Conflict { message } if message.contains("state: Failed")),
        "{refused:?}"
    );

    let settings = Settings {
        runtime: Some("provided.al2023".into()),
        ..Settings::default()
    };
    let repaired = control
        .update_configuration(account, "hello", settings, None)
        .await
        .unwrap();
    assert_eq!(repaired.lifecycle.state, State::Pending);
    assert!(is_active(&fixture.settled("hello", None).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_create_function_refuses() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let create = async |change: fn(&mut NewFunction)| {
        let mut new = zip_function("hello");
        change(&mut new);
        control.create_function(account, new).await
    };
    check_error(
        create(|new| new.settings.handler = None).await,
        "Invalid",
        "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
    );
    check_error(
        create(|new| new.code = CodeSource::Image("localhost:9000/a".into())).await,
        "Invalid",
        "Please don't provide ImageUri when the intended function PackageType is Zip.",
    );
    check_error(
        create(|new| {
            new.package_type = PackageType::Image;
            new.settings = Settings::default();
        })
        .await,
        "Invalid",
        "Please don't provide ZipFile or S3 parameters when the intended function PackageType is Image.",
    );
    let broken = create(|new| new.code = CodeSource::Zip(Bytes::from_static(b"not a zip"))).await;
    assert!(
        matches!(&broken, Err(ControlError::Package(error)) if error.is_request()),
        "{broken:?}"
    );
    check_error(
        control.function(account, "hello", None).await,
        "NotFound",
        &missing(account, "hello"),
    );
    create(|_| {}).await.unwrap();
    check_error(create(|_| {}).await, "Conflict", "Function already exist: hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_there() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.active("hello").await;
    for qualifier in ["1", "0", "007", "live", "99999999999999999999"] {
        let expected = missing(account, &format!("hello:{qualifier}"));
        check_error(
            control.function(account, "hello", Some(qualifier)).await,
            "NotFound",
            &expected,
        );
        check_error(
            control.resolve(account, "hello", Some(qualifier), 0.5).await.map(drop),
            "NotFound",
            &expected,
        );
    }
    assert_eq!(
        control
            .function(account, "hello", Some("$LATEST"))
            .await
            .unwrap()
            .version,
        "$LATEST"
    );
    let other = control.create_account(None).await.unwrap().account;
    check_error(
        control.function(&other, "hello", None).await,
        "NotFound",
        &missing(&other, "hello"),
    );
    check_error(
        control.resolve(&other, "hello", None, 0.5).await.map(drop),
        "NotFound",
        &missing(&other, "hello"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_progress_until_it_is_prepared() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let before = fixture.active("hello").await;
    let settings = Settings {
        memory_mb: Some(256),
        environment: Some(Variables(BTreeMap::from([("A".to_owned(), "b".to_owned())]))),
        ..Settings::default()
    };
    let changed = control
        .update_configuration(account, "hello", settings, None)
        .await
        .unwrap();
    assert_eq!(
        (changed.lifecycle.state, changed.lifecycle.last_update),
        (State::Active, LastUpdate::InProgress)
    );
    assert_ne!(changed.revision_id, before.revision_id);
    let after = fixture.settled("hello", None).await;
    assert_eq!(
        (after.lifecycle.last_update, after.configuration.memory_mb),
        (LastUpdate::Successful, 256)
    );
    assert_eq!(after.revision_id, changed.revision_id);
    let lease = control.resolve(account, "hello", None, 0.5).await.unwrap().lease;
    assert_eq!(lease.memory_mb, 256);
    assert_eq!(lease.program.environment, [("A".to_owned(), "b".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_prepared_leaves_the_old_one_running() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    control.create_function(account, zip_function("hello")).await.unwrap();
    fixture.settled("hello", None).await;
    let old = control.resolve(account, "hello", None, 0.5).await.unwrap().lease;
    let settings = Settings {
        runtime: Some("python3.11".into()),
        ..Settings::default()
    };
    control
        .update_configuration(account, "hello", settings, None)
        .await
        .unwrap();
    let failed = fixture.settled("hello", None).await;
    assert_eq!(
        (failed.lifecycle.state, failed.lifecycle.last_update),
        (State::Active, LastUpdate::Failed)
    );
    assert!(failed.lifecycle.last_update_reason.is_some());
    assert_eq!(failed.configuration.runtime.as_deref(), Some("python3.11"));
    let running = control.resolve(account, "hello", None, 0.5).await.unwrap().lease;
    assert_eq!(running.revision, old.revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_keeps_nothing() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    control.create_function(account, zip_function("hello")).await.unwrap();
    let before = fixture.settled("hello", None).await;
    let update = update_of(CodeSource::Zip(zip("#!/bin/bash\n")));
    let tried = control
        .update_code(
            account,
            "hello",
            CodeUpdate {
                dry_run: true,
                ..update
            },
        )
        .await
        .unwrap();
    assert_ne!(tried.code, before.code);
    let after = control.function(account, "hello", None).await.unwrap();
    assert_eq!((after.code, after.revision_id), (before.code, before.revision_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn code_of_the_wrong_kind() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.active("image").await;
    control.create_function(account, zip_function("zip")).await.unwrap();
    fixture.settled("zip", None).await;
    let update = async |name: &str, code: CodeSource| control.update_code(account, name, update_of(code)).await;
    check_error(
        update("image", CodeSource::Zip(zip(""))).await,
        "Invalid",
        "Please provide ImageUri when updating a function with packageType Image.",
    );
    check_error(
        update("zip", CodeSource::Image("localhost:9000/a".into())).await,
        "Invalid",
        "Please don't provide ImageUri when updating a function with packageType Zip.",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_writers_wins() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let revision = fixture.active("hello").await.revision_id;
    let writers = (0..16).map(|number| {
        let (control, account, revision) = (control.clone(), account.clone(), revision.clone());
        tokio::spawn(async move {
            let settings = Settings {
                memory_mb: Some(200 + number),
                ..Settings::default()
            };
            control
                .update_configuration(&account, "hello", settings, Some(&revision))
                .await
        })
    });
    let mut won = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            Ok(record) => won.push(record.configuration.memory_mb),
            Err(ControlError::PreconditionFailed { .. } | ControlError::Conflict { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(fixture.settled("hello", None).await.configuration.memory_mb, won[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_listed_by_name() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    for number in (0..7).rev() {
        fixture.active(&format!("f{number}")).await;
    }
    control
        .publish_version(account, "f3", crate::PublishRequest::default())
        .await
        .unwrap();
    let list = async |list: FunctionList, items_max: Option<u32>| {
        let mut request = PageRequest {
            marker: None,
            items_max,
        };
        let mut names = Vec::new();
        loop {
            let page = control.functions(account, list, &request).await.unwrap();
            names.extend(
                page.items
                    .into_iter()
                    .map(|record| format!("{}:{}", record.name, record.number)),
            );
            if page.next.is_none() {
                return names.join(" ");
            }
            request.marker = page.next;
        }
    };
    for items_max in [None, Some(1), Some(3), Some(7), Some(10_000)] {
        assert_eq!(
            list(FunctionList::Latest, items_max).await,
            "f0:0 f1:0 f2:0 f3:0 f4:0 f5:0 f6:0"
        );
        assert_eq!(
            list(FunctionList::AllVersions, items_max).await,
            "f0:0 f1:0 f2:0 f3:0 f3:1 f4:0 f5:0 f6:0"
        );
    }
    let other = control.create_account(None).await.unwrap().account;
    let theirs = control
        .functions(&other, FunctionList::Latest, &PageRequest::default())
        .await
        .unwrap();
    assert!(theirs.items.is_empty() && theirs.next.is_none());
    let request = PageRequest {
        marker: Some("%%%".into()),
        items_max: None,
    };
    let refused = control.functions(account, FunctionList::Latest, &request).await;
    assert!(matches!(refused, Err(ControlError::Invalid { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_function_leaves_nothing() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.active("hello").await;
    control
        .publish_version(account, "hello", crate::PublishRequest::default())
        .await
        .unwrap();
    let tags = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    control.tag_function(account, "hello", &tags).await.unwrap();
    control.resolve(account, "hello", Some("1"), 0.5).await.unwrap();
    check_error(
        control.delete_function(account, "hello", Some("$LATEST")).await,
        "Invalid",
        "$LATEST version cannot be deleted without deleting the function.",
    );
    check_error(
        control.delete_function(account, "hello", Some("live")).await,
        "Invalid",
        "Deletion of aliases is not currently supported.",
    );
    control.delete_function(account, "hello", Some("99")).await.unwrap();
    control.delete_function(account, "hello", None).await.unwrap();
    check_error(
        control.delete_function(account, "hello", None).await,
        "NotFound",
        &missing(account, "hello"),
    );
    check_error(
        control.resolve(account, "hello", Some("1"), 0.5).await.map(drop),
        "NotFound",
        &missing(account, "hello:1"),
    );
    assert!(control.revisions_in_use(account, "hello").await.unwrap().is_empty());
    assert!(control.function_tags(account, "hello").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn links_give_one_zip() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let record = control.create_function(account, zip_function("hello")).await.unwrap();
    let token = control.code_token(&record).unwrap();
    assert_eq!(control.code_by_token(&token).await.unwrap(), zip("#!/bin/sh\n"));
    let (claims, tag) = token.split_once('.').unwrap();
    for broken in [
        claims.to_owned(),
        format!("{claims}.{}", &tag[1..]),
        format!("A{token}"),
        String::new(),
    ] {
        assert!(
            matches!(control.code_by_token(&broken).await, Err(ControlError::NotFound { .. })),
            "{broken}"
        );
    }
    assert!(control.code_token(&fixture.active("image").await).is_none());
}

fn update_of(code: CodeSource) -> CodeUpdate {
    CodeUpdate {
        code,
        architecture: None,
        publish: false,
        dry_run: false,
        revision_id: None,
    }
}

fn missing(account: &Account, name: &str) -> String {
    format!("Function not found: arn:aws:lambda:us-east-1:{account}:function:{name}")
}
