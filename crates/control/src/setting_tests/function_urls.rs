use super::*;
use crate::{Cors, FunctionUrlChange};

fn change(auth_type: &str) -> FunctionUrlChange {
    FunctionUrlChange {
        auth_type: Some(auth_type.to_owned()),
        ..FunctionUrlChange::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_url() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let (latest, live) = (fixture.named("f", "$LATEST"), fixture.named("f", "live"));
    let own = control.create_function_url(&latest, change("NONE")).await.unwrap();
    assert_eq!(own.function_arn, fixture.arn("function:f"));
    assert_eq!(
        (own.invoke_mode.as_str(), own.qualifier.clone(), own.cors.clone()),
        ("BUFFERED", None, None)
    );
    assert_eq!(own.id.len(), 32);
    assert!(
        own.id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
        "{}",
        own.id
    );
    check_error(
        control.create_function_url(&latest, change("NONE")).await,
        "Conflict",
        &format!(
            "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig exists for \
             this Lambda function",
            fixture.arn("function:f")
        ),
    );
    let alias = control.create_function_url(&live, change("AWS_IAM")).await.unwrap();
    assert_eq!(alias.function_arn, fixture.arn("function:f:live"));
    assert_ne!(alias.id, own.id);
    assert_eq!(
        control.function_url_by_id(&alias.id).await.unwrap(),
        Some(alias.clone())
    );
    assert_eq!(control.function_url_by_id("none").await.unwrap(), None);

    let cors = Cors {
        allow_origins: Some(vec!["*".to_owned()]),
        max_age: Some(60),
        ..Cors::default()
    };
    let both = FunctionUrlChange {
        invoke_mode: Some("RESPONSE_STREAM".to_owned()),
        cors: Some(cors.clone()),
        ..FunctionUrlChange::default()
    };
    control.update_function_url(&live, both).await.unwrap();
    let updated = control.update_function_url(&live, change("NONE")).await.unwrap();
    let found = control.function_url(&live).await.unwrap();
    assert_eq!(found, updated);
    assert_eq!(
        (found.auth_type.as_str(), found.invoke_mode.as_str()),
        ("NONE", "RESPONSE_STREAM")
    );
    assert_eq!((found.cors, &found.id), (Some(cors), &alias.id));

    let first = control.function_urls(account, "f", &page(None, 1)).await.unwrap();
    let second = control.function_urls(account, "f", &page(first.next, 1)).await.unwrap();
    assert_eq!(
        (&first.items[0].id, &second.items[0].id, second.next),
        (&own.id, &alias.id, None)
    );

    control.delete_function_url(&latest).await.unwrap();
    let gone = "The resource you requested does not exist.";
    check_error(control.function_url(&latest).await, "NotFound", gone);
    check_error(control.delete_function_url(&latest).await, "NotFound", gone);
    control.delete_alias(account, "f", "live").await.unwrap();
    assert_eq!(
        control.function_url_by_id(&alias.id).await.unwrap(),
        None,
        "it goes with its alias"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_url() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let gone = "The resource you requested does not exist.";
    for (name, qualifier) in [("none", "$LATEST"), ("f", "none")] {
        let target = fixture.named(name, qualifier);
        check_error(
            control.create_function_url(&target, change("NONE")).await,
            "NotFound",
            "Function does not exist",
        );
        check_error(
            control.update_function_url(&target, change("NONE")).await,
            "NotFound",
            "Function does not exist",
        );
        check_error(control.function_url(&target).await, "NotFound", gone);
        check_error(control.delete_function_url(&target).await, "NotFound", gone);
    }
    check_error(
        control
            .update_function_url(&fixture.named("f", "live"), change("NONE"))
            .await,
        "NotFound",
        gone,
    );
    let listed = control.function_urls(&fixture.account, "none", &page(None, 1)).await;
    check_error(listed, "NotFound", "Function does not exist");
}
