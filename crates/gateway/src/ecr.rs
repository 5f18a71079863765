//! The few operations of ECR that push scripts call, answered for the built-in registry. JSON 1.1.
//!
//! Targets: `AmazonEC2ContainerRegistry_V20150921.` and GetAuthorizationToken, CreateRepository, DescribeRepositories,
//! DeleteRepository.

use crate::Gateway;
use crate::authorization::Caller;
use crate::json_error::JsonError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chunk::Account;
use control::packages::repositories::{RepositoryError, RepositoryName};
use control::packages::{BlobError, Repositories};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Repositories in one answer: ECR's default and our most, though ECR gives up to 1,000.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;

/// Answers one call. `target` is the operation's name, with or without the service before it; `host` the Host header.
pub(crate) async fn ecr(
    gateway: &Gateway,
    caller: &Caller,
    target: &str,
    body: &[u8],
    host: &str,
) -> Result<Value, JsonError> {
    let call = EcrCall {
        gateway: gateway.clone(),
        account: caller.account.clone(),
        key_id: caller.key_id.clone(),
        host: host.to_owned(),
    };
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let body = body.to_vec();
    let done = tokio::task::spawn_blocking(move || match operation.as_str() {
        "GetAuthorizationToken" => call.get_authorization_token(),
        "CreateRepository" => call.create_repository(&read(&body)?),
        "DescribeRepositories" => call.describe_repositories(&read(&body)?),
        "DeleteRepository" => call.delete_repository(&read(&body)?),
        other => Err(error(
            "UnknownOperationException",
            format!(
                "{} is not answered here; the registry takes GetAuthorizationToken, CreateRepository, \
                 DescribeRepositories and DeleteRepository",
                other.chars().take(80).collect::<String>().escape_debug()
            ),
        )),
    });
    done.await.unwrap_or_else(|_| Err(server_error()))
}

/// One authenticated call; its functions block.
struct EcrCall {
    gateway: Gateway,
    account: Account,
    key_id: String,
    host: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateRepositoryInput {
    repository_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeRepositoriesInput {
    repository_names: Option<Vec<String>>,
    next_token: Option<String>,
    max_results: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteRepositoryInput {
    repository_name: String,
    #[serde(default)]
    force: bool,
}

impl EcrCall {
    fn repositories(&self) -> &Repositories {
        self.gateway.control.packages().repositories()
    }

    fn get_authorization_token(&self) -> Result<Value, JsonError> {
        let tokens = self.gateway.control.packages().registry_tokens();
        let (token, expires_ms) = tokens.issue(&self.key_id, self.gateway.now_ms())?;
        let basic = BASE64.encode(format!("AWS:{}", token.as_str()));
        Ok(json!({
            "authorizationData": [{
                "authorizationToken": basic,
                "expiresAt": seconds(expires_ms),
                "proxyEndpoint": format!("http://{}", self.host),
            }]
        }))
    }

    fn create_repository(&self, input: &CreateRepositoryInput) -> Result<Value, JsonError> {
        let name = parse(&input.repository_name)?;
        if !self.repositories().create_repository(&self.account, &name)? {
            return Err(error(
                "RepositoryAlreadyExistsException",
                format!(
                    "The repository with name '{name}' already exists in the registry with id '{}'",
                    self.account
                ),
            ));
        }
        Ok(json!({ "repository": self.describe(&name)? }))
    }

    fn describe_repositories(&self, input: &DescribeRepositoriesInput) -> Result<Value, JsonError> {
        if let Some(names) = &input.repository_names {
            let described = names.iter().take(PAGE_DEFAULT).map(|name| self.describe(&parse(name)?));
            let described: Result<Vec<Value>, JsonError> = described.collect();
            return Ok(json!({ "repositories": described? }));
        }
        let count = input.max_results.unwrap_or(PAGE_DEFAULT);
        if !(1..=PAGE_MAX).contains(&count) {
            return Err(error(
                "InvalidParameterException",
                format!(
                    "Invalid parameter at 'maxResults' failed to satisfy constraint: 'must be from 1 to {PAGE_MAX}'"
                ),
            ));
        }
        let (names, has_more) = self
            .repositories()
            .list(&self.account, (count, input.next_token.as_deref()))?;
        let described: Result<Vec<Value>, JsonError> = names.iter().map(|name| self.describe(&parse(name)?)).collect();
        let mut answer = json!({ "repositories": described? });
        if let Some(last) = names.last().filter(|_| has_more) {
            answer["nextToken"] = json!(last);
        }
        Ok(answer)
    }

    fn delete_repository(&self, input: &DeleteRepositoryInput) -> Result<Value, JsonError> {
        let name = parse(&input.repository_name)?;
        let described = self.describe(&name)?;
        let (tags, _) = self.repositories().tags(&self.account, &name, (1, None))?;
        if !tags.is_empty() && !input.force {
            return Err(error(
                "RepositoryNotEmptyException",
                format!(
                    "The repository with name '{name}' in registry with id '{}' cannot be deleted because it still \
                     contains images",
                    self.account
                ),
            ));
        }
        self.repositories().delete_repository(&self.account, &name)?;
        Ok(json!({ "repository": described }))
    }

    fn describe(&self, name: &RepositoryName) -> Result<Value, JsonError> {
        let created_ms = self.repositories().created_ms(&self.account, name)?;
        let created_ms = created_ms.ok_or_else(|| self.not_found(name))?;
        let (region, account) = (&self.gateway.region, &self.account);
        Ok(json!({
            "repositoryArn": format!("arn:aws:ecr:{region}:{account}:repository/{name}"),
            "registryId": account.as_str(),
            "repositoryName": name.as_str(),
            // What `docker push` takes: this server, and not a host of AWS.
            "repositoryUri": format!("{}/{name}", self.host),
            "createdAt": seconds(created_ms),
            "imageTagMutability": "MUTABLE",
            "imageScanningConfiguration": { "scanOnPush": false },
            "encryptionConfiguration": { "encryptionType": "AES256" },
        }))
    }

    fn not_found(&self, name: &RepositoryName) -> JsonError {
        error(
            "RepositoryNotFoundException",
            format!(
                "The repository with name '{name}' does not exist in the registry with id '{}'",
                self.account
            ),
        )
    }
}

/// JSON 1.1 has times as seconds with a fraction.
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, JsonError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|problem| error("InvalidParameterException", problem.to_string()))
}

fn parse(name: &str) -> Result<RepositoryName, JsonError> {
    name.parse().map_err(|_| {
        let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
        error(
            "InvalidParameterException",
            format!(
                "Invalid parameter at 'repositoryName' failed to satisfy constraint: '{shown}' must satisfy regular \
                 expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'"
            ),
        )
    })
}

fn error(code: &str, message: impl Into<String>) -> JsonError {
    JsonError {
        code: code.to_owned(),
        message: message.into(),
        status: 400,
    }
}

fn server_error() -> JsonError {
    JsonError {
        code: "ServerException".to_owned(),
        message: "the registry failed; its log says how".to_owned(),
        status: 500,
    }
}

impl From<BlobError> for JsonError {
    fn from(problem: BlobError) -> Self {
        tracing::error!("registry: {problem}");
        server_error()
    }
}

impl From<RepositoryError> for JsonError {
    fn from(problem: RepositoryError) -> Self {
        match problem {
            RepositoryError::TooMany { .. } => error("LimitExceededException", problem.to_string()),
            RepositoryError::NameUnknown { .. } => error("RepositoryNotFoundException", problem.to_string()),
            problem => {
                tracing::error!("registry: {problem}");
                server_error()
            }
        }
    }
}
