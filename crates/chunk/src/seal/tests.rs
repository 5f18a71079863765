use super::*;
use crate::{Account, CheckedChunk, OpenError, Opener, SaltScope};
use proptest::prelude::*;

const COMPRESSIONS: [Compression; 4] = [
    Compression::None,
    Compression::Lz4,
    Compression::Zstd,
    Compression::ZstdSmall,
];
const ROOT_SALT: [u8; 32] = [9; 32];

fn salt() -> Salt {
    Salt::derive(&ROOT_SALT, &SaltScope::Shared)
}

/// A chunk that begins with these bytes; zeros follow.
fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut plaintext = bytes.to_vec();
    plaintext.resize(CHUNK_BYTES, 0);
    plaintext
}

/// Bytes that no compressor shortens, the same every time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    noise
}

fn text(bytes: usize) -> Vec<u8> {
    b"a line of text, like a thousand others\n"
        .iter()
        .copied()
        .cycle()
        .take(bytes)
        .collect()
}

fn data(sealed: SealedChunk) -> (ChunkEntry, ChunkKey, Vec<u8>) {
    match sealed {
        SealedChunk::Data { entry, key, ciphertext } => (entry, key, ciphertext),
        SealedChunk::Zero => panic!("a chunk with data was sealed as zero"),
    }
}

fn parts(entry: ChunkEntry) -> (ChunkId, u32, Encoding) {
    match entry {
        ChunkEntry::Data {
            id,
            stored_bytes,
            encoding,
        } => (id, stored_bytes, encoding),
        ChunkEntry::Zero => panic!("a zero entry has no parts"),
    }
}

fn open(entry: &ChunkEntry, key: &ChunkKey, stored: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut plaintext = b"left from the chunk before".to_vec();
    let checked = match *entry {
        ChunkEntry::Data { id, .. } => CheckedChunk::check(id, stored.to_vec().into())?,
        ChunkEntry::Zero => CheckedChunk::check(ChunkId::of(stored), stored.to_vec().into())?,
    };
    Opener::default()
        .open(entry, key, &checked, &mut plaintext)
        .map(|()| plaintext)
}

/// Seals with every compression and opens again; what is stored is at most the plaintext without its zero tail.
fn check_round_trip(bytes: &[u8]) {
    for compression in COMPRESSIONS {
        let (entry, key, ciphertext) = data(seal_chunk(&salt(), padded(bytes), compression));
        let (id, stored_bytes, _) = parts(entry);
        assert_eq!(id, ChunkId::of(&ciphertext));
        assert_eq!(stored_bytes as usize, ciphertext.len());
        let tail = bytes.iter().rev().take_while(|byte| **byte == 0).count();
        assert!(ciphertext.len() <= bytes.len() - tail, "{compression:?}");
        assert!(
            open(&entry, &key, &ciphertext).expect("it opens") == padded(bytes),
            "{compression:?}"
        );
    }
}

/// Seals a payload as a hostile writer could, who need not have compressed it honestly.
fn forge(encoding: Encoding, mut payload: Vec<u8>) -> (ChunkEntry, ChunkKey, Vec<u8>) {
    let key = derive_key(&salt(), encoding, &payload);
    encrypt(&key, &mut payload);
    let entry = ChunkEntry::Data {
        id: ChunkId::of(&payload),
        stored_bytes: payload.len() as u32,
        encoding,
    };
    (entry, key, payload)
}

fn check_undecodable(encoding: Encoding, payload: Vec<u8>) {
    let (entry, key, stored) = forge(encoding, payload);
    let id = parts(entry).0;
    assert_eq!(
        open(&entry, &key, &stored),
        Err(OpenError::Undecodable { id, encoding })
    );
}

#[test]
fn chunks_open_to_what_was_sealed() {
    let cases = [
        noise(CHUNK_BYTES),
        noise(CHUNK_BYTES - 1),
        text(CHUNK_BYTES),
        text(1000),
        vec![1],
        [text(70), vec![0; 1000]].concat(),
        [vec![0; CHUNK_BYTES - 1], vec![7]].concat(),
        vec![0xff; CHUNK_BYTES],
    ];
    for bytes in cases {
        check_round_trip(&bytes);
    }
}

#[test]
fn a_zero_chunk_stores_nothing_and_opens_without_a_key() {
    for compression in COMPRESSIONS {
        assert!(matches!(
            seal_chunk(&salt(), padded(&[]), compression),
            SealedChunk::Zero
        ));
    }
    let opened = open(&ChunkEntry::Zero, &ChunkKey::from_bytes([0; 32]), b"").expect("zero chunks open");
    assert!(opened == padded(&[]));
}

#[test]
#[should_panic(expected = "a chunk is sealed whole")]
fn a_piece_of_a_chunk_is_not_sealed() {
    let _ = seal_chunk(&salt(), vec![1; CHUNK_BYTES - 1], Compression::None);
}

#[test]
fn compression_is_kept_only_where_it_saves_a_sixteenth() {
    for (compression, encoding) in [(Compression::Lz4, Encoding::Lz4), (Compression::Zstd, Encoding::Zstd)] {
        for (plaintext, expected) in [
            (text(CHUNK_BYTES), encoding),
            (noise(CHUNK_BYTES), Encoding::Raw),
            // 12,288 bytes of text in 512 KiB of noise: about a fortieth would be saved.
            ([text(12_288), noise(CHUNK_BYTES - 12_288)].concat(), Encoding::Raw),
            ([text(65_536), noise(CHUNK_BYTES - 65_536)].concat(), encoding),
        ] {
            let (entry, _, _) = data(seal_chunk(&salt(), plaintext, compression));
            assert_eq!(parts(entry).2, expected, "{compression:?}");
        }
    }
}

#[test]
fn equal_chunks_are_equal_bytes_and_salts_keep_them_apart() {
    let account = |digits: &str| SaltScope::Account(digits.parse::<Account>().expect("twelve digits"));
    let salts = [
        salt(),
        Salt::derive(&[8; 32], &SaltScope::Shared),
        Salt::derive(&ROOT_SALT, &account("111111111111")),
        Salt::derive(&ROOT_SALT, &account("111111111112")),
    ];
    for compression in COMPRESSIONS {
        let seal = |salt: &Salt| data(seal_chunk(salt, padded(&text(5000)), compression));
        let sealed: Vec<_> = salts.iter().map(seal).collect();
        for (number, (salt, (entry, key, ciphertext))) in salts.iter().zip(&sealed).enumerate() {
            assert_eq!(seal(salt), (*entry, key.clone(), ciphertext.clone()));
            for (other_entry, other_key, _) in &sealed[..number] {
                assert_ne!(parts(*entry).0, parts(*other_entry).0);
                assert_ne!(key, other_key);
            }
        }
    }
}

#[test]
fn one_payload_in_two_encodings_has_two_keys() {
    let payload = noise(100);
    let keys = [Encoding::Raw, Encoding::Lz4, Encoding::Zstd].map(|encoding| derive_key(&salt(), encoding, &payload));
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
}

#[test]
fn every_changed_bit_is_refused() {
    for compression in COMPRESSIONS {
        let (entry, key, ciphertext) = data(seal_chunk(&salt(), padded(&text(300)), compression));
        let corrupt = Err(OpenError::Corrupt {
            id: parts(entry).0,
            bytes: ciphertext.len(),
        });
        for bit in 0..ciphertext.len() * 8 {
            let mut changed = ciphertext.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&entry, &key, &changed), corrupt, "bit {bit}");
        }
    }
}

#[test]
fn other_lengths_are_refused() {
    let (entry, key, ciphertext) = data(seal_chunk(&salt(), padded(&text(300)), Compression::Zstd));
    let mut longer = ciphertext.clone();
    longer.push(0);
    for stored in [&ciphertext[1..], &ciphertext[..ciphertext.len() - 1], &longer, &[]] {
        assert_eq!(
            open(&entry, &key, stored),
            Err(OpenError::Corrupt {
                id: parts(entry).0,
                bytes: stored.len()
            })
        );
    }
}

#[test]
fn a_payload_that_unpacks_to_more_than_a_chunk_is_refused() {
    for bytes in [CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 64 * CHUNK_BYTES] {
        check_undecodable(
            Encoding::Zstd,
            zstd::bulk::compress(&vec![1; bytes], 1).expect("zstd compresses"),
        );
        check_undecodable(Encoding::Lz4, lz4_flex::block::compress(&vec![1; bytes]));
    }
    check_undecodable(Encoding::Raw, noise(CHUNK_BYTES + 1));
    let half = zstd::bulk::compress(&vec![1; CHUNK_BYTES / 2 + 1], 1).expect("zstd compresses");
    check_undecodable(Encoding::Zstd, [half.clone(), half].concat());
}

#[test]
fn a_payload_that_is_not_compressed_is_refused() {
    let frame = zstd::bulk::compress(&text(1000), 1).expect("zstd compresses");
    let block = lz4_flex::block::compress(&text(1000));
    for cut in 1..frame.len() {
        check_undecodable(Encoding::Zstd, frame[..cut].to_vec());
    }
    check_undecodable(Encoding::Lz4, block[..block.len() - 1].to_vec());
    check_undecodable(Encoding::Zstd, noise(100));
    check_undecodable(Encoding::Zstd, text(100));
}

/// The format: these bytes are in stores, and a change of them needs a new version. Computed from the documentation alone
/// by Python (hashlib, cryptography, blake3).
#[test]
fn the_format_is_what_it_was() {
    let (entry, key, ciphertext) = data(seal_chunk(&salt(), padded(b"hello, chunk"), Compression::None));
    let (id, _, _) = parts(entry);
    assert_eq!(
        hex::encode(key.expose()),
        "e53a630e785cfac46cc265a490c0284415bef0a32b44e6d58b0a289b5ab3c751"
    );
    assert_eq!(
        id.to_string(),
        "16007a771826ea826fcceae97c3880ce173748df6d2436c34bbc9e6672c7172c"
    );
    assert_eq!(hex::encode(ciphertext), "ec4ca6c95cb44bc7eb02ecc3");
    let account = SaltScope::Account("123456789012".parse().expect("twelve digits"));
    assert_eq!(
        hex::encode(Salt::derive(&ROOT_SALT, &account).as_bytes()),
        "b602f40ab8b9a2fbb4c0df5d5fb23dde0c9b857941f30d6bec7f53edd948df7d"
    );
}

#[test]
fn secrets_are_not_printed() {
    let sealed = seal_chunk(&salt(), padded(b"text"), Compression::None);
    let SealedChunk::Data { key, .. } = &sealed else {
        panic!("not zero")
    };
    let secret = format!("{:?}", key.expose());
    assert_eq!(format!("{key:?}"), "ChunkKey(secret)");
    assert!(!format!("{sealed:?}").contains(&secret[1..secret.len() - 1]));
    assert_eq!(format!("{:?}", crate::DataKey::from_bytes([1; 32])), "DataKey(secret)");
    assert_eq!(format!("{:?}", salt()), "Salt(..)");
}

/// Chunks of zeros, noise and text in stretches of any length.
fn mixed_chunk() -> impl Strategy<Value = Vec<u8>> {
    let stretch = (0..4_usize, 1..CHUNK_BYTES / 4).prop_map(|(kind, bytes)| match kind {
        0 => vec![0; bytes],
        1 => noise(bytes),
        2 => text(bytes),
        _ => vec![0xff; bytes],
    });
    proptest::collection::vec(stretch, 0..6).prop_map(|stretches| {
        let mut bytes = stretches.concat();
        bytes.truncate(CHUNK_BYTES - 1);
        bytes.push(1);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chunk_opens_to_what_was_sealed(bytes in mixed_chunk()) {
        check_round_trip(&bytes);
    }

    #[test]
    fn the_zero_tail_is_found_at_any_length(bytes in proptest::collection::vec(0..3_u8, 0..300)) {
        let expected = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        prop_assert_eq!(length_without_zero_tail(&bytes), expected);
    }
}

#[test]
fn another_lane_is_another_copy_of_the_same_chunk() {
    let lanes: Vec<Salt> = (0..3).map(|lane| salt().lane(lane)).collect();
    for compression in COMPRESSIONS {
        for plaintext in [padded(&noise(1000)), padded(&text(100_000)), noise(CHUNK_BYTES)] {
            let shared = seal_chunk(&salt(), plaintext.clone(), compression);
            let (shared_entry, ..) = data(seal_chunk(&salt(), plaintext.clone(), compression));
            let (entry, key, stored) = data(reseal_chunk(shared, &lanes[1]));
            let (direct, ..) = data(seal_chunk(&lanes[1], plaintext.clone(), compression));
            assert_eq!(parts(entry), parts(direct), "as if it had been sealed so");
            assert_ne!(parts(entry).0, parts(shared_entry).0);
            assert_eq!(open(&entry, &key, &stored).unwrap(), plaintext);
            let (other, ..) = data(seal_chunk(&lanes[2], plaintext, compression));
            assert_ne!(parts(entry).0, parts(other).0);
        }
    }
    assert!(matches!(reseal_chunk(SealedChunk::Zero, &lanes[0]), SealedChunk::Zero));
}
