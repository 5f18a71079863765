//! How long an unwrapped key is used.
//!
//! ```text
//! attached ─> in use ── life is over: asked again ──> given ─────────────────────────> in use
//!               │                                ├──> no answer, within the grace ──> in use, asked again soon
//!               │                                └──> refused, or the grace is over ─> closed: keys wiped, reads fail
//!               └─ last unmount ─> detached
//! ```
//! A thread asks, off the path of reads, and once for all images that one key wrapped. A refusal is looked into before
//! it counts: a rotation may have wrapped the image anew since, and the old key may be gone with good reason.
//!
//! A closed device stays under its number, since mounts are over it, and is closed until the last of them is gone. What
//! the kernel has in its page cache, and plaintext that other images share, can still be read there.

use super::{Attached, Images, Slot, lock};
use crate::error::WorkerError;
use crate::handover::DeviceState;
use crate::report::KeyStats;
use crate::settings::KeyLife;
use api::ImageAddress;
use block::kernel::DeviceNumber;
use block::{ImageDevice, SharedParts};
use chunk::{Account, DataKey, KEY_BYTES, Manifest};
use keys::{KeyError, KeyProvider, WrappingKey};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, TryLockError, Weak};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often the thread looks whether a key's life is over.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// When a provider that did not answer is asked again, if a key's life is not shorter.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// What stands for a key that was wiped. Nobody draws it: one key in 2^256 is all zeros.
const NO_KEY: [u8; KEY_BYTES] = [0; KEY_BYTES];

/// How long an image's key may be used. Clocks that are set do not move it.
#[derive(Clone, Debug)]
pub(super) struct KeyLease {
    /// What the provider is asked with.
    wrapped: Arc<[u8]>,
    /// When the provider last gave the key.
    given: Instant,
    /// When it is asked again.
    ask_at: Instant,
    /// Questions without an answer since then.
    unanswered: u64,
}

/// What the provider says.
#[derive(Clone, Debug)]
enum Verdict {
    Given,
    NoAnswer(String),
    Refused(String),
}

/// Images that one key wrapped.
type Group = (Account, Option<WrappingKey>);

impl KeyLease {
    /// Of a key that was just given.
    pub(super) fn fresh(wrapped: Vec<u8>, settings: KeyLife) -> Self {
        let now = Instant::now();
        Self {
            ask_at: now + settings.life,
            ..Self::due_at(wrapped, now)
        }
    }

    /// Of a key that a predecessor was given.
    pub(super) fn due(wrapped: Vec<u8>) -> Self {
        Self::due_at(wrapped, Instant::now())
    }

    fn due_at(wrapped: Vec<u8>, now: Instant) -> Self {
        Self {
            wrapped: wrapped.into(),
            given: now,
            ask_at: now,
            unanswered: 0,
        }
    }

    pub(super) fn stats(&self, refused: bool) -> KeyStats {
        KeyStats {
            refused,
            unanswered: self.unanswered,
            age_seconds: self.given.elapsed().as_secs(),
        }
    }

    /// Takes the provider's word; the reason is given when the key must not be used any more.
    fn apply(&mut self, verdict: Verdict, now: Instant, settings: KeyLife) -> Result<(), String> {
        match verdict {
            Verdict::Given => {
                (self.given, self.unanswered) = (now, 0);
                self.ask_at = now + settings.life;
                Ok(())
            }
            Verdict::NoAnswer(reason) if now.duration_since(self.given) < settings.grace => {
                self.unanswered += 1;
                self.ask_at = now + RETRY_PAUSE.min(settings.life);
                tracing::warn!(
                    unanswered = self.unanswered,
                    "a key could not be asked for again: {reason}"
                );
                Ok(())
            }
            Verdict::NoAnswer(reason) => {
                let grace = settings.grace.as_secs();
                Err(format!("its provider gave no answer for {grace} s: {reason}"))
            }
            Verdict::Refused(reason) => Err(reason),
        }
    }
}

/// Starts the thread that asks; it ends with the images.
pub(crate) fn renew_keys(images: &Arc<Images>) -> io::Result<()> {
    let images = Arc::downgrade(images);
    let work = move || {
        while let Some(images) = Weak::upgrade(&images) {
            images.renew_due();
            drop(images);
            std::thread::sleep(LOOK_INTERVAL);
        }
    };
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(work)
        .map(|_| ())
}

impl Images {
    /// Asks for all keys whose life is over.
    fn renew_due(&self) {
        let mut groups: HashMap<Group, Vec<(Arc<Slot>, Attached)>> = HashMap::new();
        for (slot, attached) in self.due() {
            let key = WrappingKey::of(&attached.lease.wrapped).ok();
            let group = (attached.state.address.account.clone(), key);
            groups.entry(group).or_default().push((slot, attached));
        }
        if groups.is_empty() {
            return;
        }
        let mut questions = JoinSet::new();
        for members in groups.into_values() {
            let keys = self.parts.keys.clone();
            let (account, wrapped) = (
                members[0].1.state.address.account.clone(),
                members[0].1.lease.wrapped.clone(),
            );
            let question = async move { (ask(&keys, &account, &wrapped).await, members) };
            questions.spawn_on(question, &self.parts.shared.runtime);
        }
        let answers = self.parts.shared.runtime.block_on(questions.join_all());
        for (verdict, members) in answers {
            for (slot, attached) in members {
                self.settle(&slot, &attached, verdict.clone());
            }
        }
    }

    /// The images whose keys are due. One that is being attached or detached at this moment waits for the next look.
    fn due(&self) -> Vec<(Arc<Slot>, Attached)> {
        let now = Instant::now();
        let slots: Vec<Arc<Slot>> = lock(&self.slots).values().cloned().collect();
        let due = slots.into_iter().filter_map(|slot| {
            let attached = match slot.try_lock() {
                Ok(held) => held.clone(),
                Err(TryLockError::Poisoned(held)) => held.into_inner().clone(),
                Err(TryLockError::WouldBlock) => None,
            }?;
            let is_due = !attached.device.is_closed() && attached.lease.ask_at <= now;
            is_due.then_some((slot, attached))
        });
        due.collect()
    }

    /// Lets one image's lease take the word for its group.
    fn settle(&self, slot: &Slot, asked: &Attached, verdict: Verdict) {
        let (verdict, wrapped) = match verdict {
            Verdict::Refused(reason) => self.look_again(asked, reason),
            verdict => (verdict, None),
        };
        let mut slot = lock(slot);
        // It may have been detached meanwhile, and attached again.
        let same = slot.as_mut().filter(|now| now.state.number == asked.state.number);
        let Some(attached) = same else { return };
        if let Some(wrapped) = wrapped {
            tracing::info!(image = attached.device.name(), "its key was found wrapped anew");
            attached.lease.wrapped = wrapped;
        }
        let applied = attached
            .lease
            .apply(verdict, Instant::now(), self.parts.settings.key_life);
        if let Err(reason) = applied {
            self.close(attached, &reason);
        }
    }

    /// Whether the refused image was wrapped anew since, and opens so.
    fn look_again(&self, asked: &Attached, reason: String) -> (Verdict, Option<Arc<[u8]>>) {
        let address = &asked.state.address;
        let again = async {
            let stored = self.parts.store.get_wrapped_key(address.manifest).await;
            let stored: Arc<[u8]> = stored.ok().flatten()?.as_ref().into();
            if stored == asked.lease.wrapped {
                return None;
            }
            match ask(&self.parts.keys, &address.account, &stored).await {
                Verdict::Given => Some((Verdict::Given, Some(stored))),
                other => Some((other, None)),
            }
        };
        let found = self.parts.shared.runtime.block_on(again);
        found.unwrap_or((Verdict::Refused(reason), None))
    }

    /// Wipes the keys of an image; from now on its reads fail.
    fn close(&self, attached: &mut Attached, reason: &str) {
        let number = DeviceNumber(attached.state.number);
        tracing::error!(
            image = attached.device.name(),
            "closed, and its keys are wiped: {reason}"
        );
        let closed = attached.device.without_keys();
        // Between the two a read fails as well.
        self.parts.table.remove(number);
        self.parts.table.insert(number, closed.clone());
        attached.device = closed;
        attached.state = Arc::new(DeviceState {
            key: DataKey::from_bytes(NO_KEY),
            ..DeviceState::clone(&attached.state)
        });
        self.keep(&attached.state);
    }
}

/// One question to the provider.
async fn ask(keys: &KeyProvider, account: &Account, wrapped: &[u8]) -> Verdict {
    // The key itself is dropped, and wiped, here: who has it goes on using it.
    match keys.unwrap(account, wrapped).await {
        Ok(_) => Verdict::Given,
        Err(error) => verdict_of(&error),
    }
}

fn verdict_of(error: &KeyError) -> Verdict {
    if error.is_refusal() {
        Verdict::Refused(error.to_string())
    } else {
        Verdict::NoAnswer(error.to_string())
    }
}

/// The device of a state whose key was wiped; `None` when it has a key.
pub(super) fn closed_device(
    state: &DeviceState,
    shared: &SharedParts,
) -> Result<Option<Arc<ImageDevice>>, WorkerError> {
    if *state.key.expose() != NO_KEY {
        return Ok(None);
    }
    let address = &state.address;
    let manifest = Manifest::decode(&state.manifest).map_err(|source| super::manifest_error(address, source))?;
    let chunks = manifest.entries().len();
    let closed = ImageDevice::closed(address.name.clone(), address.manifest, chunks, shared.clone());
    Ok(Some(closed))
}

/// Why a closed image is not mounted once more.
pub(super) fn refused(address: &ImageAddress) -> WorkerError {
    WorkerError::KeyRefused {
        name: address.name.clone(),
        account: address.account.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: KeyLife = KeyLife {
        life: Duration::from_secs(60),
        grace: Duration::from_secs(900),
    };

    #[test]
    fn a_lease_follows_the_provider() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let no_answer = || Verdict::NoAnswer("away".to_owned());
        let mut lease = KeyLease::due_at(vec![1], start);
        assert_eq!(lease.apply(Verdict::Given, at(0), SETTINGS), Ok(()));
        assert_eq!(lease.ask_at, at(60));
        // Away: asked more often, served on until the grace since the last answer is over.
        for (number, seconds) in [60, 70, 899].into_iter().enumerate() {
            assert_eq!(lease.apply(no_answer(), at(seconds), SETTINGS), Ok(()));
            assert_eq!((lease.ask_at, lease.unanswered), (at(seconds + 10), number as u64 + 1));
        }
        let mut over = lease.clone();
        let reason = over.apply(no_answer(), at(900), SETTINGS).unwrap_err();
        assert_eq!(reason, "its provider gave no answer for 900 s: away");
        // Back in time.
        assert_eq!(lease.apply(Verdict::Given, at(899), SETTINGS), Ok(()));
        assert_eq!((lease.ask_at, lease.unanswered), (at(959), 0));
        let refused = lease.apply(Verdict::Refused("no".to_owned()), at(900), SETTINGS);
        assert_eq!(refused, Err("no".to_owned()));
    }
}
