//! The layers that a function names.

use super::name::LayerArn;
use super::{LayerName, LayerVersion};
use crate::{Control, ControlError, ZipCode};
use chunk::Account;

/// Layers of one function. Lambda's limit.
pub const LAYERS_MAX: usize = 5;

impl Control {
    /// The contents of the layers that a function names, in its order.
    ///
    /// Errors, in Lambda's words: more than five, another region, one that is not there, two versions of one layer.
    pub(crate) async fn layer_codes(&self, account: &Account, arns: &[String]) -> Result<Vec<ZipCode>, ControlError> {
        if arns.len() > LAYERS_MAX {
            return Err(ControlError::invalid(format!(
                "Cannot reference more than {LAYERS_MAX} layers."
            )));
        }
        let mut found: Vec<LayerVersion> = Vec::new();
        for arn in arns {
            let version = self.layer_of_function(account, arn).await?;
            if let Some(other) = found.iter().find(|other| other.layer == version.layer) {
                return Err(ControlError::invalid(format!(
                    "Two different versions of the same layer are not allowed to be referenced in the same function. {} \
                     and {arn} are versions of the same layer.",
                    other.arn()
                )));
            }
            found.push(version);
        }
        Ok(found.into_iter().map(|version| version.code).collect())
    }

    async fn layer_of_function(&self, account: &Account, arn: &str) -> Result<LayerVersion, ControlError> {
        let missing = || ControlError::invalid(format!("Layer version {arn} does not exist."));
        let parsed = LayerArn::parse(arn).ok_or_else(missing)?;
        if parsed.region != self.region() {
            return Err(ControlError::invalid(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {}.",
                self.region()
            )));
        }
        let layer = LayerName {
            account: parsed.account,
            name: parsed.name.to_owned(),
        };
        let found = self
            .find_layer_version(&layer, parsed.version.ok_or_else(missing)?)
            .await?
            .ok_or_else(missing)?;
        if self.may_use_layer(account, &found).await? {
            Ok(found)
        } else {
            Err(missing())
        }
    }
}
