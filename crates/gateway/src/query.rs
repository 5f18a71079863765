//! Percent-encoding, of paths and of queries.

use std::borrow::Cow;

/// The pairs of a query, decoded; `+` is a space.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    url::form_urlencoded::parse(query.as_bytes())
}

/// Decodes a path's segment. None if an escape is broken or the bytes are not UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (escape, after) = after.split_at_checked(2)?;
            let mut byte = [0];
            hex::decode_to_slice(escape, &mut byte).ok()?;
            bytes.extend_from_slice(&byte);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Appends bytes with all but the unreserved characters of RFC 3986, and `also`, percent-encoded.
pub(crate) fn encode(out: &mut String, bytes: &[u8], also: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) || also.contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(decode(text).as_deref(), expected, "{text}");
        check("plain", Some("plain"));
        check("a%3Ab%2fc", Some("a:b/c"));
        check("a+b", Some("a+b"));
        check("%", None);
        check("%4", None);
        check("%zz", None);
        check("%+4", None);
        check("%C3%A9", Some("é"));
        check("%C3", None);
    }

    #[test]
    fn encoding() {
        let mut out = String::new();
        encode(&mut out, "a b/é:~".as_bytes(), b"/");
        assert_eq!(out, "a%20b/%C3%A9%3A~");
    }
}
