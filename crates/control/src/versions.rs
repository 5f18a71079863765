//! Versions: `$LATEST` as it was, for good.

use crate::database::WriteTransaction;
use crate::function_record::{VersionKey, insert, next_number, versions_after};
use crate::functions::is_same;
use crate::{Control, ControlError, FunctionRecord, Lifecycle, Page, PageRequest, State, lease};
use chunk::Account;
use std::sync::Arc;

/// What PublishVersion is asked for.
#[derive(Clone, Debug, Default)]
pub struct PublishRequest {
    /// Instead of `$LATEST`'s.
    pub description: Option<String>,
    /// Published only if this is the hash of `$LATEST`'s code.
    pub code_sha256: Option<String>,
    /// Published only if this is the current one of `$LATEST`.
    pub revision_id: Option<String>,
}

impl Control {
    /// Publishes `$LATEST`; if nothing has changed since the last version, that one is the answer.
    pub async fn publish_version(
        &self,
        account: &Account,
        name: &str,
        request: PublishRequest,
    ) -> Result<FunctionRecord, ControlError> {
        let mut transaction = self.write().await?;
        let latest = self
            .changeable_in(&mut transaction, account, name, request.revision_id.as_deref())
            .await?;
        if let Some(expected) = request
            .code_sha256
            .as_deref()
            .filter(|expected| *expected != latest.code.sha256())
        {
            let current = latest.code.sha256();
            return Err(ControlError::invalid(format!(
                "CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST ({current}). Please try again \
                 with the CodeSHA256 in $LATEST."
            )));
        }
        let version = self
            .insert_version(&mut transaction, &latest, request.description)
            .await?;
        transaction.commit().await?;
        self.function_changed(account, name);
        if version.lifecycle.is_preparing() {
            self.begin_preparation(version.key());
        }
        Ok(version)
    }

    /// Versions, oldest first after `$LATEST`.
    pub async fn versions(
        &self,
        account: &Account,
        name: &str,
        request: &PageRequest,
    ) -> Result<Page<FunctionRecord>, ControlError> {
        let after = request.after_number()?;
        let rows = versions_after(self, (account, name), after, request.fetch_rows()).await?;
        if rows.is_empty() && after.is_none() {
            return Err(self.function_missing(account, name, None));
        }
        Ok(request.page(rows, |record| record.number.to_string()))
    }

    /// The last version if it equals `latest`, else a new one. Code that is prepared makes it Active at once.
    pub(crate) async fn insert_version(
        &self,
        transaction: &mut WriteTransaction,
        latest: &FunctionRecord,
        description: Option<String>,
    ) -> Result<FunctionRecord, ControlError> {
        if let Some(last) = self.last_version(transaction, latest).await?
            && is_same(&last, latest)
        {
            return Ok(last);
        }
        let number = next_number(transaction, &latest.account, &latest.name).await?;
        let mut version = latest.published_as(number);
        if let Some(description) = description {
            let before = std::mem::replace(&mut version.configuration.description, description);
            version.configuration.description_before = Some(before);
        }
        version.lifecycle = Lifecycle::created();
        if !version.optimization.is_asked()
            && latest.lifecycle.state == State::Active
            && !latest.lifecycle.is_preparing()
            && let Some(prepared) = &version.prepared
            && let Ok(lease) = lease::build(self, &version, prepared)
        {
            version.lease = Some(Arc::new(lease));
            version.lifecycle = Lifecycle::active();
        }
        if !insert(transaction, &version).await? {
            return Err(crate::validation::update_in_progress(&version.arn));
        }
        Ok(version)
    }

    async fn last_version(
        &self,
        transaction: &mut WriteTransaction,
        latest: &FunctionRecord,
    ) -> Result<Option<FunctionRecord>, ControlError> {
        let number: Option<i64> =
            sqlx::query_scalar("SELECT MAX(number) FROM functions WHERE account = $1 AND name = $2 AND number > 0")
                .bind(latest.account.as_str())
                .bind(latest.name.as_str())
                .fetch_one(&mut **transaction)
                .await?;
        match number.and_then(|number| u64::try_from(number).ok()) {
            Some(number) => VersionKey { number, ..latest.key() }.read(self, transaction).await,
            None => Ok(None),
        }
    }
}
