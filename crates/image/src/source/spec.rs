//! The text with which a user names an image.
//!
//! ```text
//! oci:DIR[:TAG]                      an OCI image layout in a directory
//! oci-archive:FILE[:TAG]             the same in one tar file, which may be gzip or zstd
//! docker-archive:FILE[:REPO:TAG]     what `docker save` writes
//! [docker://]HOST[:PORT]/REPO:TAG    a registry; also REPO@sha256:…, and python:3.12 as docker reads it
//! ```
//! These are the words of skopeo and podman, and as there the first colon after the path ends it: a path with a colon
//! cannot be named.

use oci_client::Reference;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSpec {
    /// `oci:DIR[:TAG]`.
    Layout {
        /// The directory that holds `oci-layout`.
        directory: PathBuf,
        /// The wanted `org.opencontainers.image.ref.name`.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`.
    LayoutArchive {
        /// The tar file.
        file: PathBuf,
        /// The wanted `org.opencontainers.image.ref.name`.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:REPO:TAG]`.
    DockerArchive {
        /// The tar file.
        file: PathBuf,
        /// The wanted entry of `RepoTags`.
        reference: Option<Reference>,
    },
    /// A registry reference, in its full form.
    Registry(Reference),
}

impl SourceSpec {
    /// A name for the image where the user gives none, such as `docker.io/library/python:3.12` or `scikit:latest`.
    #[must_use]
    pub fn name_hint(&self) -> String {
        let named = |path: &Path, tag: &Option<String>| {
            format!("{}:{}", last_component(path), tag.as_deref().unwrap_or("latest"))
        };
        match self {
            Self::Layout { directory, tag } => named(directory, tag),
            Self::LayoutArchive { file, tag } => named(file, tag),
            Self::DockerArchive { file, reference: None } => named(file, &None),
            Self::DockerArchive {
                reference: Some(reference),
                ..
            }
            | Self::Registry(reference) => reference.whole(),
        }
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path, tag) = match self {
            Self::Layout { directory, tag } => ("oci", directory, tag.clone()),
            Self::LayoutArchive { file, tag } => ("oci-archive", file, tag.clone()),
            Self::DockerArchive { file, reference } => {
                ("docker-archive", file, reference.as_ref().map(Reference::whole))
            }
            Self::Registry(reference) => return write!(formatter, "{reference}"),
        };
        write!(formatter, "{scheme}:{}", path.display())?;
        tag.map_or(Ok(()), |tag| write!(formatter, ":{tag}"))
    }
}

/// A text that names no image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Nothing after the scheme.
    #[error("`{text}` names no path: expected {scheme}:PATH")]
    PathMissing {
        /// The whole text.
        text: String,
        /// `oci`, `oci-archive` or `docker-archive`.
        scheme: &'static str,
    },
    /// A colon with nothing behind it.
    #[error("`{text}` ends with a colon: leave it out, or write a tag behind it")]
    TagEmpty {
        /// The whole text.
        text: String,
    },
    /// A path without a scheme.
    #[error("`{text}` is a path without a kind: write oci:{text}, oci-archive:{text} or docker-archive:{text}")]
    SchemeMissing {
        /// The whole text.
        text: String,
    },
    /// A transport of other tools.
    #[error("`{scheme}` is not read here: use oci:, oci-archive:, docker-archive: or a registry reference")]
    SchemeUnknown {
        /// What stands before the colon.
        scheme: String,
    },
    /// Not a reference as docker reads it.
    #[error("`{text}` is not an image reference ({source}): expected something like registry.example/name:tag")]
    Reference {
        /// The text that should be a reference.
        text: String,
        /// What is wrong with it.
        source: oci_client::ParseError,
    },
}

impl FromStr for SourceSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scheme_and_rest = text.split_once(':');
        match scheme_and_rest {
            Some(("oci", rest)) => {
                let (directory, tag) = path_and_tag(text, "oci", rest)?;
                Ok(Self::Layout { directory, tag })
            }
            Some(("oci-archive", rest)) => {
                let (file, tag) = path_and_tag(text, "oci-archive", rest)?;
                Ok(Self::LayoutArchive { file, tag })
            }
            Some(("docker-archive", rest)) => {
                let (file, tag) = path_and_tag(text, "docker-archive", rest)?;
                let reference = tag.as_deref().map(reference).transpose()?;
                Ok(Self::DockerArchive { file, reference })
            }
            Some(("docker", rest)) if rest.starts_with("//") => Ok(Self::Registry(reference(&rest[2..])?)),
            Some((scheme, rest)) if is_foreign_scheme(scheme, rest) => Err(SpecError::SchemeUnknown {
                scheme: scheme.to_owned(),
            }),
            _ if is_path(text) => Err(SpecError::SchemeMissing { text: text.to_owned() }),
            _ => Ok(Self::Registry(reference(text)?)),
        }
    }
}

fn path_and_tag(text: &str, scheme: &'static str, rest: &str) -> Result<(PathBuf, Option<String>), SpecError> {
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    if path.is_empty() {
        let text = text.to_owned();
        return Err(SpecError::PathMissing { text, scheme });
    }
    if tag == Some("") {
        return Err(SpecError::TagEmpty { text: text.to_owned() });
    }
    Ok((PathBuf::from(path), tag.map(str::to_owned)))
}

/// `dir:x` could be a repository called `dir`, so only what no repository name can be is refused by its scheme.
fn is_foreign_scheme(scheme: &str, rest: &str) -> bool {
    rest.starts_with("//")
        || matches!(
            scheme,
            "docker-daemon" | "containers-storage" | "ostree" | "sif" | "tarball"
        )
}

fn is_path(text: &str) -> bool {
    text.starts_with(['/', '~']) || text.starts_with("./") || text.starts_with("../") || text == "." || text == ".."
}

fn reference(text: &str) -> Result<Reference, SpecError> {
    let failed = |source| SpecError::Reference {
        text: text.to_owned(),
        source,
    };
    let read: Reference = text.parse().map_err(failed)?;
    // Of `Name/image` it takes the capital for a host's, and then puts docker.io before it: only what is printed counts.
    read.to_string().parse().map_err(failed)
}

/// `builds/scikit.tar.gz` gives `scikit`; a path without a name (`.`, `/`) gives `image`.
fn last_component(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|| "image".to_owned());
    let stem = [".tar", ".tar.gz", ".tgz", ".tar.zst"]
        .into_iter()
        .find_map(|ending| name.strip_suffix(ending).filter(|stem| !stem.is_empty()));
    stem.unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_skopeo_and_docker_read_them() {
        let cases = [
            ("oci:dir", "oci:dir", "dir:latest"),
            ("oci:a/b:1.2", "oci:a/b:1.2", "b:1.2"),
            ("oci:.", "oci:.", "image:latest"),
            (
                "oci-archive:/x/scikit.tar.gz",
                "oci-archive:/x/scikit.tar.gz",
                "scikit:latest",
            ),
            ("docker-archive:x.tar", "docker-archive:x.tar", "x:latest"),
            (
                "docker-archive:x.tar:python:3.12",
                "docker-archive:x.tar:docker.io/library/python:3.12",
                "docker.io/library/python:3.12",
            ),
            (
                "python",
                "docker.io/library/python:latest",
                "docker.io/library/python:latest",
            ),
            ("docker://a/b:c", "docker.io/a/b:c", "docker.io/a/b:c"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c", "localhost:5000/a/b:c"),
            ("registry.example/a:1", "registry.example/a:1", "registry.example/a:1"),
        ];
        for (text, display, hint) in cases {
            let spec: SourceSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), display, "{text}");
            assert_eq!(spec.name_hint(), hint, "{text}");
            assert_eq!(display.parse::<SourceSpec>().unwrap(), spec, "{text}");
        }
    }

    #[test]
    fn a_digest_replaces_the_tag() {
        let text = format!("registry.example/a@sha256:{}", "ab".repeat(32));
        assert_eq!(text.parse::<SourceSpec>().unwrap().to_string(), text);
    }

    #[test]
    fn a_wrong_text_says_what_to_write() {
        let cases = [
            ("oci:", "expected oci:PATH"),
            ("oci:dir:", "ends with a colon"),
            ("./dir", "write oci:./dir"),
            ("/tmp/x.tar", "write oci:/tmp/x.tar"),
            ("https://registry.example/a", "`https` is not read here"),
            ("docker-daemon:a:b", "`docker-daemon` is not read here"),
            ("registry.example/UPPER:1", "is not an image reference"),
            ("", "is not an image reference"),
            ("a@sha256:1234", "is not an image reference"),
            ("Name/image:1", "is not an image reference"),
        ];
        for (text, expected) in cases {
            let message = text.parse::<SourceSpec>().unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
