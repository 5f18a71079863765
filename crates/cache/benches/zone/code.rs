//! The code alone, on one thread, in memory.

use bytes::Bytes;
use cache::{Cut, Fragment, cut_chunk, join_fragments};
use chunk::{CHUNK_BYTES, ChunkId};
use std::hint::black_box;
use std::time::Instant;

const RUNS: usize = 5;
const CHUNKS_OF_A_RUN: usize = 2000;

pub(crate) fn measure() {
    let stored: Bytes = (0..CHUNK_BYTES as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let (id, cut) = (ChunkId::of(&stored), Cut::for_nodes(5));
    let fragments = cut_chunk(id, &stored, cut);
    let without = |missing: usize| -> Vec<Fragment> {
        let kept = fragments.iter().filter(|fragment| fragment.index != missing);
        kept.cloned().collect()
    };
    let (all_data, one_missing) = (without(4), without(1));
    println!("| code, one core | GB/s of chunks |\n|---|---:|");
    row("encode: cut, parity, sums", || {
        black_box(cut_chunk(id, black_box(&stored), cut));
    });
    row("decode: four data fragments", || {
        black_box(join_fragments(black_box(&all_data)));
    });
    row("decode: one from the parity", || {
        black_box(join_fragments(black_box(&one_missing)));
    });
    row("check of the sums of four", || {
        black_box(all_data.iter().all(Fragment::is_intact));
    });
    row("for comparison: the chunk's hash", || {
        black_box(ChunkId::of(black_box(&stored)));
    });
    println!();
}

/// The median of several runs.
fn row(name: &str, work: impl Fn()) {
    let mut rates: Vec<f64> = (0..RUNS)
        .map(|_| {
            let begin = Instant::now();
            (0..CHUNKS_OF_A_RUN).for_each(|_| work());
            (CHUNKS_OF_A_RUN * CHUNK_BYTES) as f64 / 1e9 / begin.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!("| {name} | {:.1} |", rates[RUNS / 2]);
}
