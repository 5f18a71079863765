//! What a request to the registry needs of a key's policy, in ECR's words.
//!
//! Source: "Actions, resources, and condition keys for Amazon Elastic Container Registry".

use super::error::RegistryError;
use super::route::Route;
use crate::authorization::{Caller, NotAuthorized};
use axum::http::{Method, StatusCode};
use control::packages::repositories::RepositoryName;

/// Whether the key's policy allows a request.
pub(super) fn check(caller: &Caller, region: &str, route: &Route, method: &Method) -> Result<(), NotAuthorized> {
    let Some((action, repository)) = needed(route, method) else {
        return Ok(());
    };
    check_repository(caller, region, action, repository.map_or("*", RepositoryName::as_str))
}

/// Whether blobs of a repository may be read, which mounting one elsewhere amounts to.
pub(super) fn may_read(caller: &Caller, region: &str, repository: &str) -> bool {
    check_repository(caller, region, "ecr:GetDownloadUrlForLayer", repository).is_ok()
}

fn check_repository(caller: &Caller, region: &str, action: &str, repository: &str) -> Result<(), NotAuthorized> {
    let account = &caller.account;
    caller.check(
        action,
        &format!("arn:aws:ecr:{region}:{account}:repository/{repository}"),
    )
}

/// None for asking who one is. What no handler answers needs what reading needs.
fn needed<'a>(route: &'a Route, method: &Method) -> Option<(&'static str, Option<&'a RepositoryName>)> {
    let (action, repository) = match (route, method) {
        (Route::Version, _) => return None,
        (Route::Catalog, _) => ("ecr:DescribeRepositories", None),
        (Route::Tags(name), _) => ("ecr:ListImages", Some(name)),
        (Route::Manifest(name, _), &Method::PUT) => ("ecr:PutImage", Some(name)),
        (Route::Manifest(name, _) | Route::Blob(name, _), &Method::DELETE) => ("ecr:BatchDeleteImage", Some(name)),
        (Route::Manifest(name, _) | Route::Referrers(name, _), _) => ("ecr:BatchGetImage", Some(name)),
        (Route::Blob(name, _), &Method::HEAD) => ("ecr:BatchCheckLayerAvailability", Some(name)),
        (Route::Blob(name, _), _) => ("ecr:GetDownloadUrlForLayer", Some(name)),
        (Route::Upload(name, _), &Method::PATCH) => ("ecr:UploadLayerPart", Some(name)),
        (Route::Upload(name, _), &Method::PUT) => ("ecr:CompleteLayerUpload", Some(name)),
        (Route::Uploads(name) | Route::Upload(name, _), _) => ("ecr:InitiateLayerUpload", Some(name)),
    };
    Some((action, repository))
}

impl From<NotAuthorized> for RegistryError {
    fn from(refused: NotAuthorized) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", refused.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_needs_what_ecr_says_and_a_pull_less() {
        let name = || "team/app".parse::<RepositoryName>().unwrap();
        let manifest = || Route::Manifest(name(), "latest".parse().unwrap());
        for (route, method, expected) in [
            (Route::Uploads(name()), Method::POST, "ecr:InitiateLayerUpload"),
            (
                Route::Upload(name(), "1".to_owned()),
                Method::PATCH,
                "ecr:UploadLayerPart",
            ),
            (
                Route::Upload(name(), "1".to_owned()),
                Method::PUT,
                "ecr:CompleteLayerUpload",
            ),
            (manifest(), Method::PUT, "ecr:PutImage"),
            (manifest(), Method::GET, "ecr:BatchGetImage"),
            (manifest(), Method::HEAD, "ecr:BatchGetImage"),
            (manifest(), Method::DELETE, "ecr:BatchDeleteImage"),
            (
                Route::Blob(name(), String::new()),
                Method::GET,
                "ecr:GetDownloadUrlForLayer",
            ),
            (Route::Tags(name()), Method::GET, "ecr:ListImages"),
        ] {
            assert_eq!(needed(&route, &method).unwrap().0, expected, "{route:?} {method}");
        }
        assert!(needed(&Route::Version, &Method::GET).is_none());
    }

    #[test]
    fn a_policy_names_repositories() {
        let caller = Caller::limited(
            r#"{"Version": "2012-10-17", "Statement":
                {"Effect": "Allow", "Action": "ecr:*", "Resource": "arn:aws:ecr:*:*:repository/team/*"}}"#,
        );
        let may = |name: &str| {
            let route = Route::Manifest(name.parse().unwrap(), "latest".parse().unwrap());
            check(&caller, "us-east-1", &route, &Method::PUT).is_ok()
        };
        assert!(may("team/app"));
        assert!(!may("other/app"));
        assert!(may_read(&caller, "us-east-1", "team/base"));
        assert!(!may_read(&caller, "us-east-1", "other/base"));
        assert!(check(&caller, "us-east-1", &Route::Catalog, &Method::GET).is_err());
    }
}
