//! Names of layers and of their versions, as ARNs write them.

use crate::{Control, ControlError};
use chunk::Account;

/// A layer, whoever owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerName {
    /// The owner.
    pub account: Account,
    /// The bare name.
    pub name: String,
}

impl Control {
    /// Reads a layer's name: bare, or an ARN without a version.
    ///
    /// Errors: another region, or no name at all.
    pub fn layer_name(&self, account: &Account, text: &str) -> Result<LayerName, ControlError> {
        if !text.starts_with("arn:") {
            return Ok(LayerName {
                account: account.clone(),
                name: text.to_owned(),
            });
        }
        let arn = LayerArn::parse(text)
            .filter(|arn| arn.version.is_none())
            .ok_or_else(ControlError::no_such_resource)?;
        if arn.region != self.region() {
            return Err(ControlError::no_such_resource());
        }
        Ok(LayerName {
            account: arn.account,
            name: arn.name.to_owned(),
        })
    }

    /// Reads a layer version's ARN.
    ///
    /// Errors: another region, or no ARN of a layer version.
    pub fn layer_version_name(&self, text: &str) -> Result<(LayerName, u64), ControlError> {
        let arn = LayerArn::parse(text)
            .filter(|arn| arn.region == self.region())
            .ok_or_else(ControlError::no_such_resource)?;
        let version = arn.version.ok_or_else(ControlError::no_such_resource)?;
        Ok((
            LayerName {
                account: arn.account,
                name: arn.name.to_owned(),
            },
            version,
        ))
    }

    /// `arn:aws:lambda:REGION:ACCOUNT:layer:NAME`.
    pub(super) fn layer_arn(&self, layer: &LayerName) -> String {
        format!(
            "arn:aws:lambda:{}:{}:layer:{}",
            self.region(),
            layer.account,
            layer.name
        )
    }
}

/// The parts of `arn:aws:lambda:REGION:ACCOUNT:layer:NAME[:VERSION]`.
pub(super) struct LayerArn<'a> {
    pub(super) region: &'a str,
    pub(super) account: Account,
    pub(super) name: &'a str,
    pub(super) version: Option<u64>,
}

impl<'a> LayerArn<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (region, account, name, version) = match parts[..] {
            ["arn", _, "lambda", region, account, "layer", name] => (region, account, name, None),
            ["arn", _, "lambda", region, account, "layer", name, version] => {
                (region, account, name, Some(version.parse().ok()?))
            }
            _ => return None,
        };
        Some(Self {
            region,
            account: account.parse().ok()?,
            name,
            version,
        })
    }
}
