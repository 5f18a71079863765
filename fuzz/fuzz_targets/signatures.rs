//! Requests that say they are signed: `METHOD URI` in the first line, a header in each other, the body behind an empty one.

#![no_main]

use gateway::{Authorization, signed_text};
use http::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let Some((method, uri)) = lines.next().and_then(|line| line.split_once(' ')) else {
        return;
    };
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("authorization") {
            check_authorization(value);
        }
        request = request.header(name, value);
    }
    let Ok(request) = request.body(()) else { return };
    let (parts, ()) = request.into_parts();
    if let Some(signed) = signed_text(&parts, body.as_bytes()) {
        let lines: Vec<&str> = signed.split('\n').collect();
        assert_eq!((lines.len(), lines[0]), (4, "AWS4-HMAC-SHA256"), "{signed}");
        assert!(lines[1].len() == 16 && lines[3].len() == 64, "{signed}");
        assert!(lines[2].ends_with("/aws4_request"), "{signed}");
        assert_eq!(signed_text(&parts, body.as_bytes()), Some(signed));
    }
});

/// The parts are the whole: put together again they are the same.
fn check_authorization(header: &str) {
    let Ok(read) = Authorization::parse(header) else { return };
    let credential = [read.key_id, read.date, read.region, read.service, "aws4_request"].join("/");
    assert_eq!(read.credential, credential);
    let signature = hex::encode(read.signature);
    let again = Authorization::from_parts(&credential, read.signed_headers, &signature);
    assert_eq!(again.as_ref(), Ok(&read));
}
