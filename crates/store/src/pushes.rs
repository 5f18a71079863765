//! What protects a push from garbage collection.
//!
//! A push writes chunks and a manifest into the root that is active when it begins, and at its end a record that names
//! that root. In between the root may retire, and a collector cannot see what the record will need. So:
//!
//! ```text
//! push                                        collector, of a root that is no longer active
//! 1  read the active root                     a  let the root retire
//! 2  write  pushes/ROOT/TOKEN/open            b  list pushes/ROOT/: for each push that is open, wait; when its grace
//! 3  is the root active still? else 1            is over, decide TOKEN/outcome := revoked
//! 4  write chunks, manifest                   c  any push still open? try again later
//! 5  decide TOKEN/outcome := commit MANIFEST  d  list records; live = records and committed pushes; move them
//! 6  write the record                         e  let the root expire
//! 7  delete TOKEN/open, TOKEN/outcome
//! ```
//! An outcome is decided once, by a put-if-absent: whoever comes second reads what the first decided. A push that finds
//! itself revoked writes no record and begins anew in the active root.
//!
//! **Invariant:** when a root expires, every push that began in it is decided, and every manifest that a record names or
//! may yet name lies, with its chunks, in an active or retired root that is younger. Why: a push whose step 3 saw the
//! root active wrote its step 2 before step a, so b sees it, unless step 7 is over; then d sees its record. No clock is
//! in this argument: a push that sleeps for a year between any two steps is refused at 5, or has been moved at d.
//!
//! One gap is left, between 5 and 6: a push that stops there for longer than its manifest lives without a record, which is
//! the whole life of the next root. It looks at two clocks, of which one cannot be set, and gives up after
//! [`COMMIT_MS_MAX`].

use crate::put::Decided;
use crate::root::RootState;
use crate::{Root, Store, StoreError, layout};
use bytes::Bytes;
use chunk::{Account, ChunkId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long a push may take from its decision to its record. An hour: hundreds of times what a record's put may take
/// with all its attempts, and far less than a root lives.
const COMMIT_MS_MAX: u64 = 60 * 60 * 1000;

/// Attempts to begin in a root that is still active a moment later. Roots change once in days.
const BEGIN_ATTEMPTS: usize = 8;

/// A push on its way: ends with [`Push::commit`] or [`Push::give_up`]. One that is dropped stays open until a
/// collector revokes it, which costs nothing but that.
#[derive(Debug)]
pub struct Push {
    store: Store,
    root: Root,
    token: String,
}

/// The push took so long that its root was collected.
#[derive(Debug, thiserror::Error)]
#[error("garbage collection ended this push, because root {generation} retired while it ran; push the image again")]
pub struct PushRevoked {
    pub(crate) generation: u32,
}

/// What was decided of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    version: u32,
    /// The manifest that its record names; none when it was revoked.
    manifest: Option<String>,
    /// Whose word it is: two that decide alike are told apart.
    by: String,
}

const VERSION: u32 = 1;

/// A push as a collector sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PushState {
    Open,
    Revoked,
    Committed(ChunkId),
}

impl Push {
    /// Where its chunks and its manifest go.
    #[must_use]
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// Writes the record that makes the image visible; the manifest must have been stored in the push's root.
    pub async fn commit(
        self,
        (account, name): (&Account, &str),
        manifest: ChunkId,
        record: Bytes,
    ) -> Result<(), StoreError> {
        let (began_ms, began_at) = (self.store.now_ms(), self.store.elapsed_ms());
        let outcome = Outcome {
            version: VERSION,
            manifest: Some(manifest.to_string()),
            by: self.token.clone(),
        };
        let key = layout::push_outcome(self.root.generation, &self.token);
        let decided = self.store.decide(&key, outcome.encode()).await?;
        // By both clocks: the one may be set back, the other may stand still while the machine sleeps.
        let by_clock = self.store.now_ms().saturating_sub(began_ms);
        let is_late = by_clock.max(self.store.elapsed_ms() - began_at) > COMMIT_MS_MAX;
        if is_late || matches!(decided, Decided::Theirs(_)) {
            let generation = self.root.generation;
            return Err(PushRevoked { generation }.into());
        }
        self.store.put_record(account, name, record).await?;
        self.forget().await;
        Ok(())
    }

    /// Ends a push that failed.
    pub async fn give_up(self) {
        self.forget().await;
    }

    /// Takes away what spoke for the push; what stays, its root takes with it.
    async fn forget(&self) {
        let generation = self.root.generation;
        for key in [
            layout::push_open(generation, &self.token),
            layout::push_outcome(generation, &self.token),
        ] {
            if let Err(error) = self.store.delete(&key).await {
                tracing::debug!("{error}");
                return;
            }
        }
    }
}

impl Outcome {
    fn encode(&self) -> Bytes {
        serde_json::to_vec(self)
            .expect("numbers and strings are always JSON")
            .into()
    }

    fn decode(bytes: &[u8]) -> Result<PushState, String> {
        let outcome: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match outcome.manifest {
            _ if outcome.version != VERSION => Err(format!("version {} is not known here", outcome.version)),
            None => Ok(PushState::Revoked),
            Some(text) => match text.parse() {
                Ok(manifest) => Ok(PushState::Committed(manifest)),
                Err(_) => Err(format!("`{text}` is not a manifest's id")),
            },
        }
    }
}

impl Store {
    /// Begins a push into the active root.
    pub async fn begin_push(&self) -> Result<Push, StoreError> {
        let mut token = [0; 16];
        self.fill_random(&mut token);
        let token = hex::encode(token);
        let mut last = 0;
        for _ in 0..BEGIN_ATTEMPTS {
            let root = self.active_root().await?;
            let key = layout::push_open(root.generation, &token);
            self.write(&key, Bytes::from_static(b"{\"version\":1}")).await?;
            if self.root(root.generation).await?.state == RootState::Active {
                return Ok(Push {
                    store: self.clone(),
                    root,
                    token,
                });
            }
            last = root.generation;
            self.delete(&key).await?;
        }
        Err(PushRevoked { generation: last }.into())
    }

    /// The pushes of a root, by token.
    pub(crate) async fn pushes(&self, generation: u32) -> Result<BTreeMap<String, PushState>, StoreError> {
        let objects = self.list(&layout::pushes(generation)).await?;
        let mut pushes = BTreeMap::new();
        for (token, is_outcome) in objects
            .iter()
            .filter_map(|object| layout::push_object(&object.location))
        {
            if !is_outcome {
                pushes.entry(token).or_insert(PushState::Open);
                continue;
            }
            let key = layout::push_outcome(generation, &token);
            // One that is gone meanwhile has its record.
            if let Some(bytes) = self.read_optional(crate::error::Sort::Push, &token, &key).await? {
                pushes.insert(token.clone(), self.outcome(&token, &bytes)?);
            }
        }
        Ok(pushes)
    }

    /// Revokes a push, unless it has committed; gives what was decided.
    pub(crate) async fn revoke_push(&self, generation: u32, token: &str) -> Result<PushState, StoreError> {
        let outcome = Outcome {
            version: VERSION,
            manifest: None,
            by: "collector".to_owned(),
        };
        match self
            .decide(&layout::push_outcome(generation, token), outcome.encode())
            .await?
        {
            Decided::Ours => Ok(PushState::Revoked),
            Decided::Theirs(bytes) => self.outcome(token, &bytes),
        }
    }

    fn outcome(&self, token: &str, bytes: &[u8]) -> Result<PushState, StoreError> {
        let decoded = Outcome::decode(bytes);
        decoded.map_err(|reason| self.corrupt(crate::error::Sort::Push, token, reason).into())
    }
}
