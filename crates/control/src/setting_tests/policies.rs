use super::*;
use crate::{FunctionUrlChange, NewPermission, PolicyTarget};

fn target<'a>(fixture: &'a Fixture, name: &'a str, qualifier: Option<&'a str>) -> PolicyTarget<'a> {
    PolicyTarget {
        account: &fixture.account,
        name,
        qualifier,
        revision_id: None,
    }
}

fn permission(id: &str, principal: &str) -> NewPermission {
    NewPermission {
        statement_id: id.to_owned(),
        action: "lambda:InvokeFunction".to_owned(),
        principal: principal.to_owned(),
        ..NewPermission::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_policy() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let f = target(&fixture, "f", None);
    check_error(
        control.function_policy(&f).await,
        "NotFound",
        "The resource you requested does not exist.",
    );
    check_error(
        control.remove_permission(&f, "a").await,
        "NotFound",
        "No policy is associated with the given resource.",
    );
    let statement = control
        .add_permission(&f, &permission("a", "s3.amazonaws.com"))
        .await
        .unwrap();
    assert_eq!(statement.resource, fixture.arn("function:f"));
    control.add_permission(&f, &permission("b", "*")).await.unwrap();
    check_error(
        control.add_permission(&f, &permission("b", "*")).await,
        "Conflict",
        "The statement id (b) provided already exists. Please provide a new statement id, or remove the existing \
         statement.",
    );
    let policy = control.function_policy(&f).await.unwrap();
    let arn = fixture.arn("function:f");
    assert_eq!(
        policy.document(),
        format!(
            r#"{{"Version":"2012-10-17","Id":"default","Statement":[{{"Sid":"a","Effect":"Allow","Principal":{{"Service":"s3.amazonaws.com"}},"Action":"lambda:InvokeFunction","Resource":"{arn}"}},{{"Sid":"b","Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunction","Resource":"{arn}"}}]}}"#
        )
    );
    check_error(
        control.remove_permission(&f, "none").await,
        "NotFound",
        "Statement none is not found in resource policy.",
    );
    control.remove_permission(&f, "a").await.unwrap();
    let changed = control.function_policy(&f).await.unwrap();
    assert_ne!(changed.revision_id, policy.revision_id);
    assert_eq!(changed.statements.len(), 1);
    control.remove_permission(&f, "b").await.unwrap();
    check_error(
        control.function_policy(&f).await,
        "NotFound",
        "The resource you requested does not exist.",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_policy() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let check = async |name: &str, qualifier: Option<&str>, principal: &str, kind: &str, message: &str| {
        let target = target(&fixture, name, qualifier);
        check_error(
            control.add_permission(&target, &permission("a", principal)).await,
            kind,
            message,
        );
    };
    check(
        "f",
        Some("$LATEST"),
        "*",
        "Invalid",
        "We currently do not support adding policies for $LATEST.",
    )
    .await;
    let bad = "The provided principal was invalid. Please check the principal and try again.";
    check("f", None, "invalid.nonaws.com", "Invalid", bad).await;
    let missing = |rest: &str| format!("Function not found: {}", fixture.arn(rest));
    check("g", None, "*", "NotFound", &missing("function:g")).await;
    check("f", Some("42"), "*", "NotFound", &missing("function:f:42")).await;
    check("f", Some("with-$"), "*", "NotFound", &missing("function:f:with-$")).await;
    let alias = format!("Cannot find alias arn: {}", fixture.arn("function:f:none"));
    check("f", Some("none"), "*", "NotFound", &alias).await;
    check_error(
        control.remove_permission(&target(&fixture, "g", None), "a").await,
        "NotFound",
        &format!("No policy found for: {}", fixture.arn("function:g")),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_revision_changes_nothing() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let live = target(&fixture, "f", Some("live"));
    control.add_permission(&live, &permission("a", "*")).await.unwrap();
    let policy = control.function_policy(&live).await.unwrap();
    let wrong = PolicyTarget {
        revision_id: Some("wrong"),
        ..live
    };
    let message = |api: &str| {
        format!(
            "The Revision Id provided does not match the latest Revision Id. Call the {api} API to retrieve the latest \
             Revision Id"
        )
    };
    let added = control.add_permission(&wrong, &permission("b", "*")).await;
    check_error(added, "PreconditionFailed", &message("GetPolicy"));
    check_error(
        control.remove_permission(&wrong, "a").await,
        "PreconditionFailed",
        &message("GetFunction/GetAlias"),
    );
    let right = PolicyTarget {
        revision_id: Some(&policy.revision_id),
        ..live
    };
    control.add_permission(&right, &permission("b", "*")).await.unwrap();
    let stale = control.add_permission(&right, &permission("c", "*")).await;
    check_error(stale, "PreconditionFailed", &message("GetPolicy"));
    assert_eq!(control.function_policy(&live).await.unwrap().statements.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_has_a_limit() {
    let fixture = Fixture::new().await;
    let f = target(&fixture, "f", None);
    let long = |id: usize| NewPermission {
        source_arn: Some(format!("arn:aws:s3:::{}", "b".repeat(4_000))),
        ..permission(&format!("s{id}"), "s3.amazonaws.com")
    };
    for id in 0..4 {
        fixture.control.add_permission(&f, &long(id)).await.unwrap();
    }
    let error = fixture.control.add_permission(&f, &long(4)).await.unwrap_err();
    assert!(matches!(error, ControlError::PolicyLengthExceeded { .. }), "{error}");
    assert!(
        error.to_string().ends_with("is bigger than the limit (20480)."),
        "{error}"
    );
    assert_eq!(fixture.control.function_policy(&f).await.unwrap().statements.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_needs_a_permission() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let stranger: Account = "999999999999".parse().unwrap();
    let change = |auth_type: &str| FunctionUrlChange {
        auth_type: Some(auth_type.to_owned()),
        ..Default::default()
    };
    let open = control
        .create_function_url(&fixture.named("f", "live"), change("NONE"))
        .await
        .unwrap();
    assert!(!control.may_invoke_url(&open, None).await.unwrap());
    assert!(
        !control.may_invoke_url(&open, Some(&fixture.account)).await.unwrap(),
        "NONE asks nobody who they are"
    );
    let public = NewPermission {
        action: "lambda:InvokeFunctionUrl".to_owned(),
        function_url_auth_type: Some("NONE".to_owned()),
        ..permission("public", "*")
    };
    control
        .add_permission(&target(&fixture, "f", None), &public)
        .await
        .unwrap();
    assert!(
        !control.may_invoke_url(&open, None).await.unwrap(),
        "the function's policy is not its alias's"
    );
    control
        .add_permission(&target(&fixture, "f", Some("live")), &public)
        .await
        .unwrap();
    assert!(control.may_invoke_url(&open, None).await.unwrap());

    let signed = control
        .create_function_url(&fixture.named("f", "$LATEST"), change("AWS_IAM"))
        .await
        .unwrap();
    assert!(!control.may_invoke_url(&signed, None).await.unwrap());
    assert!(control.may_invoke_url(&signed, Some(&fixture.account)).await.unwrap());
    assert!(!control.may_invoke_url(&signed, Some(&stranger)).await.unwrap());
    let named = NewPermission {
        action: "lambda:InvokeFunctionUrl".to_owned(),
        ..permission("x", "999999999999")
    };
    control
        .add_permission(&target(&fixture, "f", None), &named)
        .await
        .unwrap();
    assert!(control.may_invoke_url(&signed, Some(&stranger)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_go_with_what_they_hang_on() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    for qualifier in [None, Some("live"), Some("1")] {
        control
            .add_permission(&target(&fixture, "f", qualifier), &permission("a", "*"))
            .await
            .unwrap();
    }
    control.delete_alias(&fixture.account, "f", "live").await.unwrap();
    let gone = "The resource you requested does not exist.";
    check_error(
        control.function_policy(&target(&fixture, "f", Some("live"))).await,
        "NotFound",
        gone,
    );
    assert!(control.function_policy(&target(&fixture, "f", Some("1"))).await.is_ok());
    control.delete_function(&fixture.account, "f", None).await.unwrap();
    check_error(
        control.function_policy(&target(&fixture, "f", Some("1"))).await,
        "NotFound",
        gone,
    );
    check_error(
        control.function_policy(&target(&fixture, "f", None)).await,
        "NotFound",
        gone,
    );
}
