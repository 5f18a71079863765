//! The index of a cache's disk, as a crash or a stranger may have left it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(slots) = cache::decode_index(bytes) {
        assert!(slots.len() * 40 <= bytes.len());
    }
});
