//! A trace's fields and a start pack's index, of unknown origin. The first byte chooses.

#![no_main]

use chunk::{BLOCK_BYTES, ChunkId, DataKey, StartPack, Trace};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let key = DataKey::from_bytes([7; 32]);
    let id = ChunkId::from_bytes([9; 32]);
    if choice % 2 == 0 {
        let _ = Trace::open(bytes, &key, id);
        let Ok(trace) = Trace::decode(bytes) else { return };
        assert!(trace.bytes() >= (trace.runs.len() * BLOCK_BYTES) as u64);
        // What decodes is sealed and opened without a change.
        assert_eq!(Trace::open(&trace.seal(&key, [1; 12], id), &key, id), Ok(trace));
    } else if let Ok(pack) = StartPack::open(bytes, &key, id) {
        assert!(pack.bytes() <= pack.manifest().chunks().len() as u64 * chunk::CHUNK_BYTES as u64);
    }
});
