//! Who may use a layer version, by its policy.

use super::{LayerName, LayerVersion};
use crate::policies::{KIND_LAYER, Known, PolicyKey};
use crate::{Control, ControlError, NewPermission, PolicyQuestion, PolicyRecord, Statement};
use chunk::Account;

impl Control {
    /// Lets somebody use a layer version; gives the statement and the policy's revision.
    ///
    /// Errors: no such version; the statement's name is taken; another revision; the policy would be too long.
    pub async fn add_layer_permission(
        &self,
        layer: &LayerName,
        version: u64,
        permission: &NewPermission,
        revision_id: Option<&str>,
    ) -> Result<(Statement, String), ControlError> {
        let found = self.existing_layer_version(layer, version).await?;
        let statement = permission
            .statement(&found.arn())
            .map_err(|error| ControlError::invalid(error.to_string()))?;
        let number = version.to_string();
        let revision = self
            .add_statement(policy_key(layer, &number), statement.clone(), known(revision_id))
            .await?;
        Ok((statement, revision))
    }

    /// Takes a permission back.
    ///
    /// Errors: no such version, policy or statement; another revision.
    pub async fn remove_layer_permission(
        &self,
        layer: &LayerName,
        version: u64,
        statement_id: &str,
        revision_id: Option<&str>,
    ) -> Result<(), ControlError> {
        self.existing_layer_version(layer, version).await?;
        self.remove_statement(
            policy_key(layer, &version.to_string()),
            statement_id,
            known(revision_id),
        )
        .await
    }

    /// The policy of a layer version.
    ///
    /// Errors: no such version; it has no policy.
    pub async fn layer_policy(&self, layer: &LayerName, version: u64) -> Result<PolicyRecord, ControlError> {
        self.existing_layer_version(layer, version).await?;
        let found = self.policy(policy_key(layer, &version.to_string())).await?;
        found.ok_or_else(|| ControlError::not_found("No policy is associated with the given resource."))
    }

    /// Its owner may, and whom its policy lets.
    pub(super) async fn may_use_layer(&self, caller: &Account, version: &LayerVersion) -> Result<bool, ControlError> {
        if *caller == version.layer.account {
            return Ok(true);
        }
        let question = PolicyQuestion {
            action: "lambda:GetLayerVersion",
            caller: Some(caller),
            url_auth_type: None,
        };
        let policy = self
            .policy(policy_key(&version.layer, &version.version.to_string()))
            .await?;
        Ok(policy.is_some_and(|policy| policy.allows(&question)))
    }

    async fn existing_layer_version(&self, layer: &LayerName, version: u64) -> Result<LayerVersion, ControlError> {
        let found = self.find_layer_version(layer, version).await?;
        found.ok_or_else(|| {
            ControlError::not_found(format!(
                "Layer version {}:{version} does not exist.",
                self.layer_arn(layer)
            ))
        })
    }
}

/// The policy of a layer version.
pub(super) fn policy_key<'a>(layer: &'a LayerName, version: &'a str) -> PolicyKey<'a> {
    PolicyKey {
        account: &layer.account,
        kind: KIND_LAYER,
        name: &layer.name,
        qualifier: version,
    }
}

fn known(revision_id: Option<&str>) -> Known<'_> {
    Known {
        revision_id,
        also: None,
        api: "GetLayerPolicy",
    }
}
