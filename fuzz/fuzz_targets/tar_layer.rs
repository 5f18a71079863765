//! A layer's bytes: read, applied twice (so that everything is also replaced), laid out.

#![no_main]

use fuzz::{LIMITS, check_tree};
use image::layer::LayerReader;
use image::tree::{LayerNumber, TreeBuilder};
use libfuzzer_sys::fuzz_target;

const BLOCK_BYTES: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let mut layer = bytes.to_vec();
    repair_checksums(&mut layer);
    let mut builder = TreeBuilder::new(LIMITS);
    for number in 0..2 {
        builder.start_layer(LayerNumber(number));
        let mut reader = LayerReader::new(&layer[..]);
        while let Ok(Some(entry)) = reader.next_entry() {
            if builder.apply(entry).is_err() {
                break;
            }
        }
    }
    check_tree(&builder.finish(), &[layer.len() as u64; 2]);
});

/// Gives every block that looks like a header its right sum: the fuzzer cannot guess it, and an attacker knows it.
fn repair_checksums(layer: &mut [u8]) {
    for block in layer
        .chunks_exact_mut(BLOCK_BYTES)
        .filter(|block| &block[257..262] == b"ustar")
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}
