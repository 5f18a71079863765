//! The transit engine's HTTP interface, as its public documents describe it, and no more of Vault than that.
//!
//! Not Vault and not OpenBao: neither was to be had from the registries that tests may use, so this proves that we keep
//! to the documented interface, and nothing about the real servers. Its ciphertexts are real AES-256-GCM with versioned
//! keys, associated data, and a derived key for each context where the key says so. Sources:
//! <https://developer.hashicorp.com/vault/api-docs/secret/transit> (paths, fields), `.../api-docs` (statuses, error
//! bodies), and the texts of errors in `sdk/helper/keysutil/policy.go`.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(super) const TOKEN: &str = "hvs.a-token-of-the-test";
pub(super) const NAMESPACE: &str = "team/images";

/// What the server knows, for tests to change.
#[derive(Default)]
pub(super) struct State {
    pub(super) keys: HashMap<String, TransitKey>,
    /// Paths that the token's policies forbid.
    pub(super) forbidden: Vec<String>,
    /// Whether the token is known.
    pub(super) token_is_known: bool,
    /// Statuses with which the next requests are answered.
    pub(super) failures: Vec<u16>,
    /// How long every answer takes.
    pub(super) delay: Duration,
    /// Requests so far, as `PATH`.
    pub(super) requests: Vec<String>,
}

#[derive(Default)]
pub(super) struct TransitKey {
    versions: Vec<[u8; 32]>,
    derived: bool,
    pub(super) min_decryption_version: usize,
}

impl TransitKey {
    pub(super) fn new(derived: bool) -> Self {
        let mut key = Self {
            derived,
            ..Self::default()
        };
        key.rotate();
        key
    }

    fn rotate(&mut self) {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).unwrap();
        self.versions.push(bytes);
    }

    fn cipher(&self, version: usize, context: &[u8]) -> LessSafeKey {
        let mut bytes = self.versions[version - 1];
        if self.derived {
            let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&bytes);
            let context = [context];
            secret
                .expand(&context, hkdf::HKDF_SHA256)
                .unwrap()
                .fill(&mut bytes)
                .unwrap();
        }
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).unwrap())
    }
}

/// A running server; ended when dropped.
pub(super) struct TransitServer {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl TransitServer {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            token_is_known: true,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                tokio::spawn(async move {
                    // Clients hang up as they like.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            state,
            serving,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for TransitServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let delay = state.lock().unwrap().delay;
    tokio::time::sleep(delay).await;
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let mut state = state.lock().unwrap();
    let path = head.uri.path().strip_prefix("/v1/").unwrap_or_default().to_owned();
    state.requests.push(path.clone());
    let known = header("x-vault-token") == Some(TOKEN) && state.token_is_known;
    let answered = if !state.failures.is_empty() {
        let status = state.failures.remove(0);
        Err((status, format!("failing with {status}")))
    } else if !known || state.forbidden.contains(&path) {
        Err((403, "permission denied".to_owned()))
    } else if path == "auth/token/lookup-self" {
        Ok(json!({}))
    } else if header("x-vault-namespace") != Some(NAMESPACE) || header("x-vault-request") != Some("true") {
        Err((404, "no handler for route".to_owned()))
    } else {
        transit(&mut state, &path, &body)
    };
    let (status, body) = match answered {
        Ok(data) => (
            200,
            json!({ "request_id": "1", "lease_id": "", "data": data, "warnings": null }),
        ),
        Err((status, message)) => (status, json!({ "errors": [message] })),
    };
    let response = Response::builder()
        .status(status)
        .header("Content-Type", "application/json");
    Ok(response.body(Full::from(body.to_string())).unwrap())
}

fn transit(state: &mut State, path: &str, body: &[u8]) -> Result<Value, (u16, String)> {
    let bad = |message: &str| (400, message.to_owned());
    let parts: Vec<&str> = path.split('/').collect();
    let (operation, name) = match parts[..] {
        ["transit", operation @ ("encrypt" | "decrypt"), name] => (operation, name),
        ["transit", "keys", name, operation @ "rotate"] => (operation, name),
        _ => return Err((404, "no handler for route".to_owned())),
    };
    let key = state
        .keys
        .get_mut(name)
        .ok_or_else(|| bad("encryption key not found"))?;
    if operation == "rotate" {
        key.rotate();
        return Ok(Value::Null);
    }
    let body: Value = serde_json::from_slice(body).map_err(|_| bad("failed to parse JSON input"))?;
    let field = |name: &str| body[name].as_str().unwrap_or_default();
    let decoded = |name: &str| STANDARD.decode(field(name)).map_err(|_| bad("failed to base64-decode"));
    let (context, associated) = (decoded("context")?, decoded("associated_data")?);
    if key.derived && context.is_empty() {
        return Err(bad(
            "missing 'context' for key derivation; the key was created using a derived key",
        ));
    }
    if operation == "encrypt" {
        let version = key.versions.len();
        let mut nonce = [0; 12];
        rand::fill(&mut nonce).unwrap();
        let mut sealed = decoded("plaintext")?;
        key.cipher(version, &context)
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&associated), &mut sealed)
            .unwrap();
        let text = STANDARD.encode([nonce.as_slice(), &sealed].concat());
        return Ok(json!({ "ciphertext": format!("vault:v{version}:{text}"), "key_version": version }));
    }
    let mut parts = field("ciphertext").splitn(3, ':');
    let (prefix, version, text) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    let version = version.and_then(|version| version.strip_prefix('v')?.parse::<usize>().ok());
    let version = version.filter(|version| *version > 0 && prefix == Some("vault"));
    let version = version.ok_or_else(|| bad("invalid ciphertext: no prefix"))?;
    if version > key.versions.len() {
        return Err(bad("invalid ciphertext: version is too new"));
    }
    if version < key.min_decryption_version {
        return Err(bad("ciphertext or signature version is disallowed by policy (too old)"));
    }
    let sealed = STANDARD
        .decode(text)
        .map_err(|_| bad("invalid ciphertext: could not decode base64"))?;
    let (nonce, sealed) = sealed
        .split_at_checked(12)
        .ok_or_else(|| bad("invalid ciphertext length"))?;
    let mut sealed = sealed.to_vec();
    let opened = key
        .cipher(version, &context)
        .open_in_place(
            Nonce::try_assume_unique_for_key(nonce).unwrap(),
            Aad::from(&associated),
            &mut sealed,
        )
        .map_err(|_| bad("cipher: message authentication failed"))?;
    Ok(json!({ "plaintext": STANDARD.encode(opened) }))
}
