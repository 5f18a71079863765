//! A payload in the encoding that the first byte names, sealed as its writer could have sealed it.

#![no_main]

use chunk::{CHUNK_BYTES, CheckedChunk, ChunkEntry, ChunkId, ChunkKey, Encoding, OpenError, Opener};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((encoding, payload)) = bytes.split_first() else {
        return;
    };
    if payload.is_empty() || payload.len() > CHUNK_BYTES {
        return;
    }
    let encoding = [Encoding::Raw, Encoding::Lz4, Encoding::Zstd][usize::from(encoding % 3)];
    let key = ChunkKey::from_bytes([7; 32]);
    // Counter mode is its own inverse: opening the payload as raw bytes encrypts it, and the decoder below sees it.
    let mut sealed = Vec::new();
    open(Encoding::Raw, &key, payload, &mut sealed).expect("raw bytes always open");
    sealed.truncate(payload.len());
    let mut plaintext = Vec::new();
    if open(encoding, &key, &sealed, &mut plaintext).is_ok() {
        assert_eq!(plaintext.len(), CHUNK_BYTES);
    }
});

fn open(encoding: Encoding, key: &ChunkKey, stored: &[u8], plaintext: &mut Vec<u8>) -> Result<(), OpenError> {
    let id = ChunkId::of(stored);
    let stored_bytes = stored.len() as u32;
    let entry = ChunkEntry::Data { id, stored_bytes, encoding };
    let checked = CheckedChunk::check(id, stored.to_vec().into())?;
    Opener::default().open(&entry, key, &checked, plaintext)
}
