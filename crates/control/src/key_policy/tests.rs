//! Decisions by example, and laws over any policy.

use super::pattern::matches;
use super::{Decision, KeyPolicy};
use proptest::prelude::*;
use serde_json::{Value, json};

const SCORE: &str = "arn:aws:lambda:us-east-1:123456789012:function:score";

fn policy(statements: &Value) -> KeyPolicy {
    let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    KeyPolicy::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn check(statements: &Value, cases: &[(&str, &str, Decision)]) {
    let policy = policy(statements);
    for (action, resource, expected) in cases {
        assert_eq!(
            policy.decide(action, resource),
            *expected,
            "{policy:?}: {action} on {resource}"
        );
    }
}

#[test]
fn nothing_is_allowed_that_no_statement_allows() {
    use Decision::{Allowed, NotAllowed};
    check(
        &json!({"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": SCORE}),
        &[
            ("lambda:InvokeFunction", SCORE, Allowed),
            ("lambda:invokefunction", SCORE, Allowed),
            ("lambda:InvokeFunctionUrl", SCORE, NotAllowed),
            ("lambda:GetFunction", SCORE, NotAllowed),
            ("logs:InvokeFunction", SCORE, NotAllowed),
            ("lambda:InvokeFunction", &format!("{SCORE}:live"), NotAllowed),
            ("lambda:InvokeFunction", &SCORE.to_uppercase(), NotAllowed),
            ("lambda:InvokeFunction", "*", NotAllowed),
        ],
    );
}

#[test]
fn what_denies_wins_whatever_the_order() {
    use Decision::{Allowed, Denied};
    let allow = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    let deny = json!({"Effect": "Deny", "Action": ["lambda:Delete*", "ecr:*"], "Resource": "*"});
    for statements in [json!([allow, deny]), json!([deny, allow])] {
        check(
            &statements,
            &[
                ("lambda:GetFunction", SCORE, Allowed),
                ("lambda:DeleteFunction", SCORE, Denied),
                ("ecr:PutImage", "arn:aws:ecr:us-east-1:1:repository/a", Denied),
                ("lambda:ListFunctions", "*", Allowed),
            ],
        );
    }
}

#[test]
fn not_action_and_not_resource_are_all_others() {
    use Decision::{Allowed, Denied, NotAllowed};
    check(
        &json!([
            {"Effect": "Allow", "NotAction": "lambda:Delete*", "Resource": "*"},
            {"Effect": "Deny", "Action": "lambda:InvokeFunction", "NotResource": [SCORE, format!("{SCORE}:*")]},
        ]),
        &[
            ("lambda:DeleteFunction", SCORE, NotAllowed),
            ("logs:FilterLogEvents", "*", Allowed),
            ("lambda:InvokeFunction", SCORE, Allowed),
            ("lambda:InvokeFunction", &format!("{SCORE}:live"), Allowed),
            ("lambda:InvokeFunction", &format!("{SCORE}s"), Denied),
        ],
    );
}

#[test]
fn a_star_stays_within_its_part_of_an_arn() {
    use Decision::{Allowed, NotAllowed};
    check(
        &json!([{"Effect": "Allow", "Action": "lambda:*", "Resource": "arn:aws:lambda:*:123456789012:function:s?ore*"}]),
        &[
            ("lambda:X", SCORE, Allowed),
            ("lambda:X", &format!("{SCORE}-two:live"), Allowed),
            (
                "lambda:X",
                "arn:aws:lambda:us-east-1:999999999999:function:score",
                NotAllowed,
            ),
            (
                "lambda:X",
                "arn:aws:lambda:a:999999999999:b:123456789012:function:score",
                NotAllowed,
            ),
            (
                "lambda:X",
                "arn:aws:lambda:us-east-1:123456789012:function:sore",
                NotAllowed,
            ),
        ],
    );
}

#[test]
fn what_is_not_evaluated_is_refused_by_its_name() {
    let good = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    let with = |key: &str, value: Value| {
        let mut statement = good.clone();
        statement[key] = value;
        json!({"Version": "2012-10-17", "Statement": [good, statement]})
    };
    let cases = [
        (
            with("Condition", json!({})),
            "statement 2 of the policy: Condition is not evaluated",
        ),
        (with("Principal", json!("*")), "Principal is not evaluated"),
        (with("Resourc", json!("*")), "Resourc is not evaluated"),
        (with("NotAction", json!("*")), "exactly one of Action and NotAction"),
        (
            with("NotResource", json!("*")),
            "exactly one of Resource and NotResource",
        ),
        (with("Effect", json!("allow")), "Effect must be Allow or Deny"),
        (with("Action", json!([])), "Action is empty"),
        (with("Action", json!(7)), "Action must be a text or a list"),
        (with("Action", json!("InvokeFunction")), "is no action"),
        (with("Action", json!("lam*:InvokeFunction")), "is no action"),
        (with("Action", json!("lambda:Invoke Function")), "is no action"),
        (with("Resource", json!("function:score")), "is no resource"),
        (with("Resource", json!("arn:aws:lambda:*")), "six parts"),
        (
            with("Resource", json!("arn:aws:lambda:*:*:function:${aws:username}")),
            "policy variable",
        ),
        (with("Sid", json!(1)), "Sid is no text"),
        (json!({"Version": "2012-10-17", "Statement": []}), "no statement"),
        (
            json!({"Version": "2013-01-01", "Statement": good}),
            "Version is \"2013-01-01\"",
        ),
        (json!({"Statement": good}), "Version"),
        (json!({"Version": "2012-10-17"}), "Statement"),
        (
            json!({"Version": "2012-10-17", "Statement": good, "Conditions": 1}),
            "Conditions",
        ),
        (json!([good]), "not of IAM's form"),
    ];
    for (document, part) in cases {
        let error = KeyPolicy::parse(&document.to_string()).unwrap_err().to_string();
        assert!(error.contains(part), "{document}: {error}");
    }
    assert!(KeyPolicy::parse("no json").is_err());
    let long = json!({"Version": "2012-10-17", "Id": "x".repeat(7000), "Statement": good}).to_string();
    assert!(KeyPolicy::parse(&long).unwrap_err().to_string().contains("6,144"));
}

/// The obvious way, which takes exponential time.
fn matches_plainly(pattern: &[char], text: &[char]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some('*'), _) => {
            matches_plainly(&pattern[1..], text) || (!text.is_empty() && matches_plainly(pattern, &text[1..]))
        }
        (Some('?'), Some(_)) => matches_plainly(&pattern[1..], &text[1..]),
        (Some(one), Some(other)) if one == other => matches_plainly(&pattern[1..], &text[1..]),
        _ => false,
    }
}

fn characters(letters: &'static str, count: usize) -> impl Strategy<Value = Vec<char>> {
    let letters: Vec<char> = letters.chars().collect();
    prop::collection::vec(prop::sample::select(letters), 0..count)
}

fn statement() -> impl Strategy<Value = Value> {
    let action = prop::sample::select(vec!["*", "lambda:*", "lambda:Get*", "lambda:GetFunction", "logs:*"]);
    let resource = prop::sample::select(vec!["*", "arn:aws:lambda:*:*:function:*", SCORE, "arn:aws:logs:*:*:*"]);
    (any::<[bool; 3]>(), action, resource).prop_map(|([allow, not_action, not_resource], action, resource)| {
        let name = |not: bool, name: &str| if not { format!("Not{name}") } else { name.to_owned() };
        json!({
            "Effect": if allow { "Allow" } else { "Deny" },
            name(not_action, "Action"): action,
            name(not_resource, "Resource"): resource,
        })
    })
}

fn question() -> impl Strategy<Value = (&'static str, &'static str)> {
    let action = prop::sample::select(vec!["lambda:GetFunction", "lambda:InvokeFunction", "logs:GetLogEvents"]);
    let logs = "arn:aws:logs:us-east-1:123456789012:log-group:a:log-stream:";
    (action, prop::sample::select(vec![SCORE, logs, "*"]))
}

proptest! {
    #[test]
    fn patterns_match_as_the_obvious_way_says(pattern in characters("ab*?", 10), text in characters("ab", 12)) {
        prop_assert_eq!(matches(&pattern, &text), matches_plainly(&pattern, &text));
    }

    #[test]
    fn a_statement_more_that_denies_never_allows_more(
        statements in prop::collection::vec(statement(), 1..5), mut more in statement(), (action, resource) in question()
    ) {
        more["Effect"] = json!("Deny");
        let before = policy(&json!(statements)).decide(action, resource);
        let after = policy(&json!([statements, vec![more]].concat())).decide(action, resource);
        prop_assert!(after == before || after == Decision::Denied);
    }

    #[test]
    fn a_statement_more_that_allows_never_denies_more(
        statements in prop::collection::vec(statement(), 1..5), mut more in statement(), (action, resource) in question()
    ) {
        more["Effect"] = json!("Allow");
        let before = policy(&json!(statements)).decide(action, resource);
        let after = policy(&json!([statements, vec![more]].concat())).decide(action, resource);
        prop_assert!(after == before || (before, after) == (Decision::NotAllowed, Decision::Allowed));
    }

    #[test]
    fn the_order_of_statements_does_not_matter(
        mut statements in prop::collection::vec(statement(), 1..6), (action, resource) in question()
    ) {
        let before = policy(&json!(statements)).decide(action, resource);
        statements.reverse();
        prop_assert_eq!(policy(&json!(statements)).decide(action, resource), before);
    }

    #[test]
    fn any_text_is_a_policy_or_an_error(text in ".{0,200}") {
        let _ = KeyPolicy::parse(&text);
    }
}
