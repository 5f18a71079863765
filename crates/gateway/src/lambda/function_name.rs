//! Names of functions: bare, partial ARNs and whole ARNs, with and without a qualifier.

use super::ApiError;
use crate::Gateway;
use chunk::Account;
use control::QualifiedName;

/// A function of the caller's account, perhaps one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionName {
    /// The bare name.
    pub(crate) name: String,
    /// A version, an alias or `$LATEST`.
    pub(crate) qualifier: Option<String>,
}

impl FunctionName {
    /// As the record wants it: without a qualifier it is the function itself, `$LATEST`.
    pub(crate) fn of<'a>(&'a self, account: &'a Account) -> QualifiedName<'a> {
        QualifiedName {
            account,
            name: &self.name,
            qualifier: self.qualifier.as_deref().unwrap_or("$LATEST"),
        }
    }
}

/// Reads `NAME`, `ACCOUNT:function:NAME`, `function:NAME`, `REGION:ACCOUNT:function:NAME` or an ARN, each with or without
/// `:QUALIFIER`, and joins it with the qualifier that the request names separately.
///
/// Another region, another account and two qualifiers that differ are errors; the model's pattern has been checked.
pub(crate) fn parse_function(
    gateway: &Gateway,
    account: &Account,
    name: &str,
    qualifier: Option<&str>,
) -> Result<FunctionName, ApiError> {
    parse(name, qualifier, &gateway.region, account)
}

fn parse(text: &str, qualifier: Option<&str>, region: &str, account: &Account) -> Result<FunctionName, ApiError> {
    let named = NameParts::read(text);
    if let Some(other) = named.region.filter(|named| *named != region) {
        let message = format!("Functions from '{other}' are not reachable in this region ('{region}')");
        return Err(ApiError::new("ResourceNotFoundException", message));
    }
    if let Some(other) = named.account.filter(|named| *named != account.as_str()) {
        return Err(of_another_account(account, &named, region, other));
    }
    match (named.qualifier, qualifier) {
        (Some(inner), Some(outer)) if inner != outer => Err(ApiError::new(
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        )),
        (inner, outer) => Ok(FunctionName {
            name: named.name.to_owned(),
            qualifier: inner.or(outer).map(str::to_owned),
        }),
    }
}

/// What a caller gets who names a function of another account, whether it exists or not.
fn of_another_account(account: &Account, named: &NameParts<'_>, region: &str, owner: &str) -> ApiError {
    let mut arn = format!("arn:aws:lambda:{region}:{owner}:function:{}", named.name);
    if let Some(qualifier) = named.qualifier {
        arn.push(':');
        arn.push_str(qualifier);
    }
    let message = format!("User: arn:aws:iam::{account}:root is not authorized to use the resource: {arn}");
    ApiError::new("AccessDeniedException", message)
}

/// What a name says, whatever its form; nothing of it is checked.
pub(crate) struct NameParts<'a> {
    pub(crate) region: Option<&'a str>,
    pub(crate) account: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) qualifier: Option<&'a str>,
}

impl<'a> NameParts<'a> {
    /// Reads from the left what the model's pattern lets stand there, each part at most once.
    pub(crate) fn read(text: &'a str) -> Self {
        let mut rest = strip_arn(text);
        let region = take_part(&mut rest, |part| {
            part.contains('-') && part.ends_with(|last: char| last.is_ascii_digit())
        });
        let account = take_part(&mut rest, |part| {
            part.len() == 12 && part.bytes().all(|byte| byte.is_ascii_digit())
        });
        // A region can only be told from a function's name by what follows it.
        let (region, rest) = if region.is_some() && account.is_none() && !rest.starts_with("function:") {
            (None, strip_arn(text))
        } else {
            (region, rest)
        };
        let rest = rest.strip_prefix("function:").unwrap_or(rest);
        match rest.split_once(':') {
            Some((name, qualifier)) => Self {
                region,
                account,
                name,
                qualifier: Some(qualifier),
            },
            None => Self {
                region,
                account,
                name: rest,
                qualifier: None,
            },
        }
    }
}

fn strip_arn(text: &str) -> &str {
    let after = text.strip_prefix("arn:").and_then(|rest| rest.split_once(":lambda:"));
    after.map_or(text, |(_, rest)| rest)
}

/// Takes a part off the front, if one more part follows it.
fn take_part<'a>(rest: &mut &'a str, is_part: impl Fn(&str) -> bool) -> Option<&'a str> {
    let (part, after) = rest.split_once(':')?;
    if !is_part(part) {
        return None;
    }
    *rest = after;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, qualifier: Option<&str>, expected: Result<(&str, Option<&str>), &str>) {
        let account: Account = "123456789012".parse().unwrap();
        let read = parse(text, qualifier, "us-east-1", &account);
        let read = read.map(|name| (name.name, name.qualifier)).map_err(|error| error.code);
        let expected = expected.map(|(name, qualifier)| (name.to_owned(), qualifier.map(str::to_owned)));
        assert_eq!(read, expected, "{text} {qualifier:?}");
    }

    #[test]
    fn all_spellings_of_a_name() {
        check("hello", None, Ok(("hello", None)));
        check("hello:prod", None, Ok(("hello", Some("prod"))));
        check("hello", Some("prod"), Ok(("hello", Some("prod"))));
        check("hello:$LATEST", Some("$LATEST"), Ok(("hello", Some("$LATEST"))));
        check("function:hello", None, Ok(("hello", None)));
        check("123456789012:function:hello", None, Ok(("hello", None)));
        check("123456789012:function:hello:7", None, Ok(("hello", Some("7"))));
        check("us-east-1:123456789012:function:hello", None, Ok(("hello", None)));
        check(
            "arn:aws:lambda:us-east-1:123456789012:function:hello",
            None,
            Ok(("hello", None)),
        );
        check(
            "arn:aws:lambda:us-east-1:123456789012:function:hello:7",
            None,
            Ok(("hello", Some("7"))),
        );
        check(
            "arn:aws-us-gov:lambda:us-east-1:123456789012:function:hello",
            None,
            Ok(("hello", None)),
        );
        check("my-name-1:prod", None, Ok(("my-name-1", Some("prod"))));
    }

    #[test]
    fn what_cannot_be_reached_is_an_error() {
        check("hello:a", Some("b"), Err("InvalidParameterValueException"));
        check(
            "arn:aws:lambda:eu-west-1:123456789012:function:hello",
            None,
            Err("ResourceNotFoundException"),
        );
        check(
            "arn:aws:lambda:us-east-1:999999999999:function:hello",
            None,
            Err("AccessDeniedException"),
        );
        check("999999999999:function:hello", None, Err("AccessDeniedException"));
    }
}
