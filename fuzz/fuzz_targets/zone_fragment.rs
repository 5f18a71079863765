//! What a memcached server gives as a fragment of a chunk.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(fragment) = cache::Fragment::decode(&bytes.to_vec().into()) {
        // Alone it rebuilds a chunk only where chunks are not cut.
        let joined = cache::join_fragments(std::slice::from_ref(&fragment));
        assert!(joined.is_none_or(|stored| stored.len() == fragment.stored_bytes as usize));
        let _ = fragment.is_intact();
    }
});
