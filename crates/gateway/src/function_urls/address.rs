//! Which function URL a request is for.

use axum::http::header::HOST;
use axum::http::request::Parts;

/// Under this path a URL is reached on any host.
const PATH: &str = "/_url/";

/// A function URL's id and what the request says behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Letters and digits.
    pub(crate) id: String,
    /// The path that the function sees, as it was sent; begins with `/`.
    pub(crate) path: String,
    /// The host without its port.
    pub(crate) domain: String,
}

/// The function URL that a request is for, if it is for one.
pub(crate) fn find(parts: &Parts) -> Option<Address> {
    let host = parts
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let domain = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let domain = domain.map_or(host, |(domain, _)| domain);
    let path = parts.uri.path();
    if let Some((id, after)) = domain.split_once('.')
        && after.starts_with("lambda-url.")
    {
        return Some(Address {
            id: id.to_ascii_lowercase(),
            path: path.to_owned(),
            domain: domain.to_owned(),
        });
    }
    let rest = path.strip_prefix(PATH)?;
    let (id, after) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    Some(Address {
        id: id.to_owned(),
        path: after.to_owned(),
        domain: domain.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn check(host: &str, uri: &str, expected: Option<(&str, &str, &str)>) {
        let (parts, ()) = Request::builder()
            .uri(uri)
            .header(HOST, host)
            .body(())
            .unwrap()
            .into_parts();
        let found = find(&parts);
        let found = found
            .as_ref()
            .map(|found| (found.id.as_str(), found.path.as_str(), found.domain.as_str()));
        assert_eq!(found, expected, "{host} {uri}");
    }

    #[test]
    fn urls_are_found_by_host_and_by_path() {
        let domain = "abc.lambda-url.us-east-1.localhost";
        check(&format!("{domain}:9000"), "/a/b?c=d", Some(("abc", "/a/b", domain)));
        check(domain, "/", Some(("abc", "/", domain)));
        check(
            "127.0.0.1:9000",
            "/_url/abc/x%2Fy",
            Some(("abc", "/x%2Fy", "127.0.0.1")),
        );
        check("127.0.0.1:9000", "/_url/abc", Some(("abc", "/", "127.0.0.1")));
        check("127.0.0.1:9000", "/2015-03-31/functions", None);
        check("localhost", "/", None);
    }
}
