//! Functions: created, read, listed, changed, deleted.

use crate::code::check_source;
use crate::configuration::{Configuration, LayerReference, PackageType, Settings};
use crate::database::{FUNCTION_DELETES, QUALIFIER_DELETES, WriteTransaction};
use crate::function_record::{LATEST, VersionKey, all_after, insert, latest_after, new_revision, replace};
use crate::states::StateEvent;
use crate::tags::{check_tags, write_tags};
use crate::validation::{
    check_architecture, check_configuration, check_log_levels, check_name, check_settings, not_in_state,
    own_architecture, update_in_progress,
};
use crate::{CodeRecord, CodeSource, Control, ControlError, FunctionRecord, Page, PageRequest, State};
use chunk::Account;
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;

/// What CreateFunction is asked for.
#[derive(Debug)]
pub struct NewFunction {
    /// The bare name; the caller has checked its pattern.
    pub name: String,
    /// How its code is packaged.
    pub package_type: PackageType,
    /// `x86_64` or `arm64`; this machine's own if none.
    pub architecture: Option<String>,
    /// What differs from the defaults; the role is needed.
    pub settings: Settings,
    /// Where the code comes from.
    pub code: CodeSource,
    /// At most fifty.
    pub tags: BTreeMap<String, String>,
    /// Whether version 1 is published at once.
    pub publish: bool,
}

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

/// What a list of functions holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionList {
    /// `$LATEST` of each function.
    Latest,
    /// Every version of each function.
    AllVersions,
}

impl Control {
    /// Creates a function; it answers Pending, and what was published if that was asked for. Its code is prepared
    /// afterwards.
    pub async fn create_function(&self, account: &Account, new: NewFunction) -> Result<FunctionRecord, ControlError> {
        let architecture = new.architecture.unwrap_or_else(|| own_architecture().to_owned());
        check_name(&new.name)?;
        check_architecture(&architecture)?;
        check_tags(&new.tags)?;
        check_source(new.package_type, &new.code)?;
        check_settings(new.package_type, &new.settings)?;
        let base = Configuration::new(&new.name, new.package_type, &architecture);
        let configuration = self.configure(account, base, new.settings).await?;
        // Before the code is stored: storing it costs much, and the name is nearly always decided here.
        if self.function_exists(account, &new.name).await? {
            return Err(already_exists(&new.name));
        }
        let code = self.store_code(account, new.code, &architecture).await?;
        let key = VersionKey {
            account,
            name: &new.name,
            number: 0,
        };
        let record = FunctionRecord::new(self, key, configuration, code);
        let mut transaction = self.write().await?;
        if !insert(&mut transaction, &record).await? {
            return Err(already_exists(&new.name));
        }
        write_tags(&mut transaction, account, &new.name, &new.tags).await?;
        self.finish_change(transaction, record, new.publish).await
    }

    /// One version; of an alias, the one that it names first.
    pub async fn function(
        &self,
        account: &Account,
        name: &str,
        qualifier: Option<&str>,
    ) -> Result<FunctionRecord, ControlError> {
        let missing = || self.function_missing(account, name, qualifier);
        let number = match qualifier {
            None | Some(LATEST) => 0,
            Some(text) if is_number(text) => version_number(text).ok_or_else(missing)?,
            Some(alias) => self.alias_version(account, name, alias).await?.ok_or_else(missing)?,
        };
        let mut connection = self.pool().acquire().await?;
        VersionKey { account, name, number }
            .read(self, &mut connection)
            .await?
            .ok_or_else(missing)
    }

    /// Functions by name.
    pub async fn functions(
        &self,
        account: &Account,
        list: FunctionList,
        request: &PageRequest,
    ) -> Result<Page<FunctionRecord>, ControlError> {
        let after = request.after()?.unwrap_or_default();
        match list {
            FunctionList::Latest => {
                let rows = latest_after(self, account, &after, request.fetch_rows()).await?;
                Ok(request.page(rows, |record| record.name.clone()))
            }
            FunctionList::AllVersions => {
                let (name, number) = after.split_once(':').unwrap_or((&after, "-1"));
                let number = number
                    .parse()
                    .map_err(|_| ControlError::invalid("The provided marker is not valid."))?;
                let rows = all_after(self, account, (name, number), request.fetch_rows()).await?;
                Ok(request.page(rows, |record| format!("{}:{}", record.name, record.number)))
            }
        }
    }

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

    /// Deletes a function with all that hangs on it, or one version. A version that is not there is no error, as in
    /// Lambda.
    pub async fn delete_function(
        &self,
        account: &Account,
        name: &str,
        qualifier: Option<&str>,
    ) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        let found = VersionKey {
            account,
            name,
            number: 0,
        }
        .read(self, &mut transaction)
        .await?;
        if found.is_none() {
            return Err(self.function_missing(account, name, None));
        }
        match qualifier {
            None => {
                for statement in FUNCTION_DELETES {
                    let query = sqlx::query(AssertSqlSafe(*statement)).bind(account.as_str()).bind(name);
                    query.execute(&mut *transaction).await?;
                }
            }
            Some(qualifier) => self.delete_version(&mut transaction, account, name, qualifier).await?,
        }
        transaction.commit().await?;
        self.function_changed(account, name);
        Ok(())
    }

    async fn delete_version(
        &self,
        transaction: &mut WriteTransaction,
        account: &Account,
        name: &str,
        qualifier: &str,
    ) -> Result<(), ControlError> {
        if qualifier == LATEST {
            let message = "$LATEST version cannot be deleted without deleting the function.";
            return Err(ControlError::invalid(message));
        }
        let Ok(number) = qualifier.parse::<i64>() else {
            return Err(ControlError::invalid("Deletion of aliases is not currently supported."));
        };
        let aliases = crate::aliases::names_of_version(transaction, account, name, qualifier).await?;
        if !aliases.is_empty() {
            return Err(ControlError::conflict(format!(
                "Unable to delete version because the following aliases reference it: [{}]",
                aliases.join(", ")
            )));
        }
        sqlx::query("DELETE FROM functions WHERE account = $1 AND name = $2 AND number = $3 AND number > 0")
            .bind(account.as_str())
            .bind(name)
            .bind(number)
            .execute(&mut **transaction)
            .await?;
        delete_qualified(transaction, account, name, qualifier).await
    }

    /// `NotFound` as Lambda says it.
    pub(crate) fn function_missing(&self, account: &Account, name: &str, qualifier: Option<&str>) -> ControlError {
        ControlError::not_found(format!(
            "Function not found: {}",
            self.qualified_arn(account, name, qualifier)
        ))
    }

    async fn function_exists(&self, account: &Account, name: &str) -> Result<bool, ControlError> {
        let mut connection = self.pool().acquire().await?;
        Ok(VersionKey {
            account,
            name,
            number: 0,
        }
        .read(self, &mut connection)
        .await?
        .is_some())
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
        let found = VersionKey {
            account,
            name,
            number: 0,
        }
        .read(self, connection)
        .await?;
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

    /// Publishes if asked to, commits, and lets the preparation begin. Answers the published version, if there is one.
    async fn finish_change(
        &self,
        mut transaction: WriteTransaction,
        latest: FunctionRecord,
        publish: bool,
    ) -> Result<FunctionRecord, ControlError> {
        let mut published = None;
        if publish {
            let version = self.insert_version(&mut transaction, &latest, None).await?;
            published = Some(version);
        }
        transaction.commit().await?;
        self.function_changed(&latest.account, &latest.name);
        self.begin_preparation(latest.key());
        if let Some(version) = &published {
            self.begin_preparation(version.key());
        }
        Ok(published.unwrap_or(latest))
    }

    async fn configure(
        &self,
        account: &Account,
        base: Configuration,
        settings: Settings,
    ) -> Result<Configuration, ControlError> {
        let layers = self.layer_references(account, settings.layers.as_deref()).await?;
        join(base, settings, layers)
    }

    /// What layers hold, at the time when a function begins to use them.
    async fn layer_references(
        &self,
        account: &Account,
        arns: Option<&[String]>,
    ) -> Result<Option<Vec<LayerReference>>, ControlError> {
        let Some(arns) = arns else { return Ok(None) };
        let codes = self.layer_codes(account, arns).await?;
        Ok(Some(
            arns.iter()
                .cloned()
                .zip(codes)
                .map(|(arn, code)| LayerReference { arn, code })
                .collect(),
        ))
    }
}

/// Removes what other areas keep of one version or alias.
pub(crate) async fn delete_qualified(
    transaction: &mut WriteTransaction,
    account: &Account,
    name: &str,
    qualifier: &str,
) -> Result<(), ControlError> {
    for statement in QUALIFIER_DELETES {
        let query = sqlx::query(AssertSqlSafe(*statement))
            .bind(account.as_str())
            .bind(name)
            .bind(qualifier);
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

fn join(
    base: Configuration,
    settings: Settings,
    layers: Option<Vec<LayerReference>>,
) -> Result<Configuration, ControlError> {
    let asked = settings.clone();
    let configuration = base.with(settings, layers);
    check_log_levels(configuration.logging.format, &asked)?;
    check_configuration(&configuration)?;
    Ok(configuration)
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

fn already_exists(name: &str) -> ControlError {
    ControlError::conflict(format!("Function already exist: {name}"))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A version's number as ARNs write it: not 0, no leading zeros.
fn version_number(text: &str) -> Option<u64> {
    if text.starts_with('0') { None } else { text.parse().ok() }
}

/// Same code and, apart from the description, the same settings.
pub(crate) fn is_same(one: &FunctionRecord, other: &FunctionRecord) -> bool {
    let plain = |record: &FunctionRecord| Configuration {
        description: String::new(),
        ..record.configuration.clone()
    };
    let code = |record: &FunctionRecord| match &record.code {
        CodeRecord::Zip(zip) => zip.sha256_base64.clone(),
        CodeRecord::Image { digest, .. } => digest.clone(),
    };
    code(one) == code(other) && plain(one) == plain(other)
}
