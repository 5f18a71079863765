//! What browsers are told about a function URL. The URL's settings win over what the function says.

use crate::answer::Response;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use control::Cors;

/// The answer to a preflight request; none if the request is not one.
pub(super) fn preflight(cors: &Cors, parts: &Parts) -> Option<Response> {
    let asks = parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if parts.method != Method::OPTIONS || !asks || !parts.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    if !set_origin(cors, parts, response.headers_mut()) {
        return Some(response);
    }
    let headers = response.headers_mut();
    set_list(
        headers,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        cors.allow_methods.as_deref(),
    );
    set_list(
        headers,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        cors.allow_headers.as_deref(),
    );
    if let Some(seconds) = cors.max_age {
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
    }
    Some(response)
}

/// Adds the URL's headers to an answer, in place of the function's own.
pub(super) fn decorate(cors: &Cors, parts: &Parts, response: &mut Response) {
    let headers = response.headers_mut();
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        header::ACCESS_CONTROL_MAX_AGE,
    ] {
        headers.remove(name);
    }
    if set_origin(cors, parts, headers) {
        set_list(
            headers,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            cors.expose_headers.as_deref(),
        );
    }
}

/// Names the origin if it is allowed. Whether it is.
fn set_origin(cors: &Cors, parts: &Parts, headers: &mut HeaderMap) -> bool {
    let Some(origin) = parts.headers.get(header::ORIGIN) else {
        return false;
    };
    let allowed = cors.allow_origins.as_deref().unwrap_or_default();
    let matches = |pattern: &String| pattern == "*" || pattern.as_bytes() == origin.as_bytes();
    if !allowed.iter().any(matches) {
        return false;
    }
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if cors.allow_credentials == Some(true) {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
    true
}

fn set_list(headers: &mut HeaderMap, name: HeaderName, values: Option<&[String]>) {
    let joined = values
        .filter(|values| !values.is_empty())
        .map(|values| values.join(","));
    if let Some(value) = joined.and_then(|joined| HeaderValue::try_from(joined).ok()) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn cors() -> Cors {
        Cors {
            allow_credentials: Some(true),
            allow_headers: Some(vec!["x-a".to_owned()]),
            allow_methods: Some(vec!["GET".to_owned(), "POST".to_owned()]),
            allow_origins: Some(vec!["https://good.example".to_owned()]),
            expose_headers: Some(vec!["x-b".to_owned()]),
            max_age: Some(60),
        }
    }

    fn parts(method: &str, origin: &str) -> Parts {
        let request = Request::builder()
            .method(method)
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "GET");
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn allowed_origins_are_named() {
        let response = preflight(&cors(), &parts("OPTIONS", "https://good.example")).unwrap();
        for (name, value) in [
            ("access-control-allow-origin", "https://good.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET,POST"),
            ("access-control-allow-headers", "x-a"),
            ("access-control-max-age", "60"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
    }

    #[test]
    fn others_are_not() {
        let response = preflight(&cors(), &parts("OPTIONS", "https://evil.example")).unwrap();
        assert!(response.headers().is_empty(), "{:?}", response.headers());
        let mut response = Response::new(Body::empty());
        response
            .headers_mut()
            .insert("access-control-allow-origin", HeaderValue::from_static("*"));
        decorate(&cors(), &parts("GET", "https://evil.example"), &mut response);
        assert!(
            response.headers().is_empty(),
            "the URL's settings win: {:?}",
            response.headers()
        );
        assert!(preflight(&cors(), &parts("GET", "https://good.example")).is_none());
    }
}
