//! What a path under `/v2/` asks for.
//!
//! Repository names hold slashes, and may hold `blobs` or `tags` as components; so a path is read from its end.

use control::packages::repositories::{ManifestReference, RepositoryName};

/// One resource of the distribution specification; names are checked, digests of blobs and ids are not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v2/`
    Version,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/tags/list`
    Tags(RepositoryName),
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest(RepositoryName, ManifestReference),
    /// `/v2/NAME/blobs/DIGEST`
    Blob(RepositoryName, String),
    /// `/v2/NAME/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/NAME/blobs/uploads/ID`
    Upload(RepositoryName, String),
    /// `/v2/NAME/referrers/DIGEST`
    Referrers(RepositoryName, String),
}

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteFault {
    /// No such resource.
    Unknown,
    /// A repository's name that cannot be.
    Name,
    /// A tag or digest that cannot be.
    Reference,
}

/// Reads a path as it stands in the request. Only the colon of a digest is ever sent escaped; any other escape is no
/// part of a name.
pub(super) fn route(path: &str) -> Result<Route, RouteFault> {
    let path = path.replace("%3A", ":").replace("%3a", ":");
    let rest = path.strip_prefix("/v2").ok_or(RouteFault::Unknown)?;
    let rest = match rest {
        "" | "/" => return Ok(Route::Version),
        "/_catalog" => return Ok(Route::Catalog),
        rest => rest.strip_prefix('/').ok_or(RouteFault::Unknown)?,
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let name = |parts: &[&str]| parts.join("/").parse::<RepositoryName>().map_err(|_| RouteFault::Name);
    match parts.as_slice() {
        [repository @ .., "tags", "list"] => Ok(Route::Tags(name(repository)?)),
        [repository @ .., "blobs", "uploads"] | [repository @ .., "blobs", "uploads", ""] => {
            Ok(Route::Uploads(name(repository)?))
        }
        [repository @ .., "blobs", "uploads", id] => Ok(Route::Upload(name(repository)?, (*id).to_owned())),
        [repository @ .., "blobs", digest] => Ok(Route::Blob(name(repository)?, (*digest).to_owned())),
        [repository @ .., "referrers", digest] => Ok(Route::Referrers(name(repository)?, (*digest).to_owned())),
        [repository @ .., "manifests", reference] => {
            let reference = reference.parse().map_err(|_| RouteFault::Reference);
            Ok(Route::Manifest(name(repository)?, reference?))
        }
        _ => Err(RouteFault::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let name = |text: &str| text.parse::<RepositoryName>().unwrap();
        let tag = "latest".parse().unwrap();
        let digest = format!("sha256:{}", "0".repeat(64));
        let cases = [
            ("/v2".to_owned(), Route::Version),
            ("/v2/".to_owned(), Route::Version),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/a/tags/list".to_owned(), Route::Tags(name("a"))),
            ("/v2/tags/list/tags/list".to_owned(), Route::Tags(name("tags/list"))),
            ("/v2/a/b/manifests/latest".to_owned(), Route::Manifest(name("a/b"), tag)),
            (
                format!("/v2/a/manifests/{}", digest.replace(':', "%3A")),
                Route::Manifest(name("a"), digest.parse().unwrap()),
            ),
            (format!("/v2/a/blobs/{digest}"), Route::Blob(name("a"), digest.clone())),
            ("/v2/a/blobs/uploads".to_owned(), Route::Uploads(name("a"))),
            ("/v2/a/blobs/uploads/".to_owned(), Route::Uploads(name("a"))),
            (
                "/v2/a/blobs/uploads/1".to_owned(),
                Route::Upload(name("a"), "1".to_owned()),
            ),
            (
                "/v2/blobs/blobs/uploads/1".to_owned(),
                Route::Upload(name("blobs"), "1".to_owned()),
            ),
            (
                format!("/v2/a/referrers/{digest}"),
                Route::Referrers(name("a"), digest.clone()),
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(route(&path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn hostile_paths_lead_nowhere() {
        let cases = [
            ("/v2x", RouteFault::Unknown),
            ("/v2/a", RouteFault::Unknown),
            ("/v2/tags/list", RouteFault::Name),
            ("/v2//tags/list", RouteFault::Name),
            ("/v2/../tags/list", RouteFault::Name),
            ("/v2/a/../b/tags/list", RouteFault::Name),
            ("/v2/a%2Fb/tags/list", RouteFault::Name),
            ("/v2/A/manifests/x", RouteFault::Name),
            ("/v2/a/manifests/..", RouteFault::Reference),
            ("/v2/a/manifests/sha256:0", RouteFault::Reference),
        ];
        for (path, expected) in cases {
            assert_eq!(route(path), Err(expected), "{path}");
        }
    }
}
