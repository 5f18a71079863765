//! How a policy changes, whatever it hangs on: a statement more or less, under a new revision.

use super::PolicyRecord;
use super::rows::{PolicyKey, read, store};
use crate::function_record::new_revision;
use crate::policy_statement::POLICY_BYTES_MAX;
use crate::{Control, ControlError, Statement};

impl Control {
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
            revision_id: new_revision(),
        };
        check_length(&policy)?;
        store(&mut transaction, key, &policy).await?;
        transaction.commit().await?;
        self.urls_changed(key.account, key.name);
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
        policy.revision_id = new_revision();
        store(&mut transaction, key, &policy).await?;
        transaction.commit().await?;
        self.urls_changed(key.account, key.name);
        Ok(())
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
