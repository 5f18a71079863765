use super::*;

const RESOURCE: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";

fn permission(principal: &str, action: &str) -> NewPermission {
    NewPermission {
        statement_id: "s".to_owned(),
        action: action.to_owned(),
        principal: principal.to_owned(),
        ..NewPermission::default()
    }
}

fn check_text(permission: &NewPermission, expected: &str) {
    let statement = permission.statement(RESOURCE).unwrap();
    assert_eq!(serde_json::to_string(&statement).unwrap(), expected);
}

#[test]
fn statements_read_as_lambda_writes_them() {
    let tail = r#""Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:123456789012:function:f""#;
    let action = "lambda:InvokeFunction";
    let head = r#"{"Sid":"s","Effect":"Allow","Principal":"#;
    check_text(&permission("*", action), &format!(r#"{head}"*",{tail}}}"#));
    check_text(
        &permission("s3.amazonaws.com", action),
        &format!(r#"{head}{{"Service":"s3.amazonaws.com"}},{tail}}}"#),
    );
    let root = r#"{"AWS":"arn:aws:iam::999999999999:root"}"#;
    check_text(&permission("999999999999", action), &format!("{head}{root},{tail}}}"));
    check_text(
        &permission("arn:aws:iam::999999999999:root", action),
        &format!("{head}{root},{tail}}}"),
    );
    let all = NewPermission {
        source_arn: Some("arn:aws:s3:::b".to_owned()),
        source_account: Some("123456789012".to_owned()),
        function_url_auth_type: Some("NONE".to_owned()),
        principal_org_id: Some("o-1234567890".to_owned()),
        ..permission("*", action)
    };
    let condition = r#""Condition":{"StringEquals":{"AWS:SourceAccount":"123456789012","aws:PrincipalOrgID":"o-1234567890","lambda:FunctionUrlAuthType":"NONE"},"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"}}"#;
    check_text(&all, &format!(r#"{head}"*",{tail},{condition}}}"#));
}

#[test]
fn unknown_principals_are_refused() {
    for principal in [
        "invalid.nonaws.com",
        "",
        ".amazonaws.com",
        "12345678901",
        "arn:aws:s3:::bucket",
        "a b.amazonaws.com",
    ] {
        assert_eq!(
            permission(principal, "*").statement(RESOURCE),
            Err(PrincipalInvalid),
            "{principal}"
        );
    }
}

fn check_allows(permission: &NewPermission, caller: Option<&str>, url_auth_type: Option<&str>, expected: bool) {
    let caller: Option<Account> = caller.map(|text| text.parse().unwrap());
    let question = PolicyQuestion {
        action: "lambda:InvokeFunctionUrl",
        caller: caller.as_ref(),
        url_auth_type,
    };
    let statement = permission.statement(RESOURCE).unwrap();
    assert_eq!(statement.allows(&question), expected, "{permission:?} {question:?}");
}

#[test]
fn only_what_a_statement_says_is_allowed() {
    let url = "lambda:InvokeFunctionUrl";
    let public = NewPermission {
        function_url_auth_type: Some("NONE".to_owned()),
        ..permission("*", url)
    };
    check_allows(&public, None, Some("NONE"), true);
    check_allows(&public, None, Some("AWS_IAM"), false);
    check_allows(&public, None, None, false);
    check_allows(&permission("*", url), None, Some("NONE"), true);
    check_allows(&permission("*", "lambda:*"), None, Some("NONE"), true);
    check_allows(&permission("*", "*"), None, Some("NONE"), true);
    check_allows(&permission("*", "lambda:InvokeFunction"), None, Some("NONE"), false);
    check_allows(&permission("999999999999", url), None, Some("NONE"), false);
    for (principal, caller, expected) in [
        ("999999999999", "999999999999", true),
        ("999999999999", "888888888888", false),
        ("s3.amazonaws.com", "999999999999", false),
    ] {
        check_allows(&permission(principal, url), Some(caller), Some("AWS_IAM"), expected);
    }
}

#[test]
fn conditions_that_a_caller_cannot_show_are_not_met() {
    let check = |set: fn(&mut NewPermission), expected| {
        let mut public = permission("*", "lambda:InvokeFunctionUrl");
        set(&mut public);
        check_allows(&public, None, Some("NONE"), expected);
    };
    check(|public| public.source_arn = Some("*".to_owned()), false);
    check(|public| public.source_account = Some("1".to_owned()), false);
    check(|public| public.principal_org_id = Some("o".to_owned()), false);
    check(|public| public.invoked_via_function_url = Some(true), true);
    check(|public| public.invoked_via_function_url = Some(false), false);
}
