//! Who a request says it is from, and whether that is so.

use super::authorization::Authorization;
use super::canonical::{self, Form};
use super::signing_keys::{Derivation, SigningKeys};
use super::{SignatureFailure, timestamp};
use crate::authorization::Caller;
use crate::query;
use aws_lc_rs::{constant_time, hmac};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use control::AccessKey;
use std::borrow::Cow;
use std::sync::Arc;

/// How far a signer's clock may be from ours: 5 min, as AWS says in the text of the error.
const SKEW_MS: u64 = 5 * 60 * 1000;

/// Longest life of a presigned URL: 7 days. Source: "Authenticating Requests: Using Query Parameters", AWS.
const PRESIGNED_MAX_MS: u64 = 7 * 24 * 3600 * 1000;

/// `x-amz-` headers that may be outside of the signature: what agents and proxies add, and what no handler reads.
const UNSIGNED_ALLOWED: &[&str] = &["x-amz-user-agent", "x-amz-checksum-mode", "x-amz-cf-id"];

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// What a request says about itself, believed as far as it can be without its body.
pub(crate) struct Claim<'a> {
    key: AccessKey,
    credential: Cow<'a, str>,
    scope_start: usize,
    region: String,
    service: String,
    signed_headers: Cow<'a, str>,
    signature: [u8; 32],
    time: Cow<'a, str>,
    time_ms: u64,
    is_presigned: bool,
}

/// The three texts of a signature and its time, wherever they stood.
struct Said<'a> {
    credential: Cow<'a, str>,
    signed_headers: Cow<'a, str>,
    signature: Cow<'a, str>,
    time: Cow<'a, str>,
    /// Of a presigned URL: its life.
    expires_ms: Option<u64>,
}

/// The text under the signature that a request says it has; `None` when it says nothing that can be read. All that is
/// done with a stranger's request but asking for the key and comparing; a fuzz target.
#[must_use]
pub fn signed_text(parts: &Parts, body: &[u8]) -> Option<String> {
    let said = Said::read(parts).ok()?;
    let read = Authorization::from_parts(&said.credential, &said.signed_headers, &said.signature).ok()?;
    said.check_time(timestamp::parse(&said.time)?).ok()?;
    check_signed_headers(parts, read.signed_headers).ok()?;
    let payload_hash = payload_hash(parts, body).ok()?;
    let form = Form {
        signed_headers: read.signed_headers,
        payload_hash: &payload_hash,
        left_out: said.expires_ms.map(|_| "X-Amz-Signature"),
    };
    let scope = &said.credential[read.key_id.len() + 1..];
    Some(canonical::string_to_sign(parts, &form, &said.time, scope))
}

impl<'a> Claim<'a> {
    /// Looks at all that can be judged before the body is read.
    pub(crate) fn identify(
        parts: &'a Parts,
        service: &'static str,
        now_ms: u64,
        find_key: impl FnOnce(&str) -> Option<AccessKey>,
    ) -> Result<Self, SignatureFailure> {
        let said = Said::read(parts)?;
        let read = Authorization::from_parts(&said.credential, &said.signed_headers, &said.signature);
        let read = read.map_err(|error| SignatureFailure::Incomplete(error.to_string()))?;
        if parts.headers.contains_key("x-amz-security-token") || has_token(parts) {
            return Err(SignatureFailure::UnknownKey);
        }
        let key = find_key(read.key_id).ok_or(SignatureFailure::UnknownKey)?;
        if read.service != service {
            return Err(SignatureFailure::WrongService(service));
        }
        let time_ms = said.check_time(now_ms)?;
        if said.time.get(..8) != Some(read.date) {
            return Err(SignatureFailure::WrongDate(said.time.into_owned()));
        }
        check_signed_headers(parts, read.signed_headers)?;
        let scope_start = read.key_id.len() + 1;
        let (region, service, signature) = (read.region.to_owned(), read.service.to_owned(), read.signature);
        Ok(Self {
            key,
            scope_start,
            region,
            service,
            signature,
            time_ms,
            is_presigned: said.expires_ms.is_some(),
            credential: said.credential,
            signed_headers: said.signed_headers,
            time: said.time,
        })
    }

    /// Computes the signature and compares. Gives the key's holder.
    pub(crate) fn verify(self, parts: &Parts, body: &[u8], keys: &SigningKeys) -> Result<Caller, SignatureFailure> {
        let payload_hash = payload_hash(parts, body)?;
        let form = Form {
            signed_headers: &self.signed_headers,
            payload_hash: &payload_hash,
            left_out: self.is_presigned.then_some("X-Amz-Signature"),
        };
        let text = canonical::string_to_sign(parts, &form, &self.time, &self.credential[self.scope_start..]);
        let derivation = Derivation {
            credential: &self.credential,
            secret: self.key.secret.as_str(),
            time_ms: self.time_ms,
            region: &self.region,
            service: &self.service,
        };
        let (key, is_new) = keys.get(&derivation);
        hmac::verify(&key, text.as_bytes(), &self.signature).map_err(|_| SignatureFailure::Mismatch)?;
        if is_new {
            keys.keep(&self.credential, Arc::clone(&key));
        }
        Ok(Caller::of(self.key))
    }
}

impl<'a> Said<'a> {
    fn read(parts: &'a Parts) -> Result<Self, SignatureFailure> {
        match parts.headers.get(AUTHORIZATION) {
            Some(header) => Self::from_header(parts, header.to_str().unwrap_or_default()),
            None => Self::from_query(parts.uri.query().unwrap_or_default()),
        }
    }

    fn from_header(parts: &'a Parts, header: &'a str) -> Result<Self, SignatureFailure> {
        let incomplete = |text: String| SignatureFailure::Incomplete(text);
        // Read once here for its errors' texts; the parts are read again by `identify`, borrowed from this header.
        let read = Authorization::parse(header).map_err(|error| incomplete(error.to_string()))?;
        let time = parts.headers.get("x-amz-date").and_then(|value| value.to_str().ok());
        let time = time.ok_or_else(|| {
            incomplete(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".to_owned(),
            )
        })?;
        Ok(Self {
            credential: Cow::Borrowed(read.credential),
            signed_headers: Cow::Borrowed(read.signed_headers),
            signature: Cow::Owned(hex::encode(read.signature)),
            time: Cow::Borrowed(time),
            expires_ms: None,
        })
    }

    fn from_query(query: &'a str) -> Result<Self, SignatureFailure> {
        let value = |name: &str| {
            let mut found = query::pairs(query)
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value);
            found.next().filter(|_| found.next().is_none())
        };
        let algorithm = value("X-Amz-Algorithm").ok_or(SignatureFailure::Missing)?;
        let need = |name: &str| {
            let missing =
                || SignatureFailure::Incomplete(format!("AWS query-string parameters must include '{name}'."));
            value(name).ok_or_else(missing)
        };
        if algorithm != "AWS4-HMAC-SHA256" {
            return Err(SignatureFailure::Incomplete(format!(
                "Unsupported AWS 'algorithm': '{algorithm}'."
            )));
        }
        let expires = need("X-Amz-Expires")?
            .parse::<u32>()
            .ok()
            .map(|seconds| u64::from(seconds) * 1000);
        let expires = expires.filter(|expires| (1000..=PRESIGNED_MAX_MS).contains(expires));
        let bad = || SignatureFailure::Incomplete("X-Amz-Expires must be 1 to 604800 seconds.".to_owned());
        Ok(Self {
            credential: need("X-Amz-Credential")?,
            signed_headers: need("X-Amz-SignedHeaders")?,
            signature: need("X-Amz-Signature")?,
            time: need("X-Amz-Date")?,
            expires_ms: Some(expires.ok_or_else(bad)?),
        })
    }

    fn check_time(&self, now_ms: u64) -> Result<u64, SignatureFailure> {
        let malformed = || {
            SignatureFailure::Incomplete(format!(
                "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
                self.time
            ))
        };
        let signed_ms = timestamp::parse(&self.time).ok_or_else(malformed)?;
        let allowed_ms = self.expires_ms.unwrap_or(SKEW_MS);
        if signed_ms.saturating_add(allowed_ms) < now_ms {
            return Err(SignatureFailure::Expired {
                signed_ms,
                now_ms,
                allowed_ms,
            });
        }
        if signed_ms > now_ms.saturating_add(SKEW_MS) {
            return Err(SignatureFailure::NotYetCurrent {
                signed_ms,
                now_ms,
                allowed_ms: SKEW_MS,
            });
        }
        Ok(signed_ms)
    }
}

fn has_token(parts: &Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    query.contains("X-Amz-Security-Token") && query::pairs(query).any(|(name, _)| name == "X-Amz-Security-Token")
}

/// The host and every header that says something to us must be under the signature.
fn check_signed_headers(parts: &Parts, signed: &str) -> Result<(), SignatureFailure> {
    let is_signed = |name: &str| signed.split(';').any(|signed| signed == name);
    if !is_signed("host") {
        return Err(SignatureFailure::Unsigned("Host".to_owned()));
    }
    let says_something = |name: &&str| name.starts_with("x-amz-") && !UNSIGNED_ALLOWED.contains(name);
    let mut names = parts
        .headers
        .keys()
        .map(axum::http::HeaderName::as_str)
        .filter(says_something);
    let unsigned = names.find(|name| !is_signed(name));
    unsigned.map_or(Ok(()), |name| Err(SignatureFailure::Unsigned(name.to_owned())))
}

/// The hash that the canonical request names: of this body, unless the client says that it left the body out.
fn payload_hash(parts: &Parts, body: &[u8]) -> Result<Cow<'static, str>, SignatureFailure> {
    let declared = parts.headers.get("x-amz-content-sha256");
    if declared.is_some_and(|declared| declared == UNSIGNED_PAYLOAD) {
        return Ok(Cow::Borrowed(UNSIGNED_PAYLOAD));
    }
    let actual = canonical::payload_hash(body);
    let equal = |declared: &[u8]| constant_time::verify_slices_are_equal(declared, actual.as_bytes()).is_ok();
    if declared.is_some_and(|declared| !equal(declared.as_bytes())) {
        return Err(SignatureFailure::BodyDiffers);
    }
    Ok(Cow::Owned(actual))
}
