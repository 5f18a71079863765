//! Which queues and topics an account's functions may name.
//!
//! All are asked with the operator's credentials, which cannot tell accounts apart, and a function has no role whose
//! policy could. So what a role would say is said here: an account's own queues and topics, by the number in the ARN, and
//! those that the operator has given it.

use super::{Messaging, MessagingError, SendError};
use chunk::Account;
use control::KeyPolicy;
use serde_json::json;

/// For whom, and what: a policy whose statement allows an ARN pattern.
pub(super) struct Grant {
    /// None is every account.
    account: Option<Account>,
    policy: KeyPolicy,
}

/// What a grant's policy is asked about.
const ACTION: &str = "lambent:UseMessages";

impl Grant {
    /// `account` is a number or `*`; `resource` an ARN whose parts may have `*` and `?`.
    pub(super) fn parse(account: &str, resource: &str) -> Result<Self, MessagingError> {
        let failed = |reason: String| MessagingError::Access {
            grant: format!("{account}={resource}"),
            reason,
        };
        let account = match account {
            "*" => None,
            number => Some(
                number
                    .parse()
                    .map_err(|error: chunk::AccountParseError| failed(error.to_string()))?,
            ),
        };
        let statement = json!({"Effect": "Allow", "Action": ACTION, "Resource": resource});
        let document = json!({"Version": "2012-10-17", "Statement": [statement]});
        let policy = KeyPolicy::parse(&document.to_string()).map_err(|error| failed(error.to_string()))?;
        Ok(Self { account, policy })
    }

    fn covers(&self, account: &Account, arn: &str) -> bool {
        let speaks = self.account.as_ref().is_none_or(|of| of == account);
        speaks && self.policy.decide(ACTION, arn) == control::Decision::Allowed
    }
}

impl Messaging {
    /// Whether an account's functions may name a queue or a topic.
    ///
    /// # Errors
    /// They may not: final, with what the operator can do about it.
    pub(crate) fn check_access(&self, account: &Account, arn: &str) -> Result<(), SendError> {
        let is_own = arn.split(':').nth(4) == Some(account.as_str());
        if is_own || self.0.grants.iter().any(|grant| grant.covers(account, arn)) {
            return Ok(());
        }
        let reason = format!(
            "it is not of account {account}. Its operator can allow it: lambent up --message-access {account}={arn}"
        );
        Err(SendError::new(format!("use {arn}"), reason).for_ever())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "111122223333";

    fn check(grant: (&str, &str), account: &str, arn: &str, expected: bool) {
        let account = account.parse().unwrap();
        let covers = Grant::parse(grant.0, grant.1).unwrap().covers(&account, arn);
        assert_eq!(covers, expected, "{grant:?} {account} {arn}");
    }

    #[test]
    fn a_grant_is_for_its_account_and_its_pattern() {
        let arn = "arn:aws:sqs:eu-west-1:123456789012:jobs";
        let grant = (OWN, "arn:aws:sqs:*:123456789012:job?");
        check(grant, OWN, arn, true);
        check(grant, "444455556666", arn, false);
        check(("*", grant.1), "444455556666", arn, true);
        check(grant, OWN, "arn:aws:sns:eu-west-1:123456789012:jobs", false);
        check(grant, OWN, "arn:aws:sqs:eu-west-1:999999999999:jobs", false);
        check(grant, OWN, "arn:aws:sqs:eu-west-1:123456789012:jobs-2", false);
        check(("*", "*"), OWN, arn, true);
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for (account, resource, expected) in [
            ("me", "*", "me=*"),
            (OWN, "jobs", "is no resource"),
            (OWN, "arn:aws:sqs:*:${aws:x}:q", "policy variable"),
        ] {
            let error = Grant::parse(account, resource).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
