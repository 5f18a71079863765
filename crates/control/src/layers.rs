//! Layers: zips that functions share, published as numbered versions that never change.
//!
//! A version that is deleted can no longer be used by new functions; those that use it keep it. Numbers are never used
//! again. A layer version of another account can be used if its policy says so; otherwise it does not exist.

use crate::column::{document, document_text, signed, unsigned};
use crate::function_record::account_of;
use crate::policies::{KIND_LAYER, Known, PolicyKey};
use crate::{Control, ControlError, NewPermission, Page, PageRequest, PolicyQuestion, PolicyRecord};
use crate::{Statement, ZipCode};
use chunk::Account;
use sqlx::Row;
use sqlx::any::AnyRow;

/// Layers with the last number that was given, and their versions. `runtimes` and `architectures` are JSON lists.
pub(crate) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS layers (
        account TEXT NOT NULL, name TEXT NOT NULL, last_version BIGINT NOT NULL, PRIMARY KEY (account, name))",
    "CREATE TABLE IF NOT EXISTS layer_versions (
        account TEXT NOT NULL, name TEXT NOT NULL, version BIGINT NOT NULL, description TEXT NOT NULL, license TEXT,
        runtimes TEXT, architectures TEXT, zip_sha256 TEXT NOT NULL, zip_bytes BIGINT NOT NULL,
        created_ms BIGINT NOT NULL, PRIMARY KEY (account, name, version))",
];

/// Layers of one function. Lambda's limit.
pub const LAYERS_MAX: usize = 5;

/// A layer, whoever owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerName {
    /// The owner.
    pub account: Account,
    /// The bare name.
    pub name: String,
}

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
            .ok_or_else(no_layer)?;
        if arn.region != self.region() {
            return Err(no_layer());
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
            .ok_or_else(no_layer)?;
        let version = arn.version.ok_or_else(no_layer)?;
        Ok((
            LayerName {
                account: arn.account,
                name: arn.name.to_owned(),
            },
            version,
        ))
    }

    /// Publishes a version with the next number. Its zip is stored already.
    pub async fn publish_layer_version(
        &self,
        layer: LayerName,
        description: LayerDescription,
        code: ZipCode,
    ) -> Result<LayerVersion, ControlError> {
        let created_ms = self.now_ms();
        let mut transaction = self.write().await?;
        let row = sqlx::query(
            "INSERT INTO layers (account, name, last_version) VALUES ($1, $2, 1)
             ON CONFLICT (account, name) DO UPDATE SET last_version = layers.last_version + 1
             RETURNING last_version",
        )
        .bind(layer.account.as_str())
        .bind(layer.name.as_str())
        .fetch_one(&mut *transaction)
        .await?;
        let version = unsigned(&row, "last_version")?;
        sqlx::query(
            "INSERT INTO layer_versions (account, name, version, description, license, runtimes, architectures,
                zip_sha256, zip_bytes, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(layer.account.as_str())
        .bind(layer.name.as_str())
        .bind(signed(version))
        .bind(description.text.as_str())
        .bind(description.license_info.clone())
        .bind(list_text(description.runtimes.as_ref())?)
        .bind(list_text(description.architectures.as_ref())?)
        .bind(code.sha256_base64.as_str())
        .bind(signed(code.bytes))
        .bind(signed(created_ms))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let layer_arn = self.layer_arn(&layer);
        Ok(LayerVersion {
            layer,
            version,
            layer_arn,
            description,
            code,
            created_ms,
        })
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
        let found = self.find_layer_version(layer, version).await?.ok_or_else(no_layer)?;
        if self.may_use_layer(caller, &found).await? {
            Ok(found)
        } else {
            Err(no_layer())
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
        let after = page.after()?.map(|key| {
            key.parse()
                .map_err(|_| ControlError::invalid("The provided marker is not valid."))
        });
        let mut before: i64 = after.transpose()?.unwrap_or(i64::MAX);
        let wanted = page.limit() + 1;
        let mut found = Vec::new();
        while found.len() < wanted {
            let rows = self.layer_rows(layer, before).await?;
            let Some(last) = rows.last() else { break };
            before = last.try_get("version")?;
            for row in &rows {
                let version = self.layer_from_row(row)?;
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
            let row =
                sqlx::query("SELECT name FROM layer_versions WHERE account = $1 AND name > $2 ORDER BY name LIMIT 1")
                    .bind(account.as_str())
                    .bind(after.as_str())
                    .fetch_optional(self.pool())
                    .await?;
            let Some(row) = row else { break };
            after = row.try_get("name")?;
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
        sqlx::query("DELETE FROM layer_versions WHERE account = $1 AND name = $2 AND version = $3")
            .bind(layer.account.as_str())
            .bind(layer.name.as_str())
            .bind(signed(version))
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM policies WHERE account = $1 AND kind = $2 AND name = $3 AND qualifier = $4")
            .bind(layer.account.as_str())
            .bind(KIND_LAYER)
            .bind(layer.name.as_str())
            .bind(version.to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

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
            .add_statement(key(layer, &number), statement.clone(), known(revision_id))
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
        self.remove_statement(key(layer, &version.to_string()), statement_id, known(revision_id))
            .await
    }

    /// The policy of a layer version.
    ///
    /// Errors: no such version; it has no policy.
    pub async fn layer_policy(&self, layer: &LayerName, version: u64) -> Result<PolicyRecord, ControlError> {
        self.existing_layer_version(layer, version).await?;
        let found = self.policy(key(layer, &version.to_string())).await?;
        found.ok_or_else(|| ControlError::not_found("No policy is associated with the given resource."))
    }

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

    /// Bytes of all layer versions of an account.
    pub(crate) async fn layer_bytes(&self, account: &Account) -> Result<u64, ControlError> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(zip_bytes), 0) AS BIGINT) AS total FROM layer_versions WHERE account = $1",
        )
        .bind(account.as_str())
        .fetch_one(self.pool())
        .await?;
        unsigned(&row, "total")
    }

    async fn may_use_layer(&self, caller: &Account, version: &LayerVersion) -> Result<bool, ControlError> {
        if *caller == version.layer.account {
            return Ok(true);
        }
        let question = PolicyQuestion {
            action: "lambda:GetLayerVersion",
            caller: Some(caller),
            url_auth_type: None,
        };
        let policy = self.policy(key(&version.layer, &version.version.to_string())).await?;
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

    async fn find_layer_version(&self, layer: &LayerName, version: u64) -> Result<Option<LayerVersion>, ControlError> {
        let row = sqlx::query(
            "SELECT account, name, version, description, license, runtimes, architectures, zip_sha256, zip_bytes,
                created_ms FROM layer_versions WHERE account = $1 AND name = $2 AND version = $3",
        )
        .bind(layer.account.as_str())
        .bind(layer.name.as_str())
        .bind(signed(version))
        .fetch_optional(self.pool())
        .await?;
        row.map(|row| self.layer_from_row(&row)).transpose()
    }

    /// The next hundred versions below a number, newest first.
    async fn layer_rows(&self, layer: &LayerName, before: i64) -> Result<Vec<AnyRow>, ControlError> {
        let rows = sqlx::query(
            "SELECT account, name, version, description, license, runtimes, architectures, zip_sha256, zip_bytes,
                created_ms FROM layer_versions WHERE account = $1 AND name = $2 AND version < $3
             ORDER BY version DESC LIMIT 100",
        )
        .bind(layer.account.as_str())
        .bind(layer.name.as_str())
        .bind(before)
        .fetch_all(self.pool())
        .await?;
        Ok(rows)
    }

    fn layer_from_row(&self, row: &AnyRow) -> Result<LayerVersion, ControlError> {
        let layer = LayerName {
            account: account_of(row)?,
            name: row.try_get("name")?,
        };
        let list = |column: &str| -> Result<Option<Vec<String>>, ControlError> {
            let text: Option<String> = row.try_get(column)?;
            text.map(|text| document(&text, "a layer version")).transpose()
        };
        Ok(LayerVersion {
            layer_arn: self.layer_arn(&layer),
            layer,
            version: unsigned(row, "version")?,
            description: LayerDescription {
                text: row.try_get("description")?,
                license_info: row.try_get("license")?,
                runtimes: list("runtimes")?,
                architectures: list("architectures")?,
            },
            code: ZipCode {
                sha256_base64: row.try_get("zip_sha256")?,
                bytes: unsigned(row, "zip_bytes")?,
            },
            created_ms: unsigned(row, "created_ms")?,
        })
    }

    fn layer_arn(&self, layer: &LayerName) -> String {
        format!(
            "arn:aws:lambda:{}:{}:layer:{}",
            self.region(),
            layer.account,
            layer.name
        )
    }
}

/// The parts of `arn:aws:lambda:REGION:ACCOUNT:layer:NAME[:VERSION]`.
struct LayerArn<'a> {
    region: &'a str,
    account: Account,
    name: &'a str,
    version: Option<u64>,
}

impl<'a> LayerArn<'a> {
    fn parse(text: &'a str) -> Option<Self> {
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

fn key<'a>(layer: &'a LayerName, version: &'a str) -> PolicyKey<'a> {
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

fn list_text(list: Option<&Vec<String>>) -> Result<Option<String>, ControlError> {
    list.map(|list| document_text(list, "a layer version")).transpose()
}

fn no_layer() -> ControlError {
    ControlError::not_found("The resource you requested does not exist.")
}
