//! An image's name as a key of the store, and back.
//!
//! Names hold `/`, `:` and `@`; a key's segments become file names on a local directory. Each byte outside
//! `[A-Za-z0-9._-]` is written `%XX`, and so is a dot at the start of a segment: no segment is `.`, `..` or hidden.
//! A file name may have 255 bytes, and the local store adds a few to its temporary files, so a longer text continues
//! in the next segment; a segment that continues ends with `+`, so that no name's file is another name's folder.

use std::fmt::Write;

/// Bytes in a segment, without its `+`. 255 is what Linux allows; 200 leaves room for the local store's `#123`.
const SEGMENT_BYTES_MAX: usize = 200;

/// Bytes in an escaped name. 512 holds every registry reference (255 for a repository, 128 for a tag, 71 for a digest)
/// and stays far under the 1,024 bytes of S3's keys.
pub const RECORD_NAME_BYTES_MAX: usize = 512;

/// A name that cannot be stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordNameError {
    /// No byte at all.
    #[error("an image's name is empty: expected something like python:3.12")]
    Empty,
    /// Longer than [`RECORD_NAME_BYTES_MAX`] after escaping.
    #[error("image name `{start}…` is too long: {bytes} bytes when escaped, at most {RECORD_NAME_BYTES_MAX}")]
    TooLong {
        /// How the name begins.
        start: String,
        /// Its length when escaped.
        bytes: usize,
    },
}

/// One or more segments, joined by slashes.
pub(crate) fn escape(name: &str) -> Result<String, RecordNameError> {
    if name.is_empty() {
        return Err(RecordNameError::Empty);
    }
    let mut escaped = String::new();
    let mut segment_bytes = 0;
    for byte in name.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && segment_bytes > 0);
        let width = if plain { 1 } else { 3 };
        if segment_bytes + width > SEGMENT_BYTES_MAX {
            escaped.push_str("+/");
            // The dot that opens the next segment is escaped.
            segment_bytes = 0;
        }
        if plain && (byte != b'.' || segment_bytes > 0) {
            escaped.push(char::from(byte));
            segment_bytes += 1;
        } else {
            write!(escaped, "%{byte:02X}").expect("a String takes any text");
            segment_bytes += 3;
        }
    }
    if escaped.len() > RECORD_NAME_BYTES_MAX {
        return Err(RecordNameError::TooLong {
            start: name.chars().take(40).collect(),
            bytes: escaped.len(),
        });
    }
    Ok(escaped)
}

/// The name that [`escape`] turned into this text; `None` when it never wrote such a text.
pub(crate) fn unescape(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = match first {
            b'%' => {
                let (digits, tail) = tail.split_first_chunk::<2>()?;
                bytes.extend(hex::decode(digits).ok()?);
                tail
            }
            b'+' => tail.strip_prefix(b"/")?,
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    let name = String::from_utf8(bytes).ok()?;
    // One name has one key: `a%62` is nobody's.
    (escape(&name).ok()? == escaped).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_safe_keys_and_come_back() {
        let cases = [
            ("python:3.12", "python%3A3.12"),
            ("registry.example/a/b@sha256:0", "registry.example%2Fa%2Fb%40sha256%3A0"),
            (".", "%2E"),
            ("..", "%2E."),
            ("../../etc", "%2E.%2F..%2Fetc"),
            (".hidden", "%2Ehidden"),
            ("a#1", "a%231"),
            ("a+b%", "a%2Bb%25"),
            ("ä\n", "%C3%A4%0A"),
        ];
        for (name, expected) in cases {
            let escaped = escape(name).unwrap();
            assert_eq!(escaped, expected);
            assert_eq!(unescape(&escaped).as_deref(), Some(name));
        }
    }

    #[test]
    fn long_names_continue_in_the_next_segment() {
        for name in [
            "a".repeat(200),
            "a".repeat(201),
            "a".repeat(199) + ":",
            "a".repeat(200) + "..",
            "/".repeat(160),
        ] {
            let escaped = escape(&name).unwrap();
            assert!(
                escaped.split('/').all(|segment| segment.len() <= SEGMENT_BYTES_MAX + 1),
                "{escaped}"
            );
            assert!(escaped.split('/').all(|segment| !segment.starts_with('.')), "{escaped}");
            assert_eq!(unescape(&escaped), Some(name));
        }
    }

    #[test]
    fn names_without_a_key_are_refused() {
        assert_eq!(escape(""), Err(RecordNameError::Empty));
        assert!(matches!(
            escape(&"/".repeat(171)),
            Err(RecordNameError::TooLong { bytes: 517, .. })
        ));
    }

    #[test]
    fn keys_that_nobody_wrote_have_no_name() {
        for key in [
            "a%62", "a%3a", "%", "%4", "+", "a+", "a+b", "a+/b", "a/b", ".a", "a%FF", "a:b",
        ] {
            assert_eq!(unescape(key), None, "{key}");
        }
    }
}
