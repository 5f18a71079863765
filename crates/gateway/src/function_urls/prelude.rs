//! The head of a streamed HTTP answer: a JSON object, eight zero bytes, then the body.
//!
//! The runtime says so with the content type `application/vnd.awslambda.http-integration-response`. Source: the
//! runtimes' `HttpResponseStream.from` (aws-lambda-nodejs-runtime-interface-client).

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The content type that announces a head.
pub(super) const CONTENT_TYPE: &str = "application/vnd.awslambda.http-integration-response";

/// Longest head, bytes. It holds headers and cookies; HTTP servers take 8 to 64 KiB of these.
const HEAD_BYTES_MAX: usize = 64 * 1024;

const SEPARATOR: [u8; 8] = [0; 8];

/// Status, headers and cookies of an answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    /// 200 if it is not said.
    pub(super) status_code: Option<u16>,
    /// Values are texts; numbers and truths are written out.
    #[serde(default)]
    pub(super) headers: Map<String, Value>,
    /// Each is a Set-Cookie.
    #[serde(default)]
    pub(super) cookies: Vec<String>,
}

/// No head where one was announced.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream does not begin with a JSON object and eight zero bytes")]
pub(super) struct HeadMissing;

/// Looks for the end of the head as pieces of the stream come.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    read: BytesMut,
}

impl HeadReader {
    /// Takes a piece. Gives the head and what came behind it, once it is whole.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Option<(Head, Bytes)>, HeadMissing> {
        // The separator may have begun in the piece before.
        let from = self.read.len().saturating_sub(SEPARATOR.len() - 1);
        self.read.extend_from_slice(piece);
        let found = self.read[from..]
            .windows(SEPARATOR.len())
            .position(|window| window == SEPARATOR);
        let Some(at) = found.map(|at| from + at) else {
            return if self.read.len() > HEAD_BYTES_MAX {
                Err(HeadMissing)
            } else {
                Ok(None)
            };
        };
        if at > HEAD_BYTES_MAX {
            return Err(HeadMissing);
        }
        let head = serde_json::from_slice(&self.read[..at]).map_err(|_| HeadMissing)?;
        let rest = self.read.split_off(at + SEPARATOR.len()).freeze();
        Ok(Some((head, rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and all that stands behind the head.
    type Seen = (Option<u16>, Vec<u8>);

    fn read(pieces: &[&[u8]]) -> Result<Option<Seen>, HeadMissing> {
        let mut reader = HeadReader::default();
        for (index, piece) in pieces.iter().enumerate() {
            if let Some((head, rest)) = reader.push(piece)? {
                let behind = pieces[index + 1..].concat();
                return Ok(Some((head.status_code, [rest.as_ref(), &behind].concat())));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_head_is_found_wherever_it_is_cut() {
        let stream = b"{\"statusCode\":201,\"headers\":{\"a\":\"b\"}}\0\0\0\0\0\0\0\0body\0\0\0\0\0\0\0\0more";
        for cut in 0..stream.len() {
            let (first, second) = stream.split_at(cut);
            let found = read(&[first, second]).unwrap().unwrap();
            assert_eq!(found, (Some(201), b"body\0\0\0\0\0\0\0\0more".to_vec()), "{cut}");
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        assert_eq!(read(&[b"plain text\0\0\0\0\0\0\0\0"]), Err(HeadMissing));
        assert_eq!(read(&[b"{}"]), Ok(None));
        assert_eq!(read(&[&vec![b' '; HEAD_BYTES_MAX + 1]]), Err(HeadMissing));
    }
}
