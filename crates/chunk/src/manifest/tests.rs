use super::*;
use crate::{Compression, Salt, SaltScope, SealedChunk, seal_chunk};
use proptest::prelude::*;

const NONCE: [u8; NONCE_BYTES] = [3; NONCE_BYTES];
/// As long as the longest that we know: AWS KMS wraps 32 bytes into 184.
const WRAPPED_KEY: [u8; 200] = [4; 200];

fn data_key() -> DataKey {
    DataKey::from_bytes([5; KEY_BYTES])
}

/// A device of these chunks: `None` is a zero one, `Some(n)` one that holds the number n.
fn draft(chunks: &[Option<u32>]) -> ManifestDraft {
    let salt = Salt::derive(&[6; 32], &SaltScope::Shared);
    let seal = |number: &Option<u32>| {
        let mut plaintext = number.map_or(vec![], |number| format!("chunk {number}").into_bytes());
        plaintext.resize(CHUNK_BYTES, 0);
        match seal_chunk(&salt, plaintext, Compression::None) {
            SealedChunk::Zero => (ChunkEntry::Zero, None),
            SealedChunk::Data { entry, key, .. } => (entry, Some(key)),
        }
    };
    ManifestDraft {
        chunks: chunks.iter().map(seal).collect(),
        metadata_chunks: 1,
        generation: 8,
    }
}

fn small() -> Vec<u8> {
    Manifest::seal(
        &draft(&[Some(1), None, Some(2)]),
        &data_key(),
        &WRAPPED_KEY[..20],
        NONCE,
    )
}

fn open(bytes: &[u8]) -> Result<UnlockedManifest, ManifestError> {
    Manifest::decode(bytes)?.unlock(&data_key())
}

fn with_bytes(at: usize, replacement: &[u8]) -> Vec<u8> {
    let mut bytes = small();
    bytes[at..at + replacement.len()].copy_from_slice(replacement);
    bytes
}

fn check_refused(bytes: &[u8], expected: &ManifestError) {
    assert_eq!(&Manifest::decode(bytes).expect_err("it must be refused"), expected);
}

#[test]
fn a_manifest_says_what_was_sealed() {
    for chunks in [&[][..], &[None], &[Some(1)], &[Some(1), None, Some(2), Some(1), None]] {
        let mut draft = draft(chunks);
        draft.metadata_chunks = draft.metadata_chunks.min(chunks.len() as u32);
        let bytes = Manifest::seal(&draft, &data_key(), &WRAPPED_KEY, NONCE);
        let manifest = Manifest::decode(&bytes).expect("it decodes");
        let entries: Vec<_> = draft.chunks.iter().map(|(entry, _)| *entry).collect();
        assert_eq!(manifest.entries(), entries);
        assert_eq!(manifest.metadata_chunks(), draft.metadata_chunks);
        assert_eq!(manifest.generation(), 8);
        assert_eq!(manifest.wrapped_key(), WRAPPED_KEY);
        assert_eq!(manifest.device_bytes(), (chunks.len() * CHUNK_BYTES) as u64);
        assert_eq!(manifest.unlock(&data_key()).expect("it opens").chunks(), draft.chunks);
    }
}

#[test]
fn every_changed_bit_is_refused() {
    let bytes = small();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&changed).is_err(), "bit {} of byte {}", bit % 8, bit / 8);
    }
    assert!(open(&bytes).is_ok());
}

#[test]
fn more_or_fewer_bytes_are_refused() {
    let bytes = small();
    for length in 0..bytes.len() {
        assert!(Manifest::decode(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    check_refused(
        &longer,
        &ManifestError::WrongLength {
            expected: bytes.len() as u64,
            found: longer.len(),
        },
    );
}

#[test]
fn a_newer_version_is_refused_by_name() {
    check_refused(&with_bytes(8, &[2, 0]), &ManifestError::UnknownVersion { found: 2 });
    let message = Manifest::decode(&with_bytes(8, &[2, 0]))
        .expect_err("refused")
        .to_string();
    assert_eq!(
        message,
        "manifest version 2 is not known here (this build reads version 1): update lambent"
    );
    // A future header may be shorter or longer: its version is still what the message names.
    check_refused(
        &[&b"lambentm"[..], &[0xff; 40]].concat(),
        &ManifestError::UnknownVersion { found: 0xffff },
    );
}

#[test]
fn impossible_fields_are_named() {
    let bad = |field, value| ManifestError::BadField { field, value };
    let entry = HEADER_BYTES;
    for (at, replacement, expected) in [
        (0, &b"LAMBENTM"[..], ManifestError::NotAManifest),
        (10, &[20], bad("chunk size", 20)),
        (10, &[19 + 64], bad("chunk size", 83)),
        (11, &[1], bad("reserved byte", 1)),
        (16, &[4], bad("count of keys", 4)),
        (20, &[4], bad("metadata chunks", 4)),
        (28, &[0, 0, 1], bad("wrapped key", 65_536)),
        (
            12,
            &[0xff; 4],
            ManifestError::WrongLength {
                expected: 36 * u64::from(u32::MAX) + 144,
                found: 252,
            },
        ),
        (entry + 32, &[0, 0, 0], bad("stored length of a chunk", 0)),
        (entry + 32, &[1, 0, 8], bad("stored length of a chunk", 0x8_0001)),
        (entry + 35, &[3], bad("encoding of a chunk", 3)),
        (entry, &[0; ENTRY_BYTES], bad("count of keys", 2)),
    ] {
        check_refused(&with_bytes(at, replacement), &expected);
    }
    check_refused(b"", &ManifestError::NotAManifest);
}

#[test]
fn another_key_does_not_open_it() {
    let manifest = Manifest::decode(&small()).expect("it decodes");
    let refused = manifest
        .unlock(&DataKey::from_bytes([0; KEY_BYTES]))
        .expect_err("another key");
    assert_eq!(refused, ManifestError::Sealed(EnvelopeError::Refused));
}

#[test]
fn a_chunk_takes_at_most_72_bytes() {
    for count in [100, 101, 128, 1000, 20_480] {
        let (entry, key) = draft(&[Some(1)]).chunks.remove(0);
        let chunks = vec![(entry, key); count];
        let bytes = Manifest::seal(
            &ManifestDraft { chunks, ..draft(&[]) },
            &data_key(),
            &WRAPPED_KEY,
            NONCE,
        )
        .len();
        assert!(
            bytes <= count * MANIFEST_BYTES_PER_CHUNK_MAX,
            "{bytes} bytes for {count} chunks"
        );
    }
}

/// The format: these bytes are in stores, and a change of them needs a new version. Computed from the documentation alone
/// by Python (hashlib, cryptography, blake3).
#[test]
fn the_format_is_what_it_was() {
    let bytes = small();
    assert_eq!(
        hex::encode(&bytes[..HEADER_BYTES]),
        "6c616d62656e746d010013000300000002000000010000000800000014000000"
    );
    assert_eq!(
        blake3::hash(&bytes).to_hex().as_str(),
        "84b281306787ce38f843c98f2e5c348037c04a62085d98b83399619d58f0f82f"
    );
}

#[test]
fn keys_are_not_printed() {
    let unlocked = open(&small()).expect("it opens");
    let printed = format!("{unlocked:?}");
    assert!(printed.contains("ChunkKey(secret)"));
    for (_, key) in unlocked.chunks() {
        let Some(key) = key else { continue };
        let numbers = format!("{:?}", key.expose());
        assert!(!printed.contains(&numbers[1..numbers.len() - 1]) && !printed.contains(&hex::encode(key.expose())));
    }
}

fn entry() -> impl Strategy<Value = (ChunkEntry, Option<ChunkKey>)> {
    let encoding = prop_oneof![Just(Encoding::Raw), Just(Encoding::Lz4), Just(Encoding::Zstd)];
    let data = (any::<[u8; 32]>(), 1..=CHUNK_BYTES as u32, encoding, any::<[u8; 32]>());
    let data = data.prop_map(|(id, stored_bytes, encoding, key)| {
        (
            ChunkEntry::Data {
                id: ChunkId::from_bytes(id),
                stored_bytes,
                encoding,
            },
            Some(ChunkKey::from_bytes(key)),
        )
    });
    prop_oneof![Just((ChunkEntry::Zero, None)), data]
}

proptest! {
    #[test]
    fn any_manifest_opens_to_what_was_sealed(
        chunks in proptest::collection::vec(entry(), 0..40),
        wrapped in proptest::collection::vec(any::<u8>(), 0..300),
        generation: u32,
    ) {
        let draft = ManifestDraft { metadata_chunks: chunks.len() as u32 / 2, chunks, generation };
        let manifest = Manifest::decode(&Manifest::seal(&draft, &data_key(), &wrapped, NONCE)).expect("it decodes");
        prop_assert_eq!(manifest.wrapped_key(), &wrapped);
        prop_assert_eq!(manifest.generation(), generation);
        let unlocked = manifest.unlock(&data_key()).expect("it opens");
        prop_assert_eq!(unlocked.chunks(), draft.chunks);
    }

    #[test]
    fn any_bytes_behind_a_valid_start_are_refused_without_a_panic(
        fields in proptest::collection::vec(prop_oneof![0..4_u32, any::<u32>()], 5),
        rest in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut bytes = small()[..12].to_vec();
        bytes.extend(fields.into_iter().flat_map(u32::to_le_bytes));
        bytes.extend(rest);
        prop_assert!(open(&bytes).is_err());
    }
}
