use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const NONCE: [u8; NONCE_BYTES] = [3; NONCE_BYTES];

fn key() -> DataKey {
    DataKey::from_bytes([5; 32])
}

fn manifest() -> ChunkId {
    ChunkId::of(b"a manifest")
}

/// Touches of (first block, blocks), a millisecond apart.
fn start(runs: &[(u32, u16)]) -> Vec<Touch> {
    runs.iter()
        .zip(0..)
        .map(|((block, blocks), at_ms)| Touch {
            run: Run {
                block: *block,
                blocks: *blocks,
            },
            at_ms,
        })
        .collect()
}

fn shape(trace: &Trace) -> Vec<(u32, u16, u8)> {
    let runs = trace.runs.iter();
    runs.map(|traced| (traced.run.block, traced.run.blocks, traced.starts))
        .collect()
}

#[test]
fn a_first_start_is_kept_in_its_order() {
    let trace = Trace::default().merged(&start(&[(100, 4), (7, 1), (104, 2), (100, 8), (9, 2)]));
    assert_eq!(trace.starts, 1);
    let expected = [(100, 4, 1), (7, 1, 1), (104, 4, 1), (9, 2, 1)];
    assert_eq!(shape(&trace), expected);
}

#[test]
fn later_starts_reorder_what_they_touch_and_keep_the_rest_in_its_time() {
    let first = Trace::default().merged(&start(&[(1, 1), (50, 1), (90, 1)]));
    let second = first.merged(&start(&[(90, 1), (1, 1)]));
    assert_eq!(shape(&second), [(90, 1, 0b11), (1, 1, 0b11), (50, 1, 0b10)]);
    assert_eq!(second.starts, 2);
}

#[test]
fn what_eight_starts_did_not_touch_falls_out() {
    let mut trace = Trace::default().merged(&start(&[(1, 1), (2, 1)]));
    for _ in 0..7 {
        trace = trace.merged(&start(&[(1, 1)]));
    }
    assert_eq!(shape(&trace), [(1, 1, 0xff), (2, 1, 0x80)]);
    trace = trace.merged(&start(&[(1, 1)]));
    assert_eq!(shape(&trace), [(1, 1, 0xff)]);
}

#[test]
fn a_run_longer_than_its_field_is_cut() {
    let trace = Trace::default().merged(&start(&[(0, u16::MAX), (u16::MAX.into(), 10)]));
    assert_eq!(shape(&trace), [(0, u16::MAX, 1), (u16::MAX.into(), 10, 1)]);
}

#[test]
fn every_changed_bit_and_every_other_key_or_manifest_is_refused() {
    let trace = Trace::default().merged(&start(&[(100, 4), (7, 1)]));
    let sealed = trace.seal(&key(), NONCE, manifest());
    assert_eq!(Trace::open(&sealed, &key(), manifest()), Ok(trace));
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Trace::open(&changed, &key(), manifest()).is_err(), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(
            Trace::open(&sealed[..length], &key(), manifest()).is_err(),
            "{length} bytes"
        );
    }
    let refused = Err(TraceError::Sealed(EnvelopeError::Refused));
    assert_eq!(Trace::open(&sealed, &DataKey::from_bytes([6; 32]), manifest()), refused);
    assert_eq!(Trace::open(&sealed, &key(), ChunkId::of(b"another")), refused);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let mut sealed = Trace::default().seal(&key(), NONCE, manifest());
    sealed[8] = 2;
    let found = Trace::open(&sealed, &key(), manifest());
    assert_eq!(found, Err(TraceError::UnknownVersion { found: 2 }));
}

proptest! {
    #[test]
    fn merging_keeps_exactly_what_the_last_eight_starts_touched(
        starts in prop::collection::vec(prop::collection::vec((0_u32..200, 1_u16..20), 0..12), 1..12)
    ) {
        let merged = starts.iter().fold(Trace::default(), |trace, runs| trace.merged(&start(runs)));
        let recent = starts.iter().rev().take(8);
        let expected: HashSet<u32> = recent.flatten().flat_map(|(block, blocks)| *block..*block + u32::from(*blocks)).collect();
        let blocks: Vec<u32> = merged.runs.iter().flat_map(|traced| traced.run.numbers()).collect();
        prop_assert_eq!(blocks.len(), expected.len(), "no block is there twice");
        prop_assert_eq!(blocks.into_iter().collect::<HashSet<_>>(), expected);
        let sealed = merged.seal(&key(), NONCE, manifest());
        prop_assert_eq!(Trace::open(&sealed, &key(), manifest()), Ok(merged));
    }

    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(trace) = Trace::decode(&bytes) {
            prop_assert!(trace.bytes() >= trace.runs.len() as u64 * BLOCK_BYTES as u64);
        }
    }
}
