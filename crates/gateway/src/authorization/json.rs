//! Actions and resources of the services that speak JSON 1.1.
//!
//! Source: the service authorization reference's pages of CloudWatch Logs, Elastic Container Registry and Application
//! Auto Scaling. A log group without a stream is `…:log-group:NAME:log-stream:`, as AWS's own refusals say it, so that the
//! usual `…:log-group:NAME:*` covers it.

use super::{Caller, NotAuthorized};
use crate::Gateway;
use chunk::Account;
use serde_json::Value;

/// Members that name a log group.
const LOG_GROUP_MEMBERS: [&str; 2] = ["logGroupName", "logGroupIdentifier"];

/// Whether the key's policy allows an operation. `service` is the signing name.
pub(crate) fn check(
    gateway: &Gateway,
    caller: &Caller,
    (service, operation): (&str, &str),
    body: &[u8],
) -> Result<(), NotAuthorized> {
    if !caller.is_limited() {
        return Ok(());
    }
    let action = format!("{service}:{operation}");
    // Handlers read less strictly: they skip members that they do not know, whatever is in them.
    let input: Value = match body {
        [] => Value::Null,
        body => serde_json::from_slice(body).map_err(|_| caller.not_readable(&action))?,
    };
    let mut resources = resources((&gateway.region, &caller.account), (service, operation), &input).into_iter();
    resources.try_for_each(|resource| caller.check(&action, &resource))
}

/// All that must be allowed; never nothing.
fn resources((region, account): (&str, &Account), (service, operation): (&str, &str), input: &Value) -> Vec<String> {
    let own = format!("arn:aws:{service}:{region}:{account}");
    match (service, operation) {
        // Members that these two do not read narrow nothing.
        ("logs", "DescribeLogGroups") => vec![format!("{own}:log-group::log-stream:")],
        ("ecr", "DescribeRepositories") => {
            repositories(&own, &serde_json::json!({"repositoryNames": input["repositoryNames"]}))
        }
        // No other operation reads one stream: what is named beside the group must not make the group look smaller.
        ("logs", "GetLogEvents") => log_streams(&own, input, input["logStreamName"].as_str().unwrap_or_default()),
        ("logs", _) => log_streams(&own, input, ""),
        ("ecr", "GetAuthorizationToken") => vec!["*".to_owned()],
        ("ecr", _) => repositories(&own, input),
        ("application-autoscaling", _) => vec![format!("{own}:scalable-target/*")],
        _ => vec!["*".to_owned()],
    }
}

/// One for each member that names a group, since a handler may take either.
fn log_streams(own: &str, input: &Value, stream: &str) -> Vec<String> {
    let arn = |group: &str| format!("{own}:log-group:{group}:log-stream:{stream}");
    let groups = LOG_GROUP_MEMBERS.iter().filter_map(|name| input[name].as_str());
    let named: Vec<String> = groups
        .map(|group| match group.split_once(":log-group:") {
            Some((_, name)) => arn(name.strip_suffix(":*").unwrap_or(name)),
            None => arn(group),
        })
        .collect();
    if named.is_empty() { vec![arn("")] } else { named }
}

fn repositories(own: &str, input: &Value) -> Vec<String> {
    let one = input["repositoryName"].as_str();
    let more = input["repositoryNames"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let named: Vec<String> = one
        .into_iter()
        .chain(more)
        .map(|name| format!("{own}:repository/{name}"))
        .collect();
    if named.is_empty() {
        return vec![format!("{own}:repository/*")];
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resources_are_named_as_policies_name_them() {
        let account: Account = "123456789012".parse().unwrap();
        let check = |service: &str, operation: &str, input: Value, expected: &[&str]| {
            let found = resources(("us-east-1", &account), (service, operation), &input);
            assert_eq!(found, expected, "{service}:{operation} {input}");
        };
        let logs = "arn:aws:logs:us-east-1:123456789012:log-group";
        let group = format!("{logs}:/aws/lambda/f:log-stream:");
        check(
            "logs",
            "FilterLogEvents",
            json!({"logGroupName": "/aws/lambda/f"}),
            &[&group],
        );
        check(
            "logs",
            "FilterLogEvents",
            json!({"logGroupIdentifier": format!("{logs}:/aws/lambda/f")}),
            &[&group],
        );
        check(
            "logs",
            "GetLogEvents",
            json!({"logGroupName": "/aws/lambda/f", "logStreamName": "s"}),
            &[&format!("{group}s")],
        );
        for operation in ["DeleteLogGroup", "FilterLogEvents", "DescribeLogStreams"] {
            check(
                "logs",
                operation,
                json!({"logGroupName": "/aws/lambda/f", "logStreamName": "s"}),
                &[&group],
            );
        }
        check(
            "logs",
            "DescribeLogGroups",
            json!({}),
            &[&format!("{logs}::log-stream:")],
        );
        check(
            "logs",
            "DescribeLogGroups",
            Value::Null,
            &[&format!("{logs}::log-stream:")],
        );
        let repository = "arn:aws:ecr:us-east-1:123456789012:repository";
        check(
            "ecr",
            "CreateRepository",
            json!({"repositoryName": "a/b"}),
            &[&format!("{repository}/a/b")],
        );
        check(
            "ecr",
            "DescribeRepositories",
            json!({"repositoryNames": ["a", "b"]}),
            &[&format!("{repository}/a"), &format!("{repository}/b")],
        );
        check("ecr", "DescribeRepositories", json!({}), &[&format!("{repository}/*")]);
        check(
            "ecr",
            "DescribeRepositories",
            json!({"repositoryName": "mine"}),
            &[&format!("{repository}/*")],
        );
        check(
            "logs",
            "DescribeLogGroups",
            json!({"logGroupName": "/aws/lambda/mine"}),
            &[&format!("{logs}::log-stream:")],
        );
        check("ecr", "GetAuthorizationToken", json!({}), &["*"]);
    }
}
