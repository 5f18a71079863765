//! The canonical request and the string to sign.
//!
//! ```text
//! METHOD \n PATH \n QUERY \n (name:value \n)* \n SIGNED_HEADERS \n HEX(SHA256(body))
//! ```
//! The path is taken as it was sent, its dot segments and double slashes removed, and encoded once more, `%` included:
//! all services but S3 sign that way, and that is how an ARN's colons stand there as `%253A`.
//! Source: "Create a signed AWS API request", AWS IAM User Guide.

use crate::query;
use aws_lc_rs::digest::{Context, SHA256};
use axum::http::HeaderMap;
use axum::http::request::Parts;

/// Parts of a canonical request that do not come from the request's own method, path and headers.
pub(super) struct Form<'a> {
    pub(super) signed_headers: &'a str,
    /// Hexadecimal digest, or `UNSIGNED-PAYLOAD`.
    pub(super) payload_hash: &'a str,
    /// The query's parameter that is not under the signature: `X-Amz-Signature` of a presigned URL.
    pub(super) left_out: Option<&'a str>,
}

/// The string to sign.
pub(super) fn string_to_sign(parts: &Parts, form: &Form<'_>, time: &str, scope: &str) -> String {
    let mut context = Context::new(&SHA256);
    context.update(request(parts, form).as_bytes());
    format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(context.finish()))
}

pub(super) fn request(parts: &Parts, form: &Form<'_>) -> String {
    // Room for the usual request: nothing grows on the hot path.
    let mut out = String::with_capacity(1024);
    out.push_str(parts.method.as_str());
    out.push('\n');
    add_path(&mut out, parts.uri.path());
    out.push('\n');
    add_query(&mut out, parts.uri.query().unwrap_or_default(), form.left_out);
    out.push('\n');
    for name in form.signed_headers.split(';') {
        out.push_str(name);
        out.push(':');
        add_header(&mut out, &parts.headers, name);
        out.push('\n');
    }
    out.push('\n');
    out.push_str(form.signed_headers);
    out.push('\n');
    out.push_str(form.payload_hash);
    out
}

fn add_path(out: &mut String, path: &str) {
    let mut segments: Vec<&str> = Vec::with_capacity(8);
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    for segment in &segments {
        out.push('/');
        query::encode(out, segment.as_bytes(), b"");
    }
    if segments.is_empty() || path.ends_with('/') {
        out.push('/');
    }
}

fn add_query(out: &mut String, query: &str, left_out: Option<&str>) {
    if query.is_empty() {
        return;
    }
    let encoded = |text: &str| {
        let mut out = String::with_capacity(text.len());
        query::encode(&mut out, text.as_bytes(), b"");
        out
    };
    let pairs = query::pairs(query).filter(|(name, _)| Some(name.as_ref()) != left_out);
    let mut pairs: Vec<(String, String)> = pairs.map(|(name, value)| (encoded(&name), encoded(&value))).collect();
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
}

/// All values of a header, joined by commas, runs of white space made one space.
fn add_header(out: &mut String, headers: &HeaderMap, name: &str) {
    for (index, value) in headers.get_all(name).into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        for (index, word) in text.split_ascii_whitespace().enumerate() {
            if index > 0 {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
}

/// Hexadecimal SHA-256 of a body.
pub(super) fn payload_hash(body: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(body);
    hex::encode(context.finish())
}
