//! One question to Vault over HTTP: token, namespace, retries, and what its answers mean.
//!
//! Nothing is taken from the environment: no proxy, which would see data keys, and no VAULT_* variable. A redirect is
//! not followed, for the token would go wherever it points.

use super::error::{Cause, VaultError, VaultFault};
use super::{VaultSettings, token};
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Response, Url};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// One lost SYN costs 1 s and two cost 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// One attempt. Transit answers in some milliseconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Waits before the second and the third attempt.
const RETRY_WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];
/// A wrapped key, or a few messages; Vault's answers around them have some hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Of Vault's messages, what an error shows.
const MESSAGE_CHARACTERS_MAX: usize = 300;

const TOKEN_HEADER: &str = "x-vault-token";
const NAMESPACE_HEADER: &str = "x-vault-namespace";
/// What a Vault proxy may insist on.
const REQUEST_HEADER: &str = "x-vault-request";

/// The body of `encrypt` and `decrypt`; all in base64 but the ciphertext.
#[derive(Default, Serialize)]
pub(super) struct Question<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plaintext: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ciphertext: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) associated_data: Option<&'a str>,
}

/// What we read of an answer's `data`. Its texts are borrowed, so that no copy of a key is left behind.
#[derive(Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(borrow, default)]
    pub(super) plaintext: Option<&'a str>,
    #[serde(borrow, default)]
    pub(super) ciphertext: Option<&'a str>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: Answer<'a>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    errors: Vec<String>,
}

/// Speaks to one Vault.
pub(super) struct Client {
    http: reqwest::Client,
    address: Url,
    mount: String,
    namespace: Option<HeaderValue>,
    token_file: PathBuf,
}

impl<'a> Question<'a> {
    /// A question about the keys of the account that `binding` stands for.
    pub(super) fn bound(binding: &'a str) -> Self {
        Self {
            context: Some(binding),
            associated_data: Some(binding),
            ..Self::default()
        }
    }
}

impl<'a> Answer<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let envelope: Envelope<'a> = serde_json::from_slice(body).ok()?;
        Some(envelope.data)
    }
}

impl Client {
    pub(super) fn new(settings: &VaultSettings) -> Result<Self, VaultError> {
        let failed = |reason: String| VaultError::settings(settings, reason);
        let address = Url::parse(&settings.address).map_err(|error| failed(format!("its address: {error}")))?;
        if !(address.scheme() == "https" || address.scheme() == "http" && is_loopback(&address)) {
            return Err(failed(
                "without TLS Vault is spoken to on this machine only: use https://".to_owned(),
            ));
        }
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ATTEMPT_TIMEOUT);
        if let Some(path) = &settings.ca_file {
            let read = std::fs::read(path).map_err(|error| error.to_string());
            let roots = read.and_then(|pem| Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string()));
            let roots = roots.map_err(|error| failed(format!("the certificates in {}: {error}", path.display())))?;
            if roots.is_empty() {
                return Err(failed(format!("{} has no certificate", path.display())));
            }
            builder = builder.tls_certs_only(roots);
        }
        Ok(Self {
            http: builder.build().map_err(|error| failed(innermost(&error)))?,
            address,
            mount: settings.mount.trim_matches('/').to_owned(),
            namespace: settings
                .namespace
                .as_ref()
                .map(|name| HeaderValue::from_str(name).expect("its letters were checked")),
            token_file: settings.token_file.clone(),
        })
    }

    /// Asks the transit engine; gives the answer's body. What may pass by itself is tried again.
    pub(super) async fn ask(&self, path: &str, question: &Question<'_>) -> Result<Zeroizing<Vec<u8>>, Cause> {
        // Enough from the start: a vector that grows leaves copies behind.
        let mut body = Zeroizing::new(Vec::with_capacity(4096));
        serde_json::to_writer(&mut *body, question).expect("texts are always JSON, and memory takes them");
        // Wiped when the last of its clones is dropped.
        let body = Bytes::from_owner(body);
        let url = format!("{}/{path}", self.mount);
        let mut waits = RETRY_WAITS.into_iter();
        loop {
            let failed = match self.attempt(&url, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let may_pass = matches!(failed.fault, VaultFault::Unreachable | VaultFault::Unavailable);
            match waits.next() {
                Some(wait) if may_pass => tokio::time::sleep(wait).await,
                _ => return Err(failed),
            }
        }
    }

    async fn attempt(&self, path: &str, body: Bytes) -> Result<Zeroizing<Vec<u8>>, Cause> {
        let headers = self.headers().await?;
        let request = self.http.post(self.url(path)).headers(headers.clone()).body(body);
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let answer = read(response).await?;
        match status.as_u16() {
            200..=299 => Ok(answer),
            300..=399 => Err(Cause::new(
                VaultFault::Refused,
                "it redirects, which is not followed: give the address of the active server",
            )),
            403 => Err(self.forbidden(headers, &messages(&answer)).await),
            other => Err(Cause::of_answer(other, &messages(&answer))),
        }
    }

    /// Vault says 403 for a token that it does not know and for one that may not. Any good token may look itself up.
    async fn forbidden(&self, headers: HeaderMap, messages: &str) -> Cause {
        let looked_up = self.http.get(self.url("auth/token/lookup-self")).headers(headers);
        let fault = match looked_up.send().await.map(|response| response.status().as_u16()) {
            Ok(200) => VaultFault::AccessDenied,
            Ok(403) => VaultFault::NoCredentials,
            Ok(_) => VaultFault::Unavailable,
            Err(error) => return unreachable(&error),
        };
        Cause::new(fault, messages)
    }

    async fn headers(&self) -> Result<HeaderMap, Cause> {
        let path = self.token_file.clone();
        let reading = tokio::task::spawn_blocking(move || token::read(&path)).await;
        let token = reading.map_err(|error| Cause::new(VaultFault::Unavailable, error.to_string()))?;
        let token = token.map_err(|reason| Cause::new(VaultFault::NoCredentials, reason))?;
        let mut token = HeaderValue::from_str(&token).expect("a token has visible letters only");
        // Never printed, and never in a compression table of HTTP/2.
        token.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN_HEADER, token);
        headers.insert(REQUEST_HEADER, HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            headers.insert(NAMESPACE_HEADER, namespace.clone());
        }
        Ok(headers)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.address.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/v1/{path}"));
        url
    }
}

async fn read(mut response: Response) -> Result<Zeroizing<Vec<u8>>, Cause> {
    let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
    while let Some(piece) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            let reason = format!("its answer has more than {ANSWER_BYTES_MAX} bytes");
            return Err(Cause::new(VaultFault::Refused, reason));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// What Vault says in an answer that is no success, in one line.
fn messages(body: &[u8]) -> String {
    let errors = serde_json::from_slice::<Failure>(body).map_or_else(|_| Vec::new(), |failure| failure.errors);
    let words: Vec<&str> = errors.iter().flat_map(|error| error.split_whitespace()).collect();
    if words.is_empty() {
        return "no message".to_owned();
    }
    words.join(" ").chars().take(MESSAGE_CHARACTERS_MAX).collect()
}

fn unreachable(error: &reqwest::Error) -> Cause {
    Cause::new(VaultFault::Unreachable, innermost(error))
}

/// The system's own words; the client's outer ones say "error sending request".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let last = std::iter::successors(Some(error), |cause| (*cause).source()).last();
    last.unwrap_or(error).to_string()
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}
