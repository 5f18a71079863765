//! Reads what a request says about its signature. Pure; a fuzz target.

/// The parts of an Authorization header:
/// `AWS4-HMAC-SHA256 Credential=KEY/YYYYMMDD/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=HEX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// The whole credential: key and scope.
    pub credential: &'a str,
    /// The access key's id.
    pub key_id: &'a str,
    /// Eight digits.
    pub date: &'a str,
    /// Such as `us-east-1`; not empty.
    pub region: &'a str,
    /// Such as `lambda`; not empty.
    pub service: &'a str,
    /// Names of headers, in small letters, joined by `;`.
    pub signed_headers: &'a str,
    /// HMAC-SHA256.
    pub signature: [u8; 32],
}

/// Why a header is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationParseError {
    /// Another scheme: Basic, Bearer, AWS4-ECDSA-P256-SHA256.
    #[error("the authorization is not AWS4-HMAC-SHA256")]
    Scheme,
    /// A part is not there, or there twice.
    #[error("Authorization header requires '{0}' parameter.")]
    Missing(&'static str),
    /// A part is not what it must be.
    #[error("the authorization's {0} is malformed")]
    Malformed(&'static str),
}

const SCHEME: &str = "AWS4-HMAC-SHA256";

impl<'a> Authorization<'a> {
    /// Reads a header's value.
    ///
    /// # Errors
    /// If it is not one of ours; see [`AuthorizationParseError`].
    pub fn parse(header: &'a str) -> Result<Self, AuthorizationParseError> {
        let rest = header.strip_prefix(SCHEME).ok_or(AuthorizationParseError::Scheme)?;
        if !rest.starts_with([' ', '\t']) && !rest.is_empty() {
            return Err(AuthorizationParseError::Scheme);
        }
        let part = |name: &'static str| {
            let mut found = rest
                .split(',')
                .filter_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
            found
                .next()
                .filter(|_| found.next().is_none())
                .ok_or(AuthorizationParseError::Missing(name))
        };
        Self::from_parts(part("Credential")?, part("SignedHeaders")?, part("Signature")?)
    }

    /// The same from three texts, as they stand in a presigned URL's query.
    ///
    /// # Errors
    /// If one of them is malformed.
    pub fn from_parts(
        credential: &'a str,
        signed_headers: &'a str,
        signature: &str,
    ) -> Result<Self, AuthorizationParseError> {
        let mut scope = credential.split('/');
        let mut next = || scope.next().filter(|part| !part.is_empty());
        let (key_id, date, region, service, end) = (next(), next(), next(), next(), next());
        let (Some(key_id), Some(date), Some(region), Some(service), Some("aws4_request"), None) =
            (key_id, date, region, service, end, scope.next())
        else {
            return Err(AuthorizationParseError::Malformed("Credential"));
        };
        // A presigned URL's is decoded: a line break in it would make other lines of the text that is signed.
        let is_plain = credential.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AuthorizationParseError::Malformed("Credential"));
        }
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if !signed_headers.split(';').all(is_name) {
            return Err(AuthorizationParseError::Malformed("SignedHeaders"));
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature, &mut bytes).map_err(|_| AuthorizationParseError::Malformed("Signature"))?;
        Ok(Self {
            credential,
            key_id,
            date,
            region,
            service,
            signed_headers,
            signature: bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
    const CREDENTIAL: &str = "Credential=AKIA/20260101/us-east-1/lambda/aws4_request";

    fn check(header: &str, expected: Option<AuthorizationParseError>) {
        assert_eq!(Authorization::parse(header).err(), expected, "{header}");
    }

    #[test]
    fn headers_of_all_clients() {
        for comma in [", ", ",", " , "] {
            let header =
                format!("{SCHEME} {CREDENTIAL}{comma}SignedHeaders=host;x-amz-date{comma}Signature={SIGNATURE}");
            let read = Authorization::parse(&header).unwrap();
            assert_eq!((read.key_id, read.date, read.region), ("AKIA", "20260101", "us-east-1"));
            assert_eq!((read.service, read.signed_headers), ("lambda", "host;x-amz-date"));
            assert_eq!(hex::encode(read.signature), SIGNATURE);
        }
    }

    #[test]
    fn malformed_headers() {
        use AuthorizationParseError::{Malformed, Missing, Scheme};
        let signed = "SignedHeaders=host";
        check("", Some(Scheme));
        check("Basic QTpC", Some(Scheme));
        check("AWS4-HMAC-SHA256X", Some(Scheme));
        check("AWS4-HMAC-SHA256", Some(Missing("Credential")));
        check(&format!("{SCHEME} {CREDENTIAL}"), Some(Missing("SignedHeaders")));
        check(&format!("{SCHEME} {CREDENTIAL}, {signed}"), Some(Missing("Signature")));
        check(
            &format!("{SCHEME} {CREDENTIAL}, {CREDENTIAL}, {signed}, Signature={SIGNATURE}"),
            Some(Missing("Credential")),
        );
        check(
            &format!("{SCHEME} {CREDENTIAL}, {signed}, Signature=00"),
            Some(Malformed("Signature")),
        );
        check(
            &format!("{SCHEME} {CREDENTIAL}, {signed}, Signature={}", "g".repeat(64)),
            Some(Malformed("Signature")),
        );
        check(
            &format!("{SCHEME} {CREDENTIAL}, SignedHeaders=host;;a, Signature={SIGNATURE}"),
            Some(Malformed("SignedHeaders")),
        );
        for credential in [
            "A/20260101/r/s",
            "A/20260101/r/s/aws4_request/x",
            "A/20260101/r/s/aws4_request/",
            "A/20260101/r/s/aws4_request//x",
            "A/2026010/r/s/aws4_request",
            "////aws4_request",
            "A/20260101/r\n/s/aws4_request",
            "A/20260101/r é/s/aws4_request",
        ] {
            check(
                &format!("{SCHEME} Credential={credential}, {signed}, Signature={SIGNATURE}"),
                Some(Malformed("Credential")),
            );
        }
    }
}
