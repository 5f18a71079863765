//! Names of the registry, by the grammar of the OCI distribution specification.
//!
//! What parses here is safe as a file name: no dot comes first, no slash is left, nothing is longer than Linux allows.

use crate::packages::blobs::Blob;
use std::fmt;
use std::str::FromStr;

/// Bytes of a repository's name: what the specification recommends with a host in front, and ext4's longest name.
const NAME_BYTES_MAX: usize = 200;

/// Bytes of a tag.
const TAG_BYTES_MAX: usize = 128;

/// A repository: components of lower-case letters and digits, separated by `.`, `_`, `__` or dashes, joined by `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(String);

/// A tag: a letter, digit or `_`, then those and `.` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// What names a manifest inside its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestReference {
    /// A name that may move.
    Tag(Tag),
    /// The manifest's own.
    Digest(Blob),
}

/// A text that is none of these.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {expected} that the distribution specification allows")]
pub struct NameParseError {
    /// What it should have been.
    pub expected: &'static str,
}

impl RepositoryName {
    /// As the client writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `@` is in no name.
    pub(super) fn file_name(&self) -> String {
        self.0.replace('/', "@")
    }

    pub(super) fn from_file_name(name: &str) -> Option<Self> {
        name.replace('@', "/").parse().ok()
    }
}

impl Tag {
    /// As the client writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for ManifestReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => formatter.write_str(&tag.0),
            Self::Digest(blob) => blob.fmt(formatter),
        }
    }
}

impl FromStr for RepositoryName {
    type Err = NameParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() <= NAME_BYTES_MAX && text.split('/').all(is_component) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameParseError {
            expected: "repository name",
        })
    }
}

impl FromStr for Tag {
    type Err = NameParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_tag = text.bytes().next().is_some_and(is_word)
            && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
            && text.len() <= TAG_BYTES_MAX;
        if is_tag {
            return Ok(Self(text.to_owned()));
        }
        Err(NameParseError { expected: "tag" })
    }
}

impl FromStr for ManifestReference {
    type Err = NameParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains(':') {
            return text.parse().map(Self::Tag);
        }
        let digest = text.parse().map(Self::Digest);
        digest.map_err(|_| NameParseError { expected: "digest" })
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().copied().is_some_and(is_word) || !bytes.last().copied().is_some_and(is_word) {
        return false;
    }
    let mut separators = text.split(|letter: char| letter.is_ascii() && is_word(letter as u8));
    separators.all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar_and_are_safe_as_files() {
        let long = "a".repeat(NAME_BYTES_MAX);
        for good in ["a", "team/scorer", "a.b", "a_b", "a__b", "a---b", "0/1/2", &long] {
            let name: RepositoryName = good.parse().unwrap();
            assert_eq!(RepositoryName::from_file_name(&name.file_name()), Some(name), "{good}");
        }
        let longer = "a".repeat(NAME_BYTES_MAX + 1);
        let bad = [
            "", "/", "a/", "/a", "a//b", ".", "..", "a/..", "a/../b", "../a", "A", "a..b", "a___b", "a._b", "-a", "a-",
            "_a", ".a", "a b", "a%2fb", "a\0b", "a@b", "ä", "a\\b", &longer,
        ];
        for text in bad {
            assert!(text.parse::<RepositoryName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn tags_and_digests_are_told_apart() {
        for good in ["latest", "1.0-rc_1", "_x", &"a".repeat(128)] {
            assert!(matches!(good.parse(), Ok(ManifestReference::Tag(_))), "{good}");
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        assert!(matches!(digest.parse(), Ok(ManifestReference::Digest(_))));
        for bad in [
            "",
            ".",
            "..",
            "-a",
            ".a",
            "a/b",
            "a b",
            "sha256:00",
            "sha512:00",
            "a\n",
            &"a".repeat(129),
        ] {
            assert!(bad.parse::<ManifestReference>().is_err(), "{bad:?}");
        }
    }
}
