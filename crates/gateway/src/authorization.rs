//! Whether somebody who was authenticated may do what was asked.
//!
//! ```text
//! signature, or the registry's password ─> Caller ─ the key's policy ─> of the own account: allowed
//!                                                                  └─> a function of another account: and its own policy
//! ```
//! Two kinds of policy decide, as in IAM. What hangs on the key says what its holder may do at all; a key without one may
//! do everything in its account. What hangs on a function lets other accounts invoke it; nothing else of an account can
//! be reached from another, but for the layers that it shares, which `control` looks after.
//!
//! `lambda` and `json` name the action and the resource of every operation; the registry has its own page.

mod json;
mod lambda;

pub(crate) use json::check as check_json;
pub(crate) use lambda::{admit_invocation, check as check_lambda, function_arn};

use crate::lambda::ApiError;
use chunk::Account;
use control::{AccessKey, Decision, KeyPolicy};
use std::sync::Arc;

/// Who asks, as far as it was proved.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) account: Account,
    /// The access key's id.
    pub(crate) key_id: String,
    policy: Option<Arc<KeyPolicy>>,
}

/// Somebody may not do what was asked; says who, what, on what and why in AWS's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("User: {user} is not authorized to perform: {action} on resource: {resource} {reason}")]
pub(crate) struct NotAuthorized {
    user: String,
    action: String,
    resource: String,
    reason: String,
}

impl Caller {
    /// The holder of a key.
    pub(crate) fn of(key: AccessKey) -> Self {
        Self {
            account: key.account,
            key_id: key.id,
            policy: key.policy,
        }
    }

    /// A key without a policy speaks for its account, as AWS's root user does; one with a policy is a user of its own.
    pub(crate) fn arn(&self) -> String {
        match self.policy {
            None => format!("arn:aws:iam::{}:root", self.account),
            Some(_) => format!("arn:aws:iam::{}:user/{}", self.account, self.key_id),
        }
    }

    /// What `GetCallerIdentity` calls its id.
    pub(crate) fn user_id(&self) -> &str {
        match self.policy {
            None => self.account.as_str(),
            Some(_) => &self.key_id,
        }
    }

    /// Whether there is anything to decide: for those who would have to find out the resource first.
    pub(crate) const fn is_limited(&self) -> bool {
        self.policy.is_some()
    }

    /// Whether the key's policy allows an action, such as `lambda:InvokeFunction`, on an ARN or on `*`.
    pub(crate) fn check(&self, action: &str, resource: &str) -> Result<(), NotAuthorized> {
        let Some(policy) = &self.policy else { return Ok(()) };
        match policy.decide(action, resource) {
            Decision::Allowed => Ok(()),
            Decision::Denied => Err(self.refused(
                action,
                resource,
                "with an explicit deny in an identity-based policy".to_owned(),
            )),
            Decision::NotAllowed => {
                let reason = format!("because no identity-based policy allows the {action} action");
                Err(self.refused(action, resource, reason))
            }
        }
    }

    /// What somebody gets whom the policy of another account's resource does not let in.
    pub(crate) fn not_let_in(&self, action: &str, resource: &str) -> NotAuthorized {
        let reason = format!("because no resource-based policy allows the {action} action");
        self.refused(action, resource, reason)
    }

    /// What somebody gets whose input cannot be read as a policy would have to read it.
    pub(crate) fn not_readable(&self, action: &str) -> NotAuthorized {
        let reason = "because its input is no JSON that names a resource".to_owned();
        self.refused(action, "*", reason)
    }

    fn refused(&self, action: &str, resource: &str, reason: String) -> NotAuthorized {
        NotAuthorized {
            user: self.arn(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            reason,
        }
    }

    #[cfg(test)]
    pub(crate) fn limited(policy: &str) -> Self {
        Self {
            account: "123456789012".parse().expect("twelve digits are an account"),
            key_id: "AKIATEST".to_owned(),
            policy: Some(Arc::new(KeyPolicy::parse(policy).expect("a test's policy is one"))),
        }
    }
}

impl From<NotAuthorized> for ApiError {
    fn from(refused: NotAuthorized) -> Self {
        Self::new("AccessDeniedException", refused.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_in_awss_words() {
        let statements = r#"[{"Effect": "Allow", "Action": "lambda:Get*", "Resource": "*"},
                             {"Effect": "Deny", "Action": "lambda:GetPolicy", "Resource": "*"}]"#;
        let caller = Caller::limited(&format!(r#"{{"Version": "2012-10-17", "Statement": {statements}}}"#));
        let check = |action: &str| {
            caller
                .check(action, "arn:aws:lambda:r:1:function:f")
                .map_err(|error| error.to_string())
        };
        assert_eq!(check("lambda:GetFunction"), Ok(()));
        assert_eq!(
            check("lambda:InvokeFunction").unwrap_err(),
            "User: arn:aws:iam::123456789012:user/AKIATEST is not authorized to perform: lambda:InvokeFunction on \
             resource: arn:aws:lambda:r:1:function:f because no identity-based policy allows the lambda:InvokeFunction \
             action"
        );
        assert_eq!(
            check("lambda:GetPolicy").unwrap_err(),
            "User: arn:aws:iam::123456789012:user/AKIATEST is not authorized to perform: lambda:GetPolicy on \
             resource: arn:aws:lambda:r:1:function:f with an explicit deny in an identity-based policy"
        );
    }
}
