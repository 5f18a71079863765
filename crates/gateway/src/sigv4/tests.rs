//! Our canonical form against the one of `aws-sigv4`, for requests as its clients make them. Requests that botocore
//! signs, good and bad, come over the wire in `tests/endpoint.rs`.

use super::canonical::{self, Form};
use super::{Authorization, timestamp};
use aws_credential_types::Credentials;
use aws_lc_rs::hmac;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::http::Request;
use std::time::{Duration, SystemTime};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TIME: &str = "20261122T055300Z";

/// Signs with the crate, and checks that our verifier's arithmetic comes to the same signature.
fn check(method: &str, uri: &str, headers: &[(&str, &str)], body: &[u8]) {
    let identity = Credentials::new("AKIDEXAMPLE", SECRET, None, None, "test").into();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(timestamp::parse(TIME).unwrap());
    let builder = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("lambda");
    let params = builder
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let signable = SignableRequest::new(method, uri, headers.iter().copied(), SignableBody::Bytes(body)).unwrap();
    let (instructions, signature) = sign(signable, &params).unwrap().into_parts();

    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "127.0.0.1:9000");
    for (name, value) in headers.iter().copied().chain(instructions.headers()) {
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let read = Authorization::parse(parts.headers["authorization"].to_str().unwrap()).unwrap();
    let payload_hash = canonical::payload_hash(body);
    let form = Form {
        signed_headers: read.signed_headers,
        payload_hash: &payload_hash,
        left_out: None,
    };
    let scope = read.credential.split_once('/').unwrap().1;
    let text = canonical::string_to_sign(&parts, &form, TIME, scope);
    let key = v4::generate_signing_key(SECRET, time, "us-east-1", "lambda");
    let ours = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), text.as_bytes());
    assert_eq!(
        hex::encode(ours),
        signature,
        "{method} {uri}\n{}",
        canonical::request(&parts, &form)
    );
}

#[test]
fn the_canonical_form_is_the_one_of_aws_sigv4() {
    let root = "http://127.0.0.1:9000";
    check("GET", &format!("{root}/2015-03-31/functions/"), &[], b"");
    check(
        "POST",
        &format!("{root}/2015-03-31/functions/hello/invocations"),
        &[("x-amz-log-type", "Tail")],
        b"{}",
    );
    let arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ahello%3A%24LATEST";
    check(
        "POST",
        &format!("{root}/2015-03-31/functions/{arn}/invocations?Qualifier=%24LATEST"),
        &[],
        b"{}",
    );
    check(
        "GET",
        &format!("{root}/2015-03-31/functions/arn:aws:lambda:us-east-1:123456789012:function:h"),
        &[],
        b"",
    );
    check(
        "GET",
        &format!("{root}/2017-03-31/tags/x%2Fy?tagKeys=b&tagKeys=a&tagKeys=%C3%A9%20%2B&A="),
        &[],
        b"",
    );
    check("GET", &format!("{root}/a/./b/../c//d/"), &[], b"");
    check(
        "GET",
        &format!("{root}/"),
        &[("x-amz-a", "  a   b  "), ("x-amz-a", "c")],
        b"",
    );
}
