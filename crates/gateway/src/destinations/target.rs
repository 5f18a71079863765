//! Who an ARN names.

use crate::Gateway;
use crate::messaging::{QueueArn, SendError};
use chunk::Account;

/// Somebody who can be told of events.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// SQS.
    Queue(QueueArn),
    /// SNS, by the whole ARN.
    Topic(&'a str),
    /// A function of ours.
    Function {
        account: &'a str,
        name: &'a str,
        qualifier: Option<&'a str>,
    },
    /// An HTTP endpoint, by the name that the operator gave it.
    Http(&'a str),
}

impl<'a> Target<'a> {
    /// None if nothing of the kind can be told.
    pub(crate) fn parse(arn: &'a str) -> Option<Self> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", _, service, _, account, resource] = parts[..] else {
            return None;
        };
        match service {
            "sqs" => QueueArn::parse(arn).map(Self::Queue),
            "sns" => Some(Self::Topic(arn)),
            "lambda" => {
                let function = resource.strip_prefix("function:")?;
                let (name, qualifier) = match function.split_once(':') {
                    Some((name, qualifier)) => (name, Some(qualifier)),
                    None => (function, None),
                };
                Some(Self::Function {
                    account,
                    name,
                    qualifier,
                })
            }
            // EventBridge writes `api-destination/NAME/UUID`; here a name is enough.
            "events" => {
                let name = resource.strip_prefix("api-destination/")?;
                Some(Self::Http(name.split('/').next().unwrap_or(name)))
            }
            _ => None,
        }
    }

    /// Whether an account's functions may name it: of queues and topics not all. Of functions none but its own are told.
    pub(crate) fn check_access(&self, gateway: &Gateway, account: &Account, arn: &str) -> Result<(), SendError> {
        match self {
            Self::Queue(_) | Self::Topic(_) => gateway.messaging.check_access(account, arn),
            Self::Function { .. } | Self::Http(_) => Ok(()),
        }
    }

    /// What a target shares with no other: of an HTTP endpoint its name, for which there are many ARNs.
    pub(crate) fn endpoint(arn: &'a str) -> &'a str {
        match Self::parse(arn) {
            Some(Self::Http(name)) => name,
            _ => arn,
        }
    }

    /// The one name by which an account's deliveries to a target are kept, however its ARN is written.
    pub(crate) fn one_name(arn: &'a str, region: &str, account: &Account) -> String {
        match Self::parse(arn) {
            Some(Self::Http(name)) => format!("arn:aws:events:{region}:{account}:api-destination/{name}"),
            _ => arn.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_by_their_arns() {
        let check = |arn, expected| assert_eq!(Target::parse(arn), expected, "{arn}");
        let topic = "arn:aws:sns:us-east-1:123456789012:t";
        check(topic, Some(Target::Topic(topic)));
        check(
            "arn:aws:lambda:us-east-1:123456789012:function:f:live",
            Some(Target::Function {
                account: "123456789012",
                name: "f",
                qualifier: Some("live"),
            }),
        );
        check(
            "arn:aws:events:us-east-1:123456789012:api-destination/hook",
            Some(Target::Http("hook")),
        );
        check(
            "arn:aws:events:us-east-1:123456789012:api-destination/hook/uuid",
            Some(Target::Http("hook")),
        );
        check("arn:aws:events:us-east-1:123456789012:event-bus/default", None);
        check("arn:aws:s3:::bucket", None);
        check("arn:aws:lambda:us-east-1:123456789012:layer:l", None);
        check("", None);
        assert!(matches!(
            Target::parse("arn:aws:sqs:us-east-1:123456789012:q"),
            Some(Target::Queue(_))
        ));
    }

    #[test]
    fn an_http_endpoint_has_one_name() {
        let account = "111122223333".parse().unwrap();
        let name = |arn: &str| Target::one_name(arn, "us-east-1", &account);
        let plain = "arn:aws:events:us-east-1:111122223333:api-destination/hook";
        for arn in [
            plain,
            "arn:aws-cn:events:elsewhere:444455556666:api-destination/hook/a/b",
        ] {
            assert_eq!((name(arn).as_str(), Target::endpoint(arn)), (plain, "hook"));
        }
        let queue = "arn:aws:sqs:eu-west-1:444455556666:q";
        assert_eq!((name(queue).as_str(), Target::endpoint(queue)), (queue, queue));
    }
}
