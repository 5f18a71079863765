//! Answers in memcached, where other gateways and the next start of this one find them.
//!
//! The servers are trusted with nothing. An answer is sealed under a key of its own, made from a secret that the gateways
//! of one record share, its function and its request; it lies under a name made in the same way. So a server learns how
//! long answers are and which are asked for again, it can neither make up an answer nor give one for another, and the
//! worst that it can do is to give an old one of the same request, which says itself when it was computed.
//!
//! What is sealed (`chunk::Envelope`), all numbers little-endian:
//!
//! ```text
//! offset  width  what
//!      0      1  version, 1
//!      1      8  when it was computed, ms since 1970
//!      9      2  bytes of the content type
//!     11      n  content type
//!   11+n         the answer, to the end
//! ```
//! The version comes first, so that an old reader meets it before all else; the answer last, since its length is what is
//! left.

use super::key::Key;
use super::shelf::Kept;
use aws_lc_rs::rand;
use cache::{VALUE_BYTES_MAX, ValueName, ValueTier};
use chunk::{DataKey, Envelope, KEY_BYTES, NONCE_BYTES};
use std::fmt;
use std::time::{Duration, Instant};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 11;

/// What hashes under the secret are for: BLAKE3 keeps the two apart.
const SEALING: &str = "lambent 2026-11-22 response cache: the sealing key of an answer";
const NAMING: &str = "lambent 2026-11-22 response cache: the name of an answer";

/// Clocks of gateways may differ by so much: an answer from further in the future is not believed.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// Answers on memcached servers, and the secret that seals them.
pub struct SharedAnswers {
    tier: ValueTier,
    secret: DataKey,
}

/// Which answer: that of a function, by its ARN without a qualifier, to a request. The key names version and account by
/// the lease's revision.
#[derive(Clone, Copy)]
pub(crate) struct Sought<'a> {
    pub(crate) arn: &'a str,
    pub(crate) key: &'a Key,
}

impl SharedAnswers {
    /// Answers on these servers. Whoever shares the secret shares them.
    #[must_use]
    pub const fn new(tier: ValueTier, secret: DataKey) -> Self {
        Self { tier, secret }
    }

    /// An answer that is younger than `ttl`, `now_ms` being milliseconds since 1970. Waits as long as a server
    /// may take: 100 ms, unless the fleet's file says another time.
    pub(crate) async fn find(&self, sought: Sought<'_>, ttl: Duration, now_ms: u64) -> Option<Kept> {
        let name = self.name(sought);
        let sealed = self.tier.get(name).await?;
        let opened = Envelope::open(&self.sealing_key(sought), &[], &sealed).ok();
        let Some((at_ms, content_type, body)) = opened.as_deref().and_then(read) else {
            self.tier.reject(name);
            return None;
        };
        let is_of_the_future = at_ms > now_ms.saturating_add(u64::try_from(CLOCK_SKEW_MAX.as_millis()).ok()?);
        let age = Duration::from_millis(now_ms.saturating_sub(at_ms));
        if is_of_the_future || age >= ttl {
            return None;
        }
        Some(Kept::copy_of(content_type, body, Instant::now().checked_sub(age)?))
    }

    /// Gives an answer away, to be kept for `ttl`; one that is too long is not. Waits for nobody.
    pub(crate) fn offer(&self, sought: Sought<'_>, kept: &Kept, (ttl, now_ms): (Duration, u64)) {
        let bytes = HEAD_BYTES + kept.content_type.len() + kept.body.len();
        let Ok(type_bytes) = u16::try_from(kept.content_type.len()) else {
            return;
        };
        if bytes + Envelope::OVERHEAD_BYTES > VALUE_BYTES_MAX {
            return;
        }
        let mut plain = Vec::with_capacity(bytes);
        plain.push(VERSION);
        plain.extend_from_slice(&now_ms.to_le_bytes());
        plain.extend_from_slice(&type_bytes.to_le_bytes());
        plain.extend_from_slice(kept.content_type.as_bytes());
        plain.extend_from_slice(&kept.body);
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce).expect("the operating system always has random bytes");
        let sealed = Envelope::seal(&self.sealing_key(sought), nonce, &[], &plain);
        self.tier.put(self.name(sought), sealed.into(), ttl);
    }

    fn sealing_key(&self, sought: Sought<'_>) -> DataKey {
        DataKey::from_bytes(self.derive(SEALING, sought))
    }

    fn name(&self, sought: Sought<'_>) -> ValueName {
        ValueName::from_bytes(self.derive(NAMING, sought))
    }

    fn derive(&self, purpose: &str, sought: Sought<'_>) -> [u8; KEY_BYTES] {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        hasher.update(self.secret.expose()).update(sought.key);
        // The one part whose length varies comes last.
        hasher.update(sought.arn.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// When it was computed, its content type, and the answer. None of another version is read.
fn read(plain: &[u8]) -> Option<(u64, &str, &[u8])> {
    let (version, rest) = plain.split_first()?;
    let (at_ms, rest) = rest.split_first_chunk::<8>()?;
    let (type_bytes, rest) = rest.split_first_chunk::<2>()?;
    let (content_type, body) = rest.split_at_checked(u16::from_le_bytes(*type_bytes).into())?;
    let content_type = str::from_utf8(content_type).ok()?;
    (*version == VERSION).then_some((u64::from_le_bytes(*at_ms), content_type, body))
}

impl fmt::Debug for SharedAnswers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SharedAnswers")
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
