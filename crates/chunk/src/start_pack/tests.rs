use super::*;
use crate::{Compression, Salt, SaltScope, SealedChunk, seal_chunk};

const NONCES: StartPackNonces = StartPackNonces {
    keys: [1; NONCE_BYTES],
    runs: [2; NONCE_BYTES],
};

fn key() -> DataKey {
    DataKey::from_bytes([5; 32])
}

fn image() -> ChunkId {
    ChunkId::of(b"the image's manifest")
}

/// A packed device of enough chunks for these runs.
fn draft(runs: &[(u32, u16)]) -> StartPackDraft {
    let runs: Vec<_> = runs
        .iter()
        .map(|(block, blocks)| Run {
            block: *block,
            blocks: *blocks,
        })
        .collect();
    let bytes: u64 = runs.iter().map(|run| run.bytes()).sum();
    let salt = Salt::derive(&[9; 32], &SaltScope::Shared);
    let chunks = (0..bytes.div_ceil(CHUNK_BYTES as u64)).map(|number| {
        let plaintext = vec![number as u8 + 1; CHUNK_BYTES];
        match seal_chunk(&salt, plaintext, Compression::Lz4) {
            SealedChunk::Data { entry, key, .. } => (entry, Some(key)),
            SealedChunk::Zero => panic!("the chunk has data"),
        }
    });
    StartPackDraft {
        runs,
        chunks: ManifestDraft {
            chunks: chunks.collect(),
            metadata_chunks: 0,
            generation: 4,
        },
    }
}

fn open(runs: &[(u32, u16)]) -> Result<StartPack, StartPackError> {
    StartPack::open(&draft(runs).seal(&key(), b"wrapped", NONCES, image()), &key(), image())
}

#[test]
fn pieces_are_found_where_they_were_packed() {
    let pack = open(&[(100, 4), (7, 1), (104, 2), (0, 200_u16.wrapping_sub(193))]).unwrap();
    const B: u64 = BLOCK_BYTES as u64;
    let cases = [
        (100 * B, 4 * BLOCK_BYTES, Some(vec![(0, 4 * BLOCK_BYTES)])),
        (101 * B + 5, 10, Some(vec![(B + 5, 10)])),
        // Two runs that are neighbours in the image and not in the pack.
        (
            103 * B,
            2 * BLOCK_BYTES,
            Some(vec![(3 * B, BLOCK_BYTES), (5 * B, BLOCK_BYTES)]),
        ),
        (
            6 * B,
            2 * BLOCK_BYTES,
            Some(vec![(7 * B + 6 * B, BLOCK_BYTES), (4 * B, BLOCK_BYTES)]),
        ),
        (105 * B, 2 * BLOCK_BYTES, None),
        (8 * B, 1, None),
        (99 * B, 2 * BLOCK_BYTES, None),
        (u64::from(u32::MAX) * B * 2, 1, None),
    ];
    for (offset, bytes, expected) in cases {
        assert_eq!(pack.locate(offset, bytes), expected, "offset {offset}");
    }
    assert_eq!((pack.bytes(), pack.generation()), (14 * B, 4));
    assert!(pack.has(7) && !pack.has(8) && !pack.has(106));
}

#[test]
fn impossible_runs_are_refused() {
    for (runs, field) in [
        (&[(1, 2), (2, 1)][..], "block that is there twice"),
        (&[(1, 0)], "blocks of a run"),
        (&[(u32::MAX, 1)], "blocks of a run"),
    ] {
        let found = open(runs).unwrap_err();
        assert!(
            matches!(found, StartPackError::BadField { field: name, .. } if name == field),
            "{found}"
        );
    }
    let mut more_than_its_chunks = draft(&[(1, 2)]);
    more_than_its_chunks.chunks.chunks.clear();
    let sealed = more_than_its_chunks.seal(&key(), b"", NONCES, image());
    assert!(StartPack::open(&sealed, &key(), image()).is_err());
}

#[test]
fn every_changed_bit_and_every_other_key_or_image_is_refused() {
    let sealed = draft(&[(100, 4), (7, 1)]).seal(&key(), b"wrapped", NONCES, image());
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(StartPack::open(&changed, &key(), image()).is_err(), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(
            StartPack::open(&sealed[..length], &key(), image()).is_err(),
            "{length} bytes"
        );
    }
    assert!(StartPack::open(&sealed, &DataKey::from_bytes([6; 32]), image()).is_err());
    assert!(StartPack::open(&sealed, &key(), ChunkId::of(b"another")).is_err());
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let mut sealed = draft(&[(1, 1)]).seal(&key(), b"", NONCES, image());
    sealed[8] = 2;
    let found = StartPack::open(&sealed, &key(), image()).unwrap_err();
    assert_eq!(found, StartPackError::UnknownVersion { found: 2 });
}
