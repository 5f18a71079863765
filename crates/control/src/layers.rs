//! Layers: zips that functions share, published as numbered versions that never change.
//!
//! A version that is deleted can no longer be used by new functions; those that use it keep it. Numbers are never used
//! again. A layer version of another account can be used if its policy says so; otherwise it does not exist.

mod name;
mod of_function;
mod permissions;
mod rows;

pub use name::LayerName;
pub use of_function::LAYERS_MAX;
pub(crate) use rows::SCHEMA;

use crate::column::signed;
use crate::{Control, ControlError, Page, PageRequest, ZipCode};
use chunk::Account;
use permissions::policy_key;
use rows::{delete, insert, next_number};

/// One version of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerVersion {
    /// Which layer.
    pub layer: LayerName,
    /// From 1.
    pub version: u64,
    /// `arn:aws:lambda:REGION:ACCOUNT:layer:NAME`, without the version.
    pub layer_arn: String,
    /// What it is.
    pub description: LayerDescription,
    /// Its content.
    pub code: ZipCode,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// What a publisher says of a layer version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerDescription {
    /// At most 256 characters.
    pub text: String,
    /// At most 512 characters.
    pub license_info: Option<String>,
    /// Such as `python3.12`; none if nothing was said.
    pub runtimes: Option<Vec<String>>,
    /// `x86_64`, `arm64`; none if nothing was said.
    pub architectures: Option<Vec<String>>,
}

/// Which layer versions a list is about.
#[derive(Clone, Debug, Default)]
pub struct LayerFilter {
    /// Those that name this runtime.
    pub runtime: Option<String>,
    /// Those that name this architecture.
    pub architecture: Option<String>,
}

impl LayerVersion {
    /// The ARN with the version.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("{}:{}", self.layer_arn, self.version)
    }
}

impl LayerFilter {
    fn admits(&self, description: &LayerDescription) -> bool {
        let named = |wanted: &Option<String>, list: &Option<Vec<String>>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| list.as_ref().is_some_and(|list| list.contains(wanted)))
        };
        named(&self.runtime, &description.runtimes) && named(&self.architecture, &description.architectures)
    }
}

impl Control {
    /// Publishes a version with the next number. Its zip is stored already.
    pub async fn publish_layer_version(
        &self,
        layer: LayerName,
        description: LayerDescription,
        code: ZipCode,
    ) -> Result<LayerVersion, ControlError> {
        let mut transaction = self.write().await?;
        let version = LayerVersion {
            version: next_number(&mut transaction, &layer).await?,
            layer_arn: self.layer_arn(&layer),
            layer,
            description,
            code,
            created_ms: self.now_ms(),
        };
        insert(&mut transaction, &version).await?;
        transaction.commit().await?;
        Ok(version)
    }

    /// A layer version that the caller may use.
    ///
    /// Errors: there is none.
    pub async fn layer_version(
        &self,
        caller: &Account,
        layer: &LayerName,
        version: u64,
    ) -> Result<LayerVersion, ControlError> {
        let found = self
            .find_layer_version(layer, version)
            .await?
            .ok_or_else(ControlError::no_such_resource)?;
        if self.may_use_layer(caller, &found).await? {
            Ok(found)
        } else {
            Err(ControlError::no_such_resource())
        }
    }

    /// Versions of a layer that the caller may use, newest first. A layer that is not there has none.
    pub async fn layer_versions(
        &self,
        caller: &Account,
        layer: &LayerName,
        filter: &LayerFilter,
        page: &PageRequest,
    ) -> Result<Page<LayerVersion>, ControlError> {
        let mut before = page.after_number()?.map_or(i64::MAX, signed);
        let wanted = page.limit() + 1;
        let mut found = Vec::new();
        while found.len() < wanted {
            let versions = self.layer_versions_below(layer, before).await?;
            let Some(last) = versions.last() else { break };
            before = signed(last.version);
            for version in versions {
                if filter.admits(&version.description) && self.may_use_layer(caller, &version).await? {
                    found.push(version);
                }
            }
        }
        found.truncate(wanted);
        Ok(page.page(found, |version| version.version.to_string()))
    }

    /// The account's layers by name, each with its newest version that the filter admits.
    pub async fn layers(
        &self,
        account: &Account,
        filter: &LayerFilter,
        page: &PageRequest,
    ) -> Result<Page<LayerVersion>, ControlError> {
        let mut after = page.after()?.unwrap_or_default();
        let wanted = page.limit() + 1;
        let one = PageRequest {
            marker: None,
            items_max: Some(1),
        };
        let mut found = Vec::new();
        while found.len() < wanted {
            let Some(name) = self.layer_name_after(account, &after).await? else {
                break;
            };
            after = name;
            let layer = LayerName {
                account: account.clone(),
                name: after.clone(),
            };
            found.extend(self.layer_versions(account, &layer, filter, &one).await?.items);
        }
        Ok(page.page(found, |version| version.layer.name.clone()))
    }

    /// Deletes a version and its policy; that there is none is no error. Functions that use it keep it.
    pub async fn delete_layer_version(&self, layer: &LayerName, version: u64) -> Result<(), ControlError> {
        let mut transaction = self.write().await?;
        delete(&mut transaction, layer, version).await?;
        crate::policies::delete(&mut transaction, policy_key(layer, &version.to_string())).await?;
        transaction.commit().await
    }
}
