//! What a store holds, who shares it, and what is dead.

use super::LiveManifest;
use super::inventory::Inventory;
use super::moves::stored_chunks;
use crate::error::Sort;
use crate::{Root, RootState, Store, StoreError, layout};
use chunk::{ChunkId, Manifest, StartPack};
use std::collections::{HashMap, HashSet};

/// A store at one moment.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// All roots that have objects, from the oldest.
    pub roots: Vec<RootUse>,
    /// Manifests that must stay readable.
    pub manifests_live: u64,
    /// Bytes of their chunks as if none were shared.
    pub bytes_referenced: u64,
    /// Bytes of their distinct chunks.
    pub bytes_distinct: u64,
    /// Salt generations that their chunks were sealed under.
    pub salt_generations: u64,
    /// The chunk that most of them need.
    pub popular: Option<Popular>,
}

/// What one root holds.
#[derive(Clone, Debug)]
pub struct RootUse {
    /// The root.
    pub root: Root,
    /// Manifests in it.
    pub manifests: u64,
    /// Chunks in it.
    pub chunks: u64,
    /// Bytes of its chunks and manifests.
    pub bytes: u64,
    /// Bytes of manifests that are not live, and of chunks that no live manifest and no start pack of one needs.
    pub dead_bytes: u64,
    /// Bytes of chunks that are needed, and lie in a younger root, too.
    pub moved_bytes: u64,
    /// Live manifests whose chunks were sealed under this root's salt.
    pub salted_manifests: u64,
}

/// A chunk whose loss would hurt most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Popular {
    /// Its id.
    pub id: ChunkId,
    /// Live manifests that need it: what one bad copy of it would break.
    pub manifests: u64,
    /// Its bytes as stored.
    pub stored_bytes: u32,
}

/// What is not dead.
struct Needs {
    manifests: HashSet<ChunkId>,
    chunks: HashMap<ChunkId, Need>,
}

/// How often a chunk is needed.
#[derive(Clone, Copy, Default)]
struct Need {
    manifests: u64,
    bytes: u32,
}

impl Store {
    /// Lists every root, and reads every live manifest.
    pub async fn survey(&self, mut live: Vec<LiveManifest>) -> Result<Survey, StoreError> {
        live.sort_unstable();
        live.dedup_by_key(|one| one.manifest);
        let table = self.load_roots().await?;
        let mut held = Vec::new();
        for root in table.iter().filter(|root| root.state != RootState::Deleted) {
            held.push((root, Inventory::of(self, root.generation).await?));
        }
        let mut needs = Needs {
            manifests: live.iter().map(|one| one.manifest).collect(),
            chunks: HashMap::new(),
        };
        let mut survey = Survey {
            manifests_live: live.len() as u64,
            salt_generations: live.iter().map(|one| one.generation).collect::<HashSet<_>>().len() as u64,
            ..Survey::default()
        };
        for one in &live {
            survey.bytes_referenced += self.add_needs(one, &held, &mut needs.chunks).await?;
        }
        survey.bytes_distinct = needs.chunks.values().map(|need| u64::from(need.bytes)).sum();
        survey.popular = popular(&needs.chunks);
        for (place, (root, inventory)) in held.iter().enumerate() {
            let salted = live.iter().filter(|one| one.generation == root.generation).count();
            survey.roots.push(RootUse {
                salted_manifests: salted as u64,
                ..root_use(root, inventory, &held[place + 1..], &needs)
            });
        }
        Ok(survey)
    }

    /// Counts the chunks of a manifest and of its start packs; gives the bytes of the manifest's.
    async fn add_needs(
        &self,
        one: &LiveManifest,
        held: &[(&Root, Inventory)],
        needs: &mut HashMap<ChunkId, Need>,
    ) -> Result<u64, StoreError> {
        let (id, name) = (one.manifest, one.manifest.to_string());
        let mut bytes_referenced = 0;
        let mut read = None;
        for (_, root) in held.iter().filter(|(_, root)| root.manifests.contains_key(&id)) {
            read = self
                .read_optional(Sort::Manifest, &name, &layout::manifest(root.generation, id))
                .await?;
            if read.is_some() {
                break;
            }
        }
        // One that is gone or damaged needs nothing that could be counted; `image verify` says what is wrong.
        for (id, bytes) in read
            .and_then(|bytes| Manifest::decode(&bytes).ok())
            .iter()
            .flat_map(stored_chunks)
        {
            bytes_referenced += u64::from(bytes);
            let need = needs.entry(id).or_default();
            *need = Need {
                manifests: need.manifests + 1,
                bytes,
            };
        }
        // The youngest is the one that starts read; what an older root has besides goes with it.
        if let Some((_, root)) = held.iter().rev().find(|(_, root)| root.packs.contains(&id)) {
            let key = layout::start_pack(root.generation, id);
            let pack = self.read_optional(Sort::StartPack, &name, &key).await?;
            let device = pack.and_then(|pack| StartPack::packed_device(&pack).ok());
            for (id, bytes) in device.iter().flat_map(stored_chunks) {
                needs.entry(id).or_default().bytes = bytes;
            }
        }
        Ok(bytes_referenced)
    }
}

fn root_use(root: &Root, inventory: &Inventory, younger: &[(&Root, Inventory)], needs: &Needs) -> RootUse {
    let dead = inventory
        .manifests
        .iter()
        .filter(|(id, _)| !needs.manifests.contains(id));
    let mut used = RootUse {
        root: root.clone(),
        manifests: inventory.manifests.len() as u64,
        chunks: inventory.chunks.len() as u64,
        bytes: inventory.manifests.values().sum(),
        dead_bytes: dead.map(|(_, bytes)| bytes).sum(),
        moved_bytes: 0,
        salted_manifests: 0,
    };
    for (id, bytes) in &inventory.chunks {
        let stored = u64::from(*bytes);
        used.bytes += stored;
        if !needs.chunks.contains_key(id) {
            used.dead_bytes += stored;
        } else if younger.iter().any(|(_, root)| root.has_chunk((*id, *bytes))) {
            used.moved_bytes += stored;
        }
    }
    used
}

/// Of several that are needed as often, the one with the smallest id: the same answer twice.
fn popular(needs: &HashMap<ChunkId, Need>) -> Option<Popular> {
    let needed = needs.iter().filter(|(_, need)| need.manifests > 0);
    let most = needed.max_by_key(|(id, need)| (need.manifests, std::cmp::Reverse(**id)));
    most.map(|(id, need)| Popular {
        id: *id,
        manifests: need.manifests,
        stored_bytes: need.bytes,
    })
}
