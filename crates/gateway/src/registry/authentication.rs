//! Who asks: HTTP Basic, as `docker login` stores it.
//!
//! User and password are an access key's id and secret; or `AWS` and a token of ECR's GetAuthorizationToken, which is good
//! for as long as the key that asked for it, and for no more than that.

use super::error::RegistryError;
use crate::Gateway;
use crate::authorization::Caller;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The user of ECR's tokens.
const TOKEN_USER: &str = "AWS";

/// Bytes of the header that are looked at; the longest that we give out has some 200.
const HEADER_BYTES_MAX: usize = 2_048;

/// Who asks.
pub(super) fn authenticate(gateway: &Gateway, headers: &HeaderMap) -> Result<Caller, RegistryError> {
    let value = headers.get(header::AUTHORIZATION);
    let Some((user, password)) = value.and_then(credentials) else {
        return Err(refused(
            "log in first: docker login with an access key's id as user and its secret as password",
        ));
    };
    let caller = if user == TOKEN_USER {
        let tokens = gateway.control.packages().registry_tokens();
        let key_id = tokens.check(&password, gateway.now_ms())?;
        key_id.and_then(|id| gateway.control.access_key(&id)).map(Caller::of)
    } else {
        gateway.check_key(&user, &password)
    };
    caller.ok_or_else(|| refused("user or password are wrong, or the key was revoked"))
}

fn credentials(value: &HeaderValue) -> Option<(String, String)> {
    let value = value.to_str().ok().filter(|value| value.len() <= HEADER_BYTES_MAX)?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn refused(message: &str) -> RegistryError {
    let mut error = RegistryError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message);
    let realm = HeaderValue::from_static("Basic realm=\"lambent\"");
    error.headers.push((header::WWW_AUTHENTICATE, realm));
    error
}
