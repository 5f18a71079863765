//! Links to code: whoever has one may fetch one zip for ten minutes, without a signature.
//!
//! A token says whose zip, which, and until when, and is sealed by a key that this process drew when it began. Nothing is
//! kept for it; a restart ends all links, which then have to be asked for again.

use crate::{CodeRecord, Control, ControlError, FunctionRecord, ZipCode};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use chunk::Account;
use serde::{Deserialize, Serialize};

/// Life of a link, ms: ten minutes, as GetFunction's reference says of AWS's.
const LIFE_MS: u64 = 10 * 60 * 1000;

#[derive(Serialize, Deserialize)]
struct Claims {
    account: String,
    code: ZipCode,
    until_ms: u64,
}

impl Control {
    /// A token for a version's zip, for [`Control::code_by_token`]; none for images.
    #[must_use]
    pub fn code_token(&self, record: &FunctionRecord) -> Option<String> {
        let CodeRecord::Zip(code) = &record.code else {
            return None;
        };
        Some(self.zip_token(&record.account, code))
    }

    /// The same for any stored zip, such as a layer's, that the caller may have.
    #[must_use]
    pub fn zip_token(&self, account: &Account, code: &ZipCode) -> String {
        let account = account.to_string();
        let claims = Claims {
            account,
            code: code.clone(),
            until_ms: self.now_ms() + LIFE_MS,
        };
        let text = serde_json::to_vec(&claims).expect("strings and numbers are always JSON");
        let tag = hmac::sign(&self.inner.link_key, &text);
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(tag))
    }

    /// The zip that a token names.
    ///
    /// Errors: `NotFound` for a token that is not ours, or too old.
    pub async fn code_by_token(&self, token: &str) -> Result<Bytes, ControlError> {
        let expired =
            || ControlError::not_found("This link to a function's code has expired. Ask GetFunction for another.");
        let (account, code) = self.read_token(token).ok_or_else(expired)?;
        Ok(self.packages().zip_bytes(&account, &code).await?)
    }

    fn read_token(&self, token: &str) -> Option<(Account, ZipCode)> {
        let (text, tag) = token.split_once('.')?;
        let text = URL_SAFE_NO_PAD.decode(text).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.inner.link_key, &text, &tag).ok()?;
        let claims: Claims = serde_json::from_slice(&text).ok()?;
        (self.now_ms() < claims.until_ms).then_some(())?;
        Some((claims.account.parse().ok()?, claims.code))
    }
}

/// A key for the tokens of one process.
pub(crate) fn draw_key() -> hmac::Key {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system always has random bytes");
    hmac::Key::new(hmac::HMAC_SHA256, &bytes)
}
