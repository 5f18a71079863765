//! Who an ARN names.

use crate::messaging::QueueArn;

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
}
