use super::*;
use crate::{Cors, FunctionUrlChange, NewPermission, PolicyTarget};

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

/// What a request to the URL meets: its type and whether anybody may call; none if there is no such URL.
async fn served(control: &Control, id: &str) -> Option<(String, bool)> {
    let url = control.function_url_by_id(id).await.unwrap()?;
    let may = control.may_invoke_url(&url, None).await.unwrap();
    Some((url.auth_type, may))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_follows_every_write() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let live = fixture.named("f", "live");
    let id = control.create_function_url(&live, change("NONE")).await.unwrap().id;
    let none = |may| Some(("NONE".to_owned(), may));
    assert_eq!(served(control, &id).await, none(false));
    let target = PolicyTarget {
        account,
        name: "f",
        qualifier: Some("live"),
        revision_id: None,
    };
    let public = NewPermission {
        statement_id: "public".to_owned(),
        action: "lambda:InvokeFunctionUrl".to_owned(),
        principal: "*".to_owned(),
        ..NewPermission::default()
    };
    control.add_permission(&target, &public).await.unwrap();
    assert_eq!(served(control, &id).await, none(true));
    control.remove_permission(&target, "public").await.unwrap();
    assert_eq!(served(control, &id).await, none(false));
    control.update_function_url(&live, change("AWS_IAM")).await.unwrap();
    assert_eq!(served(control, &id).await, Some(("AWS_IAM".to_owned(), false)));
    control.delete_function_url(&live).await.unwrap();
    assert_eq!(served(control, &id).await, None);

    let own = fixture.named("f", "$LATEST");
    let id = control.create_function_url(&own, change("NONE")).await.unwrap().id;
    assert_eq!(served(control, &id).await, none(false));
    control.delete_function(account, "f", None).await.unwrap();
    assert_eq!(served(control, &id).await, None);
}

/// In memory: the row is taken away behind the record's back.
#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_was_called_is_not_read_again() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let latest = fixture.named("f", "$LATEST");
    let id = control.create_function_url(&latest, change("NONE")).await.unwrap().id;
    assert!(served(control, &id).await.is_some());
    sqlx::query("DELETE FROM function_urls")
        .execute(control.pool())
        .await
        .unwrap();
    assert!(served(control, &id).await.is_some());
}
