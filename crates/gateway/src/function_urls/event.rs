//! The event that a function gets for a request: payload format 2.0 of HTTP APIs.

use super::Address;
use crate::calendar;
use crate::query;
use crate::server::RequestContext;
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chunk::Account;
use control::FunctionUrl;
use serde_json::{Map, Value, json};

/// A request and what is known of it.
pub(super) struct Asked<'a> {
    pub(super) context: &'a RequestContext,
    pub(super) address: &'a Address,
    pub(super) url: &'a FunctionUrl,
    /// Whose signature was checked.
    pub(super) caller: Option<&'a Account>,
    pub(super) parts: &'a Parts,
    pub(super) now_ms: u64,
}

/// The event as JSON.
pub(super) fn event(asked: &Asked<'_>, body: &[u8]) -> Bytes {
    let query = asked.parts.uri.query().unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": asked.address.path,
        "rawQueryString": query,
        "headers": headers(asked),
        "requestContext": request_context(asked),
    });
    let cookies = cookies(asked.parts);
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    let parameters = parameters(query);
    if !parameters.is_empty() {
        event["queryStringParameters"] = Value::Object(parameters);
    }
    let text = std::str::from_utf8(body).ok().filter(|_| is_text(asked.parts));
    event["isBase64Encoded"] = Value::Bool(text.is_none() && !body.is_empty());
    if !body.is_empty() {
        event["body"] = Value::from(text.map_or_else(|| STANDARD.encode(body), str::to_owned));
    }
    event.to_string().into()
}

fn request_context(asked: &Asked<'_>) -> Value {
    let parts = asked.parts;
    let text = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let mut context = json!({
        "accountId": "anonymous",
        "apiId": asked.url.id,
        "domainName": asked.address.domain,
        "domainPrefix": asked.url.id,
        "http": {
            "method": parts.method.as_str(),
            "path": asked.address.path,
            "protocol": format!("{:?}", parts.version),
            "sourceIp": asked.context.peer.ip().to_string(),
            "userAgent": text("user-agent"),
        },
        "requestId": asked.context.request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": calendar::common_log_time(asked.now_ms),
        "timeEpoch": asked.now_ms,
    });
    if let Some(caller) = asked.caller {
        context["accountId"] = json!(caller.as_str());
        context["authorizer"] = json!({ "iam": {
            "accessKey": asked.context.access_key_of(parts),
            "accountId": caller.as_str(),
            "callerId": caller.as_str(),
            "cognitoIdentity": null,
            "principalOrgId": null,
            "userArn": format!("arn:aws:iam::{caller}:root"),
            "userId": caller.as_str(),
        }});
    }
    context
}

/// Names in small letters, values of one name joined by commas; cookies stand elsewhere.
fn headers(asked: &Asked<'_>) -> Map<String, Value> {
    let mut headers = Map::new();
    for name in asked.parts.headers.keys().filter(|name| *name != COOKIE) {
        let values = asked.parts.headers.get_all(name).into_iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        headers.insert(name.as_str().to_owned(), Value::from(values.join(",")));
    }
    headers.insert(HOST.as_str().to_owned(), Value::from(asked.address.domain.as_str()));
    let peer = asked.context.peer.ip().to_string();
    let forwarded = match headers.get("x-forwarded-for").and_then(Value::as_str) {
        Some(before) => format!("{before}, {peer}"),
        None => peer,
    };
    headers.insert("x-forwarded-for".to_owned(), Value::from(forwarded));
    headers
        .entry("x-forwarded-proto")
        .or_insert_with(|| Value::from("http"));
    headers
}

fn cookies(parts: &Parts) -> Vec<String> {
    let values = parts.headers.get_all(COOKIE).into_iter();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    values
        .flat_map(|line| line.split("; ").map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Values of one name are joined by commas.
fn parameters(query: &str) -> Map<String, Value> {
    let mut parameters: Map<String, Value> = Map::new();
    for (name, value) in query::pairs(query) {
        match parameters.get_mut(name.as_ref()) {
            Some(Value::String(before)) => {
                before.push(',');
                before.push_str(&value);
            }
            _ => {
                parameters.insert(name.into_owned(), Value::from(value.into_owned()));
            }
        }
    }
    parameters
}

/// Whether the content type names a text; all else goes in base64.
fn is_text(parts: &Parts) -> bool {
    let Some(kind) = parts.headers.get(CONTENT_TYPE) else {
        return true;
    };
    let kind = kind
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind.starts_with("text/")
        || ["application/json", "application/xml", "application/javascript"].contains(&kind.as_str())
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn event_of(request: axum::http::request::Builder, body: &[u8], caller: Option<&Account>) -> Value {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let context = RequestContext {
            request_id: "11111111-2222-4333-8444-555555555555".to_owned(),
            peer: ([10, 0, 0, 9], 4711).into(),
        };
        let address = super::super::find(&parts).unwrap();
        let url = FunctionUrl {
            id: address.id.clone(),
            account: "123456789012".parse().unwrap(),
            name: "f".to_owned(),
            qualifier: None,
            function_arn: String::new(),
            auth_type: "NONE".to_owned(),
            invoke_mode: "BUFFERED".to_owned(),
            cors: None,
            created_ms: 0,
            modified_ms: 0,
        };
        let asked = Asked {
            context: &context,
            address: &address,
            url: &url,
            caller,
            parts: &parts,
            now_ms: 1_583_348_638_390,
        };
        serde_json::from_slice(&event(&asked, body)).unwrap()
    }

    #[test]
    fn a_request_becomes_an_event() {
        let request = Request::builder()
            .method("POST")
            .uri("/_url/abc/path/to?parameter1=value1&parameter1=value2&parameter2=a%20b")
            .header("Host", "localhost:9000")
            .header("Header1", "value1")
            .header("Header1", "value2")
            .header("Cookie", "cookie1=a; cookie2=b")
            .header("User-Agent", "agent")
            .header("Content-Type", "application/json");
        let event = event_of(request, b"{\"a\":1}", None);
        let expected = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/path/to",
            "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=a%20b",
            "cookies": ["cookie1=a", "cookie2=b"],
            "headers": {"header1": "value1,value2", "host": "localhost", "user-agent": "agent",
                        "content-type": "application/json", "x-forwarded-for": "10.0.0.9", "x-forwarded-proto": "http"},
            "queryStringParameters": {"parameter1": "value1,value2", "parameter2": "a b"},
            "requestContext": {
                "accountId": "anonymous", "apiId": "abc", "domainName": "localhost", "domainPrefix": "abc",
                "http": {"method": "POST", "path": "/path/to", "protocol": "HTTP/1.1", "sourceIp": "10.0.0.9",
                         "userAgent": "agent"},
                "requestId": "11111111-2222-4333-8444-555555555555", "routeKey": "$default", "stage": "$default",
                "time": "04/Mar/2020:19:03:58 +0000", "timeEpoch": 1_583_348_638_390_u64,
            },
            "body": "{\"a\":1}",
            "isBase64Encoded": false,
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn bytes_go_in_base64_and_nothing_is_left_out_silently() {
        let request = || Request::builder().method("PUT").uri("/_url/abc/").header("Host", "h");
        let event = event_of(request().header("Content-Type", "image/png"), b"\x89PNG", None);
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!("iVBORw=="), &json!(true))
        );
        let event = event_of(request().header("Content-Type", "text/plain"), b"\xff", None);
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!("/w=="), &json!(true))
        );
        let event = event_of(request(), b"", None);
        assert_eq!((event.get("body"), &event["isBase64Encoded"]), (None, &json!(false)));
    }

    #[test]
    fn a_signed_caller_is_named() {
        let account: Account = "123456789012".parse().unwrap();
        let event = event_of(
            Request::builder().uri("/_url/abc/").header("Host", "h"),
            b"",
            Some(&account),
        );
        assert_eq!(
            event["requestContext"]["authorizer"]["iam"]["accountId"],
            "123456789012"
        );
        assert_eq!(event["requestContext"]["accountId"], "123456789012");
    }
}
