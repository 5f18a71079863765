//! Operating system and processor: `linux/amd64`, `linux/arm64/v8`.

use std::fmt;
use std::str::FromStr;

/// What an image runs on, in Go's words and normalised as containerd does: `arm64/v8` and `amd64/v1` lose the variant
/// that says nothing, plain `arm` is `arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// The platform of this build, which is the one that it runs on.
    #[must_use]
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// A platform of these words, normalised.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "loongarch64" => "loong64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            other => other,
        };
        let variant = match (architecture, variant.filter(|variant| !variant.is_empty())) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) => None,
            ("arm", None) => Some("v7"),
            (_, variant) => variant,
        };
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// BuildKit hangs provenance and other attestations into an index under this platform.
    pub(super) fn is_attestation(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// How well an image for `offered` runs here: lower is better, `None` is not at all.
    ///
    /// An ARM processor runs what was built for an older one, the newest of those first. Any other variant must be
    /// equal, or be missing on one side; of several then the smallest is taken, as it demands the least.
    pub(super) fn fit(&self, offered: &Self) -> Option<(u8, Option<String>)> {
        if (&self.os, &self.architecture) != (&offered.os, &offered.architecture) {
            return None;
        }
        match (self.variant.as_deref(), offered.variant.as_deref()) {
            (wanted, found) if wanted == found => Some((0, None)),
            (Some(wanted), Some(found)) if self.architecture == "arm" => {
                let older = arm_version(wanted)?.checked_sub(arm_version(found)?)?;
                Some((older, None))
            }
            (Some(_), Some(_)) => None,
            (Some(_), None) => Some((1, None)),
            (None, found) => Some((2, found.map(str::to_owned))),
        }
    }
}

fn arm_version(variant: &str) -> Option<u8> {
    variant.strip_prefix('v')?.parse().ok()
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}/{}",
            self.os.escape_debug(),
            self.architecture.escape_debug()
        )?;
        self.variant
            .as_ref()
            .map_or(Ok(()), |variant| write!(formatter, "/{}", variant.escape_debug()))
    }
}

/// A text that is not a platform.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a platform: expected OS/ARCHITECTURE[/VARIANT], as in linux/arm64")]
pub struct PlatformParseError {
    text: String,
}

impl FromStr for Platform {
    type Err = PlatformParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [os, architecture, variant @ ..] if variant.len() < 2 && parts.iter().all(is_word) => {
                Ok(Self::new(os, architecture, variant.first().copied()))
            }
            _ => Err(PlatformParseError { text: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_normalised() {
        let cases = [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), expected);
        }
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_best_fit_is_the_closest_variant_that_runs() {
        let cases = [
            ("linux/amd64", "linux/arm64 linux/amd64/v3 linux/amd64", "linux/amd64"),
            ("linux/amd64", "linux/amd64/v3 linux/amd64/v2", "linux/amd64/v2"),
            ("linux/arm/v7", "linux/arm/v8 linux/arm/v5 linux/arm/v6", "linux/arm/v6"),
            ("linux/arm64", "linux/arm/v7 linux/arm64/v8", "linux/arm64"),
            ("linux/amd64/v3", "linux/amd64 linux/amd64/v2", "linux/amd64"),
            ("linux/amd64", "windows/amd64 linux/arm64", ""),
        ];
        for (wanted, offered, expected) in cases {
            let wanted: Platform = wanted.parse().unwrap();
            let best = offered
                .split(' ')
                .map(|text| text.parse::<Platform>().unwrap())
                .filter_map(|platform| Some((wanted.fit(&platform)?, platform)))
                .min();
            assert_eq!(
                best.map(|(_, platform)| platform.to_string()).unwrap_or_default(),
                expected
            );
        }
    }
}
