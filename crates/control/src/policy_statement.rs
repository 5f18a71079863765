//! Statements of resource policies: how Lambda writes them and what they allow.
//!
//! Lambda's policies are a small part of IAM's language: every statement allows, names one action, one resource and one
//! principal, and carries conditions of a fixed list. This evaluates exactly that part. A condition whose value a
//! caller cannot show (a source ARN, an organization) is not met: the answer is then no.

use chunk::Account;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of a whole policy document. Lambda's limit for function policies, 20 KB.
pub(crate) const POLICY_BYTES_MAX: usize = 20_480;

/// One statement; its fields are in the order in which Lambda writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// Its name, unique in the policy.
    pub sid: String,
    /// Always `Allow`.
    pub effect: String,
    /// Who may.
    pub principal: Principal,
    /// Such as `lambda:InvokeFunction`.
    pub action: String,
    /// The ARN that the policy hangs on.
    pub resource: String,
    /// What else must hold; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
}

/// Who a statement is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Principal {
    /// `*`: anybody.
    Anybody(String),
    /// `{"Service": "s3.amazonaws.com"}` or `{"AWS": "arn:aws:iam::123456789012:root"}`.
    Named(BTreeMap<String, String>),
}

/// Conditions: all must hold. Operator, then key, then value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Condition {
    /// Keys that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub string_equals: BTreeMap<String, String>,
    /// Keys that must match these ARN patterns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arn_like: BTreeMap<String, String>,
    /// Keys that must be `true` or `false`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bool: BTreeMap<String, String>,
}

/// What AddPermission and AddLayerVersionPermission ask for.
#[derive(Clone, Debug, Default)]
pub struct NewPermission {
    /// Name of the statement.
    pub statement_id: String,
    /// Such as `lambda:InvokeFunction`.
    pub action: String,
    /// `*`, an account, an ARN of IAM, or a service's domain.
    pub principal: String,
    /// Value of `AWS:SourceArn`, an ARN with wildcards.
    pub source_arn: Option<String>,
    /// Value of `AWS:SourceAccount`.
    pub source_account: Option<String>,
    /// Value of `lambda:EventSourceToken`.
    pub event_source_token: Option<String>,
    /// Value of `aws:PrincipalOrgID`.
    pub principal_org_id: Option<String>,
    /// Value of `lambda:FunctionUrlAuthType`.
    pub function_url_auth_type: Option<String>,
    /// Value of `lambda:InvokedViaFunctionUrl`.
    pub invoked_via_function_url: Option<bool>,
}

/// A question to a policy.
#[derive(Clone, Copy, Debug)]
pub struct PolicyQuestion<'a> {
    /// Such as `lambda:InvokeFunctionUrl`.
    pub action: &'a str,
    /// Who asks; none is an anonymous caller.
    pub caller: Option<&'a Account>,
    /// `NONE` or `AWS_IAM` if the call came through a function URL.
    pub url_auth_type: Option<&'a str>,
}

/// A principal that is none of the kinds that Lambda knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The provided principal was invalid. Please check the principal and try again.")]
pub struct PrincipalInvalid;

impl NewPermission {
    /// The statement that Lambda stores for this permission on a resource.
    pub(crate) fn statement(&self, resource: &str) -> Result<Statement, PrincipalInvalid> {
        Ok(Statement {
            sid: self.statement_id.clone(),
            effect: "Allow".to_owned(),
            principal: Principal::parse(&self.principal)?,
            action: self.action.clone(),
            resource: resource.to_owned(),
            condition: self.condition(),
        })
    }

    fn condition(&self) -> Option<Condition> {
        let mut condition = Condition::default();
        let equals = [
            ("lambda:FunctionUrlAuthType", &self.function_url_auth_type),
            ("aws:PrincipalOrgID", &self.principal_org_id),
            ("AWS:SourceAccount", &self.source_account),
            ("lambda:EventSourceToken", &self.event_source_token),
        ];
        for (key, value) in equals {
            if let Some(value) = value {
                condition.string_equals.insert(key.to_owned(), value.clone());
            }
        }
        if let Some(arn) = &self.source_arn {
            condition.arn_like.insert("AWS:SourceArn".to_owned(), arn.clone());
        }
        if let Some(via_url) = self.invoked_via_function_url {
            condition
                .bool
                .insert("lambda:InvokedViaFunctionUrl".to_owned(), via_url.to_string());
        }
        (condition != Condition::default()).then_some(condition)
    }
}

impl Principal {
    fn parse(text: &str) -> Result<Self, PrincipalInvalid> {
        let named = |kind: &str, value: String| Ok(Self::Named(BTreeMap::from([(kind.to_owned(), value)])));
        if text == "*" {
            Ok(Self::Anybody(text.to_owned()))
        } else if text.parse::<Account>().is_ok() {
            named("AWS", root_of(text))
        } else if text.starts_with("arn:aws") && text.contains(":iam::") {
            named("AWS", text.to_owned())
        } else if is_service(text) {
            named("Service", text.to_owned())
        } else {
            Err(PrincipalInvalid)
        }
    }

    fn is(&self, caller: Option<&Account>) -> bool {
        match self {
            Self::Anybody(text) => text == "*",
            Self::Named(names) => names.get("AWS").is_some_and(|name| {
                name == "*" || caller.is_some_and(|caller| name == caller.as_str() || *name == root_of(caller.as_str()))
            }),
        }
    }
}

impl Statement {
    /// Whether this statement says yes.
    #[must_use]
    pub fn allows(&self, question: &PolicyQuestion<'_>) -> bool {
        self.effect == "Allow"
            && action_covers(&self.action, question.action)
            && self.principal.is(question.caller)
            && self
                .condition
                .as_ref()
                .is_none_or(|condition| condition.holds(question))
    }
}

impl Condition {
    fn holds(&self, question: &PolicyQuestion<'_>) -> bool {
        let equals = self.string_equals.iter().all(|(key, value)| {
            key.eq_ignore_ascii_case("lambda:FunctionUrlAuthType") && question.url_auth_type == Some(value.as_str())
        });
        let bools = self.bool.iter().all(|(key, value)| {
            let via_url = question.url_auth_type.is_some().to_string();
            key.eq_ignore_ascii_case("lambda:InvokedViaFunctionUrl") && *value == via_url
        });
        equals && bools && self.arn_like.is_empty()
    }
}

/// `lambda:*` and `*` cover everything of Lambda; names of actions are compared without regard to case, as IAM does.
fn action_covers(stated: &str, asked: &str) -> bool {
    stated == "*" || stated.eq_ignore_ascii_case("lambda:*") || stated.eq_ignore_ascii_case(asked)
}

fn root_of(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// Domains under which AWS names its services.
fn is_service(text: &str) -> bool {
    [".amazonaws.com", ".amazonaws.com.cn", ".amazon.com"]
        .iter()
        .any(|domain| {
            text.strip_suffix(domain).is_some_and(|name| {
                !name.is_empty()
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
            })
        })
}

#[cfg(test)]
mod tests;
