//! A manifest of unknown origin, and its key table under a known key.

#![no_main]

use chunk::{ChunkEntry, DataKey, Manifest, ManifestDraft};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let key = DataKey::from_bytes([7; 32]);
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    let entries = manifest.entries().to_vec();
    assert!(entries.len() * 36 < bytes.len());
    let (metadata_chunks, generation, wrapped) = (
        manifest.metadata_chunks(),
        manifest.generation(),
        manifest.wrapped_key().to_vec(),
    );
    let Ok(unlocked) = manifest.unlock(&key) else { return };
    // What opens was sealed by us: it seals again to the same bytes.
    assert!(
        unlocked
            .chunks()
            .iter()
            .all(|(entry, key)| (*entry == ChunkEntry::Zero) == key.is_none())
    );
    let draft = ManifestDraft {
        chunks: unlocked.chunks().to_vec(),
        metadata_chunks,
        generation,
    };
    let nonce_at = 32 + entries.len() * 36 + wrapped.len();
    let nonce = *bytes[nonce_at..]
        .first_chunk()
        .expect("an envelope begins with its nonce");
    assert_eq!(Manifest::seal(&draft, &key, &wrapped, nonce), bytes);
});
