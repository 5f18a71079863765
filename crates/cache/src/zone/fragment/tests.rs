use super::*;
use proptest::prelude::*;

fn stored(bytes: usize) -> Bytes {
    let words = (0..bytes as u64).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56);
    words.map(|word| word as u8).collect()
}

fn over_the_wire(fragment: &Fragment) -> Bytes {
    [&fragment.header()[..], &fragment.payload].concat().into()
}

/// Cuts, sends each fragment through bytes, and joins all sets that lack at most one.
fn check(bytes: usize, nodes: usize) {
    let stored = stored(bytes);
    let (id, cut) = (ChunkId::of(&stored), Cut::for_nodes(nodes));
    let fragments = cut_chunk(id, &stored, cut);
    assert_eq!(fragments.len(), cut.fragments());
    let read: Vec<_> = fragments
        .iter()
        .map(|fragment| Fragment::decode(&over_the_wire(fragment)).unwrap())
        .collect();
    assert_eq!(read, fragments);
    assert!(read.iter().all(Fragment::is_intact));
    assert_eq!(join_fragments(&read).unwrap(), stored, "{bytes} bytes, {nodes} nodes");
    for missing in 0..cut.fragments() {
        let mut some = read.clone();
        some.remove(missing);
        some.reverse();
        assert_eq!(
            join_fragments(&some).unwrap(),
            stored,
            "{bytes} bytes without {missing}"
        );
        if cut.data() > 1 {
            some.pop();
            assert_eq!(join_fragments(&some), None, "two are missing");
        }
    }
}

#[test]
fn any_fragment_may_be_missing_at_any_size() {
    for bytes in [
        0,
        1,
        2,
        3,
        4,
        5,
        7,
        8,
        9,
        4095,
        4096,
        4097,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
    ] {
        for nodes in 1..=7 {
            check(bytes, nodes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_fragment_may_be_missing(bytes in 0..20_000_usize, nodes in 1..7_usize) {
        check(bytes, nodes);
    }

    #[test]
    fn any_bytes_are_refused_or_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), plausible: bool) {
        if plausible && bytes.len() >= 12 {
            bytes[..8].copy_from_slice(MAGIC);
            bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        }
        if let Ok(fragment) = Fragment::decode(&bytes.into()) {
            prop_assert!(fragment.index <= fragment.cut.data());
        }
    }

    /// Bytes 52 to 55 are reserved, so that they may come to mean something.
    #[test]
    fn every_flipped_bit_is_found(bit in 0..8 * (HEADER_BYTES + 300)) {
        let stored = stored(1200);
        let fragment = &cut_chunk(ChunkId::of(&stored), &stored, Cut::for_nodes(5))[2];
        let mut bytes = over_the_wire(fragment).to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let intact = Fragment::decode(&bytes.into()).is_ok_and(|read| read.is_intact());
        prop_assert_eq!(intact, (52..56).contains(&(bit / 8)));
    }
}

#[test]
fn damage_is_refused_by_name() {
    type Damage = fn(&mut Vec<u8>);
    let impossible = |data, index, stored_bytes, payload_bytes| FragmentError::Impossible {
        data,
        index,
        stored_bytes,
        payload_bytes,
    };
    let cases: [(&str, Damage, FragmentError); 8] = [
        ("empty", Vec::clear, FragmentError::NotAFragment),
        ("short header", |bytes| bytes.truncate(55), FragmentError::NotAFragment),
        ("magic", |bytes| bytes[0] = b'L', FragmentError::NotAFragment),
        (
            "version",
            |bytes| bytes[8] = 2,
            FragmentError::UnknownVersion { found: 2 },
        ),
        ("no data", |bytes| bytes[10] = 0, impossible(0, 1, 10, 3)),
        ("index", |bytes| bytes[11] = 5, impossible(4, 5, 10, 3)),
        ("huge chunk", |bytes| bytes[15] = 1, impossible(4, 1, (1 << 24) + 10, 3)),
        ("torn", |bytes| bytes.truncate(58), impossible(4, 1, 10, 2)),
    ];
    let stored = stored(10);
    for (name, damage, expected) in cases {
        let mut bytes = over_the_wire(&cut_chunk(ChunkId::of(&stored), &stored, Cut::for_nodes(9))[1]).to_vec();
        damage(&mut bytes);
        assert_eq!(Fragment::decode(&bytes.into()), Err(expected), "{name}");
    }
}
