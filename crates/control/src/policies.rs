//! Resource policies of functions and of layer versions.
//!
//! A policy hangs on one resource: a function, one of its versions, one of its aliases, or a version of a layer. It
//! has a RevisionId of its own, new with each change; a caller who names one changes the policy only if nobody else did.

use crate::column::{document, document_text};
use crate::policy_statement::POLICY_BYTES_MAX;
use crate::{Control, ControlError, FunctionUrl, NewPermission, PolicyQuestion, QualifiedName, Statement};
use chunk::Account;
use serde::Serialize;
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

/// Policies, one for each resource that has one.
///
/// | column | value |
/// |---|---|
/// | kind | `function` or `layer` |
/// | qualifier | `$LATEST`, a version's number or an alias's name |
/// | statements | JSON list, oldest first, never empty |
/// | revision | UUID, new with each change |
pub(crate) const SCHEMA: &[&str] = &["CREATE TABLE IF NOT EXISTS policies (
    account TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, qualifier TEXT NOT NULL,
    statements TEXT NOT NULL, revision TEXT NOT NULL, PRIMARY KEY (account, kind, name, qualifier))"];

/// The resource that a policy hangs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicyKey<'a> {
    pub(crate) account: &'a Account,
    pub(crate) kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) qualifier: &'a str,
}

/// Value of the column `kind`.
pub(crate) const KIND_FUNCTION: &str = "function";
/// Value of the column `kind`.
pub(crate) const KIND_LAYER: &str = "layer";

/// A function, a version or an alias, and what the caller knows of its policy.
#[derive(Clone, Copy, Debug)]
pub struct PolicyTarget<'a> {
    /// The owner.
    pub account: &'a Account,
    /// The function.
    pub name: &'a str,
    /// A version or an alias; none is the function itself.
    pub qualifier: Option<&'a str>,
    /// If given, the change is made only if this is the current one.
    pub revision_id: Option<&'a str>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    /// Oldest first.
    pub statements: Vec<Statement>,
    /// New with each change.
    pub revision_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    version: &'static str,
    id: &'static str,
    statement: &'a [Statement],
}

impl PolicyRecord {
    /// The document as Lambda writes it.
    #[must_use]
    pub fn document(&self) -> String {
        let document = Document {
            version: "2012-10-17",
            id: "default",
            statement: &self.statements,
        };
        serde_json::to_string(&document).expect("strings and maps of strings are always JSON")
    }

    /// Whether a statement says yes.
    #[must_use]
    pub fn allows(&self, question: &PolicyQuestion<'_>) -> bool {
        self.statements.iter().any(|statement| statement.allows(question))
    }
}

impl Control {
    /// Adds a statement to a function's policy and gives it as it was stored.
    ///
    /// Errors: no such function; `$LATEST`, which has no policy; a principal that is none; the statement's name is taken;
    /// another revision; the policy would be too long.
    pub async fn add_permission(
        &self,
        target: &PolicyTarget<'_>,
        permission: &NewPermission,
    ) -> Result<Statement, ControlError> {
        if target.qualifier == Some("$LATEST") {
            return Err(ControlError::invalid(
                "We currently do not support adding policies for $LATEST.",
            ));
        }
        let function = self.qualified(&target.name()).await?;
        let resource = self.qualified_arn(target.account, target.name, target.qualifier);
        let statement = permission
            .statement(&resource)
            .map_err(|error| ControlError::invalid(error.to_string()))?;
        let known = Known {
            revision_id: target.revision_id,
            also: Some(&function.revision_id),
            api: "GetPolicy",
        };
        self.add_statement(target.key(), statement.clone(), known).await?;
        Ok(statement)
    }

    /// A function's policy.
    ///
    /// Errors: there is none, in Lambda's words.
    pub async fn function_policy(&self, target: &PolicyTarget<'_>) -> Result<PolicyRecord, ControlError> {
        let found = self.policy(target.key()).await?;
        found.ok_or_else(|| ControlError::not_found("The resource you requested does not exist."))
    }

    /// Removes a statement; the last one takes the policy with it.
    ///
    /// Errors: no such function, policy or statement; another revision.
    pub async fn remove_permission(&self, target: &PolicyTarget<'_>, statement_id: &str) -> Result<(), ControlError> {
        self.function(target.account, target.name, None)
            .await
            .map_err(|error| match error {
                ControlError::NotFound { .. } => ControlError::not_found(format!(
                    "No policy found for: {}",
                    self.function_arn(target.account, target.name)
                )),
                other => other,
            })?;
        let function = self.qualified(&target.name()).await?;
        let known = Known {
            revision_id: target.revision_id,
            also: Some(&function.revision_id),
            api: "GetFunction/GetAlias",
        };
        self.remove_statement(target.key(), statement_id, known).await
    }

    /// Whether somebody may call through a function URL. A URL of type NONE needs a statement that lets anybody use
    /// `lambda:InvokeFunctionUrl`, as in Lambda; one of type AWS_IAM lets its own account in, and others by statement.
    ///
    /// `caller` is the account whose signature was checked; none is an anonymous caller.
    pub async fn may_invoke_url(&self, url: &FunctionUrl, caller: Option<&Account>) -> Result<bool, ControlError> {
        let (caller, url_auth_type) = match (url.auth_type.as_str(), caller) {
            ("NONE", _) => (None, "NONE"),
            (_, None) => return Ok(false),
            (_, Some(caller)) if *caller == url.account => return Ok(true),
            (_, caller) => (caller, "AWS_IAM"),
        };
        let question = PolicyQuestion {
            action: "lambda:InvokeFunctionUrl",
            caller,
            url_auth_type: Some(url_auth_type),
        };
        let target = PolicyTarget {
            account: &url.account,
            name: &url.name,
            qualifier: url.qualifier.as_deref(),
            revision_id: None,
        };
        Ok(self
            .policy(target.key())
            .await?
            .is_some_and(|policy| policy.allows(&question)))
    }

    pub(crate) async fn policy(&self, key: PolicyKey<'_>) -> Result<Option<PolicyRecord>, ControlError> {
        let mut connection = self.pool().acquire().await?;
        read(&mut connection, key).await
    }

    /// Adds a statement and gives the policy's new revision.
    pub(crate) async fn add_statement(
        &self,
        key: PolicyKey<'_>,
        statement: Statement,
        known: Known<'_>,
    ) -> Result<String, ControlError> {
        let mut transaction = self.write().await?;
        let found = read(&mut transaction, key).await?;
        let revision = found.as_ref().map(|policy| policy.revision_id.as_str());
        let mut statements = found
            .as_ref()
            .map(|policy| policy.statements.clone())
            .unwrap_or_default();
        if statements.iter().any(|other| other.sid == statement.sid) {
            let id = &statement.sid;
            return Err(ControlError::conflict(format!(
                "The statement id ({id}) provided already exists. Please provide a new statement id, or remove the \
                 existing statement."
            )));
        }
        known.check(revision)?;
        statements.push(statement);
        let policy = PolicyRecord {
            statements,
            revision_id: Uuid::new_v4().to_string(),
        };
        check_length(&policy)?;
        store(&mut transaction, key, &policy).await?;
        transaction.commit().await?;
        Ok(policy.revision_id)
    }

    pub(crate) async fn remove_statement(
        &self,
        key: PolicyKey<'_>,
        statement_id: &str,
        known: Known<'_>,
    ) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        let missing = || ControlError::not_found("No policy is associated with the given resource.");
        let mut policy = read(&mut transaction, key).await?.ok_or_else(missing)?;
        known.check(Some(&policy.revision_id))?;
        let before = policy.statements.len();
        policy.statements.retain(|statement| statement.sid != statement_id);
        if policy.statements.len() == before {
            return Err(ControlError::not_found(format!(
                "Statement {statement_id} is not found in resource policy."
            )));
        }
        policy.revision_id = Uuid::new_v4().to_string();
        store(&mut transaction, key, &policy).await?;
        transaction.commit().await
    }
}

impl<'a> PolicyTarget<'a> {
    fn name(&self) -> QualifiedName<'a> {
        QualifiedName {
            account: self.account,
            name: self.name,
            qualifier: self.qualifier.unwrap_or("$LATEST"),
        }
    }

    fn key(&self) -> PolicyKey<'a> {
        let QualifiedName {
            account,
            name,
            qualifier,
        } = self.name();
        PolicyKey {
            account,
            kind: KIND_FUNCTION,
            name,
            qualifier,
        }
    }
}

/// The revision that a caller knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// What the caller said, if anything.
    pub(crate) revision_id: Option<&'a str>,
    /// Another revision that is accepted: Lambda's callers also name the function's.
    pub(crate) also: Option<&'a str>,
    /// Where the message sends those who are wrong.
    pub(crate) api: &'static str,
}

impl Known<'_> {
    fn check(&self, current: Option<&str>) -> Result<(), ControlError> {
        match self.revision_id {
            Some(said) if Some(said) != current && Some(said) != self.also => {
                let message = format!(
                    "The Revision Id provided does not match the latest Revision Id. Call the {} API to retrieve the \
                     latest Revision Id",
                    self.api
                );
                Err(ControlError::PreconditionFailed { message })
            }
            _ => Ok(()),
        }
    }
}

fn check_length(policy: &PolicyRecord) -> Result<(), ControlError> {
    let length = policy.document().len();
    if length <= POLICY_BYTES_MAX {
        return Ok(());
    }
    let message = format!("The final policy size ({length}) is bigger than the limit ({POLICY_BYTES_MAX}).");
    Err(ControlError::PolicyLengthExceeded { message })
}

async fn read(connection: &mut AnyConnection, key: PolicyKey<'_>) -> Result<Option<PolicyRecord>, ControlError> {
    let row = sqlx::query(
        "SELECT statements, revision FROM policies
         WHERE account = $1 AND kind = $2 AND name = $3 AND qualifier = $4",
    )
    .bind(key.account.as_str())
    .bind(key.kind)
    .bind(key.name)
    .bind(key.qualifier)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let statements = document(&row.try_get::<String, _>("statements")?, "a policy")?;
    Ok(Some(PolicyRecord {
        statements,
        revision_id: row.try_get("revision")?,
    }))
}

/// Writes a policy; one without statements is removed.
async fn store(connection: &mut AnyConnection, key: PolicyKey<'_>, policy: &PolicyRecord) -> Result<(), ControlError> {
    let sql = if policy.statements.is_empty() {
        "DELETE FROM policies WHERE account = $1 AND kind = $2 AND name = $3 AND qualifier = $4"
    } else {
        "INSERT INTO policies (account, kind, name, qualifier, statements, revision) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (account, kind, name, qualifier)
         DO UPDATE SET statements = excluded.statements, revision = excluded.revision"
    };
    let query = sqlx::query(sql)
        .bind(key.account.as_str())
        .bind(key.kind)
        .bind(key.name)
        .bind(key.qualifier);
    let query = if policy.statements.is_empty() {
        query
    } else {
        query
            .bind(document_text(&policy.statements, "a policy")?)
            .bind(policy.revision_id.as_str())
    };
    query.execute(connection).await?;
    Ok(())
}
