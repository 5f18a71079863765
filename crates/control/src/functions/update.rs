//! Functions: changed.

use super::join;
use crate::code::check_source;
use crate::configuration::{PackageType, Settings};
use crate::database::WriteTransaction;
use crate::function_record::{VersionKey, new_revision, replace};
use crate::states::StateEvent;
use crate::validation::{check_architecture, check_settings, not_in_state, update_in_progress};
use crate::{CodeSource, Control, ControlError, FunctionRecord, State};
use chunk::Account;

/// What UpdateFunctionCode is asked for.
#[derive(Debug)]
pub struct CodeUpdate {
    /// Where the code comes from.
    pub code: CodeSource,
    /// Changes it, if given.
    pub architecture: Option<String>,
    /// Whether a version is published.
    pub publish: bool,
    /// Everything is checked and nothing kept.
    pub dry_run: bool,
    /// The change is made only if this is the current one.
    pub revision_id: Option<String>,
}

impl Control {
    /// Changes the code of `$LATEST`. Invocations run the code before it until this is prepared.
    pub async fn update_code(
        &self,
        account: &Account,
        name: &str,
        update: CodeUpdate,
    ) -> Result<FunctionRecord, ControlError> {
        let current = self.changeable(account, name, update.revision_id.as_deref()).await?;
        let package_type = current.configuration.package_type;
        check_code_update(package_type, &update.code)?;
        check_source(package_type, &update.code)?;
        let architecture = update
            .architecture
            .unwrap_or_else(|| current.configuration.architecture.clone());
        check_architecture(&architecture)?;
        let code = self.store_code(account, update.code, &architecture).await?;
        let change = |record: &mut FunctionRecord| {
            record.code = code.clone();
            record.configuration.architecture.clone_from(&architecture);
            record.prepared = None;
        };
        if update.dry_run {
            let mut record = current;
            change(&mut record);
            return Ok(record);
        }
        let mut transaction = self.write().await?;
        let record = self
            .changeable_in(&mut transaction, account, name, update.revision_id.as_deref())
            .await?;
        let record = self.changed(&mut transaction, record, change).await?;
        self.finish_change(transaction, record, update.publish).await
    }

    /// Changes the configuration of `$LATEST`. Invocations run with the one before it until this is prepared.
    pub async fn update_configuration(
        &self,
        account: &Account,
        name: &str,
        settings: Settings,
        revision_id: Option<&str>,
    ) -> Result<FunctionRecord, ControlError> {
        let current = self.changeable(account, name, revision_id).await?;
        check_settings(current.configuration.package_type, &settings)?;
        self.check_file_systems(account, &settings)?;
        self.check_capacity(account, &settings)?;
        let layers = self.layer_references(account, settings.layers.as_deref()).await?;
        let mut transaction = self.write().await?;
        let record = self.changeable_in(&mut transaction, account, name, revision_id).await?;
        let configuration = join(record.configuration.clone(), settings, layers)?;
        let change = |record: &mut FunctionRecord| {
            if record.configuration.layers != configuration.layers
                || record.configuration.runtime != configuration.runtime
            {
                record.prepared = None;
            }
            record.configuration = configuration;
        };
        let record = self.changed(&mut transaction, record, change).await?;
        self.finish_change(transaction, record, false).await
    }

    async fn changeable(
        &self,
        account: &Account,
        name: &str,
        revision_id: Option<&str>,
    ) -> Result<FunctionRecord, ControlError> {
        let mut connection = self.pool().acquire().await?;
        self.changeable_in(&mut connection, account, name, revision_id).await
    }

    /// `$LATEST`, if it may be changed now.
    pub(crate) async fn changeable_in(
        &self,
        connection: &mut sqlx::AnyConnection,
        account: &Account,
        name: &str,
        revision_id: Option<&str>,
    ) -> Result<FunctionRecord, ControlError> {
        let found = VersionKey::latest(account, name).read(self, connection).await?;
        let record = found.ok_or_else(|| self.function_missing(account, name, None))?;
        if revision_id.is_some_and(|expected| expected != record.revision_id) {
            return Err(ControlError::revision_mismatch());
        }
        if record.lifecycle.state == State::Pending {
            return Err(not_in_state(State::Pending));
        }
        if record.lifecycle.is_preparing() {
            return Err(update_in_progress(&record.arn));
        }
        Ok(record)
    }

    /// Writes a change of `$LATEST` that has to be prepared.
    async fn changed(
        &self,
        transaction: &mut WriteTransaction,
        mut record: FunctionRecord,
        change: impl FnOnce(&mut FunctionRecord),
    ) -> Result<FunctionRecord, ControlError> {
        change(&mut record);
        record.lifecycle = record.lifecycle.apply(StateEvent::UpdateBegan);
        record.revision_id = new_revision();
        record.last_modified_ms = self.now_ms();
        if !replace(transaction, &record).await? {
            return Err(update_in_progress(&record.arn));
        }
        Ok(record)
    }
}

/// The texts of UpdateFunctionCode differ from those of CreateFunction.
fn check_code_update(package_type: PackageType, source: &CodeSource) -> Result<(), ControlError> {
    match (package_type, source) {
        (PackageType::Zip, CodeSource::Image(_)) => Err(ControlError::invalid(
            "Please don't provide ImageUri when updating a function with packageType Zip.",
        )),
        (PackageType::Image, CodeSource::Zip(_) | CodeSource::S3 { .. }) => Err(ControlError::invalid(
            "Please provide ImageUri when updating a function with packageType Image.",
        )),
        _ => Ok(()),
    }
}
