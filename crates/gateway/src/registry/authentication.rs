//! Who asks: HTTP Basic, as `docker login` stores it.
//!
//! User and password are an access key's id and secret; or `AWS` and a token of ECR's GetAuthorizationToken.

use super::error::RegistryError;
use crate::Gateway;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chunk::Account;

/// The user of ECR's tokens.
const TOKEN_USER: &str = "AWS";

/// Bytes of the header that are looked at; the longest that we give out has some 200.
const HEADER_BYTES_MAX: usize = 2_048;

/// The account that the request speaks for.
pub(super) fn authenticate(gateway: &Gateway, headers: &HeaderMap) -> Result<Account, RegistryError> {
    let value = headers.get(header::AUTHORIZATION);
    let Some((user, password)) = value.and_then(credentials) else {
        return Err(refused(
            "log in first: docker login with an access key's id as user and its secret as password",
        ));
    };
    let account = if user == TOKEN_USER {
        gateway
            .control
            .packages()
            .registry_tokens()
            .check(&password, gateway.now_ms())?
    } else {
        gateway.check_key(&user, &password)
    };
    account.ok_or_else(|| refused("user or password are wrong, or the key was revoked"))
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
