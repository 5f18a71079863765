//! Which registry an image reference means.

use super::error::PackageError;
use super::repositories::{ManifestReference, RepositoryName};
use chunk::Account;
use image::source::spec::SourceSpec;
use std::net::IpAddr;

/// Longest reference that Lambda takes as ImageUri; its repositories are shorter anyway.
const URI_BYTES_MAX: usize = 512;

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImagePlace {
    /// In the built-in registry.
    BuiltIn {
        /// Of the account that asks.
        repository: RepositoryName,
        /// Tag or digest.
        reference: ManifestReference,
    },
    /// In another one.
    Remote(SourceSpec),
}

/// Names of the built-in registry.
#[derive(Clone, Copy, Debug)]
pub struct OwnRegistry<'a> {
    /// `HOST` or `HOST:PORT`.
    pub hosts: &'a [String],
    /// In `ACCOUNT.dkr.ecr.REGION.amazonaws.com`.
    pub region: &'a str,
}

impl OwnRegistry<'_> {
    /// Reads a reference that a stranger wrote. It can name registries only, never a file of this machine.
    ///
    /// # Errors
    /// If it is no reference, or another account's.
    pub fn place(&self, account: &Account, uri: &str) -> Result<ImagePlace, PackageError> {
        if uri.len() > URI_BYTES_MAX || uri.contains("//") {
            return Err(not_valid(uri));
        }
        let own = uri.split_once('/').filter(|(host, _)| self.is_own(host));
        if let Some((host, rest)) = own {
            if let Some(owner) = owner(host).filter(|owner| *owner != account.as_str()) {
                return Err(PackageError::new(
                    "ImageAccessDenied",
                    format!(
                        "Lambda does not have permission to access the ECR image: {uri} belongs to account {owner}."
                    ),
                ));
            }
            let (repository, reference) = split(rest).ok_or_else(|| not_valid(uri))?;
            return Ok(ImagePlace::BuiltIn { repository, reference });
        }
        // The scheme makes sure that nothing else than a registry is read out of the rest.
        let spec = format!("docker://{uri}").parse().map_err(|_| not_valid(uri))?;
        Ok(ImagePlace::Remote(spec))
    }

    fn is_own(&self, host: &str) -> bool {
        let is_ecr = owner(host).is_some() && host.contains(&format!(".ecr.{}.", self.region));
        is_ecr || self.hosts.iter().any(|own| same_host(own, host))
    }
}

/// The account in `ACCOUNT.dkr.ecr.REGION.amazonaws.com`.
fn owner(host: &str) -> Option<&str> {
    let (account, rest) = host.split_once(".dkr.ecr.")?;
    let region = rest
        .strip_suffix(".amazonaws.com")
        .or_else(|| rest.strip_suffix(".amazonaws.com.cn"))?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (is_account && !region.is_empty() && !region.contains('.')).then_some(account)
}

/// Equal, or two names of one port of this machine's loopback.
fn same_host(own: &str, host: &str) -> bool {
    let loopback_port = |text: &str| {
        let (name, port) = text.rsplit_once(':')?;
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = address == "localhost"
            || address
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback() || address.is_unspecified());
        is_loopback.then(|| port.to_owned())
    };
    own.eq_ignore_ascii_case(host)
        || matches!((loopback_port(own), loopback_port(host)), (Some(one), Some(other)) if one == other)
}

/// `REPOSITORY[:TAG][@DIGEST]`; a digest wins over the tag, and neither is `latest`.
fn split(text: &str) -> Option<(RepositoryName, ManifestReference)> {
    let (text, digest) = match text.split_once('@') {
        Some((text, digest)) => (text, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = match text.split_once(':') {
        Some((name, tag)) => (name, Some(tag)),
        None => (text, None),
    };
    let tag: ManifestReference = tag.unwrap_or("latest").parse().ok()?;
    let reference = match digest {
        Some(digest) => ManifestReference::Digest(digest.parse().ok()?),
        None => tag,
    };
    Some((name.parse().ok()?, reference))
}

fn not_valid(uri: &str) -> PackageError {
    let shown: String = uri.chars().take(160).flat_map(char::escape_debug).collect();
    PackageError::request(format!(
        "Source image {shown} is not valid. Provide a valid source image."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn place(uri: &str) -> String {
        let hosts = ["127.0.0.1:9000".to_owned(), "lambent.example".to_owned()];
        let own = OwnRegistry {
            hosts: &hosts,
            region: "us-east-1",
        };
        let account = "123456789012".parse().unwrap();
        match own.place(&account, uri) {
            Ok(ImagePlace::BuiltIn { repository, reference }) => format!("own {repository} {reference}"),
            Ok(ImagePlace::Remote(spec)) => format!("remote {spec}"),
            Err(error) => error.reason_code.to_owned(),
        }
    }

    #[test]
    fn references_lead_to_the_registry_that_they_name() {
        let by_digest = format!("own a/b {DIGEST}");
        let cases = [
            ("127.0.0.1:9000/scorer:1", "own scorer 1"),
            ("localhost:9000/team/scorer", "own team/scorer latest"),
            ("[::1]:9000/scorer:1", "own scorer 1"),
            ("lambent.example/a:x", "own a x"),
            (&format!("127.0.0.1:9000/a/b@{DIGEST}"), by_digest.as_str()),
            (&format!("127.0.0.1:9000/a/b:tag@{DIGEST}"), by_digest.as_str()),
            ("123456789012.dkr.ecr.us-east-1.amazonaws.com/scorer:2", "own scorer 2"),
            (
                "210987654321.dkr.ecr.us-east-1.amazonaws.com/scorer:2",
                "ImageAccessDenied",
            ),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/scorer:2",
                "remote 123456789012.dkr.ecr.eu-west-1.amazonaws.com/scorer:2",
            ),
            ("localhost:9001/scorer:1", "remote localhost:9001/scorer:1"),
            (
                "public.ecr.aws/lambda/python:3.11",
                "remote public.ecr.aws/lambda/python:3.11",
            ),
            ("python:3.11", "remote docker.io/library/python:3.11"),
        ];
        for (uri, expected) in cases {
            assert_eq!(place(uri), expected, "{uri}");
        }
    }

    #[test]
    fn what_is_no_reference_and_what_is_a_file_is_refused() {
        let long = format!("127.0.0.1:9000/{}", "a".repeat(600));
        let cases = [
            "",
            "/",
            "/etc/passwd",
            "./x",
            "docker://python:3",
            "file:///etc/passwd",
            "127.0.0.1:9000/",
            &long,
            "127.0.0.1:9000/../../x:1",
            "127.0.0.1:9000/A:1",
            "127.0.0.1:9000/a:",
            "127.0.0.1:9000/a@sha256:00",
            "a b",
        ];
        for uri in cases {
            assert_eq!(place(uri), PackageError::INVALID_PARAMETER, "{uri}");
        }
        // A scheme of ours is the name of a repository here.
        assert_eq!(place("oci:etc"), "remote docker.io/library/oci:etc");
    }
}
