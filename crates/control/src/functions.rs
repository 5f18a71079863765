//! Functions: created, read and listed; how they are changed and deleted is beside.

mod delete;
mod update;

pub(crate) use delete::delete_qualified;
pub use update::CodeUpdate;

use crate::code::check_source;
use crate::configuration::{Configuration, LayerReference, PackageType, Settings};
use crate::database::WriteTransaction;
use crate::function_record::{LATEST, VersionKey, all_after, insert, latest_after};
use crate::page::marker_invalid;
use crate::tags::{check_tags, write_tags};
use crate::validation::{
    check_architecture, check_configuration, check_log_levels, check_name, check_settings, own_architecture,
};
use crate::{
    CodeRecord, CodeSource, Control, ControlError, FunctionRecord, Page, PageRequest, capacity_provider, snap_start,
};
use chunk::Account;
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
        let key = VersionKey::latest(account, &new.name);
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
                let number = number.parse().map_err(|_| marker_invalid())?;
                let rows = all_after(self, account, (name, number), request.fetch_rows()).await?;
                Ok(request.page(rows, |record| format!("{}:{}", record.name, record.number)))
            }
        }
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
        let found = VersionKey::latest(account, name).read(self, &mut connection).await?;
        Ok(found.is_some())
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
        self.check_file_systems(account, &settings)?;
        self.check_capacity(account, &settings)?;
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

fn join(
    base: Configuration,
    settings: Settings,
    layers: Option<Vec<LayerReference>>,
) -> Result<Configuration, ControlError> {
    let asked = settings.clone();
    let configuration = base.with(settings, layers);
    check_log_levels(configuration.logging.format, &asked)?;
    check_configuration(&configuration)?;
    snap_start::check(&configuration)?;
    capacity_provider::check_with_snap_start(&configuration)?;
    Ok(configuration)
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

/// Same code and the same settings; of the descriptions those count that the function had itself. Source: PublishVersion
/// in Lambda's API reference ("configuration and code haven't changed"), and UpdateFunctionConfiguration, whose member
/// the description is.
pub(crate) fn is_same(one: &FunctionRecord, other: &FunctionRecord) -> bool {
    let plain = |record: &FunctionRecord| Configuration {
        description: (record.configuration.description_before.as_ref())
            .unwrap_or(&record.configuration.description)
            .clone(),
        description_before: None,
        ..record.configuration.clone()
    };
    let code = |record: &FunctionRecord| match &record.code {
        CodeRecord::Zip(zip) => zip.sha256_base64.clone(),
        CodeRecord::Image { digest, .. } => digest.clone(),
    };
    code(one) == code(other) && plain(one) == plain(other)
}
