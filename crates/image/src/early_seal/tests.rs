use super::*;
use crate::source::sample::noise;

/// A tar stream of one header and one content after the other.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// What a tap makes of a layer that comes in pieces of some size: chunks, and the bytes that are kept in their places.
fn tapped(layer: &[u8], piece_bytes: usize) -> (Vec<Piece>, Vec<u8>, Vec<Range<u64>>) {
    let (pieces, queue) = sync_channel(1000);
    let stop = AtomicBool::new(false);
    let mut tap = Taps { pieces, stop: &stop }.tap(LayerNumber(7));
    let kept = std::cell::RefCell::new(vec![0xee; layer.len()]);
    for piece in layer.chunks(piece_bytes) {
        let keep = |offset: u64, bytes: &[u8]| {
            kept.borrow_mut()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
            Ok::<(), ()>(())
        };
        tap.take(piece, keep).unwrap();
    }
    let absent = tap.into_absent();
    (queue.into_iter().collect(), kept.into_inner(), absent)
}

#[test]
fn large_files_become_chunks_and_all_else_is_kept() {
    let large = LARGE_BYTES_MIN as usize;
    let (two_and_a_bit, exact, small) = (noise(2 * large + 1000), noise(large), noise(large - 1));
    let layer = archive(&[
        ("a", b"text"),
        ("b", &two_and_a_bit),
        ("c", &small),
        ("d", &exact),
        ("e", b""),
    ]);
    let start_b = 512 + 512 + 512;
    let start_d = start_b + (2 * large + 1024) + 512 + large + 512;
    for piece_bytes in [1000, 512, 512 * 1024, layer.len()] {
        let (pieces, kept, absent) = tapped(&layer, piece_bytes);
        let sources: Vec<(u64, u64)> = pieces
            .iter()
            .map(|piece| (piece.source.offset, piece.source.bytes))
            .collect();
        let (start_b, start_d, large) = (start_b as u64, start_d as u64, large as u64);
        let expected = [
            (start_b, large),
            (start_b + large, large),
            (start_b + 2 * large, 1000),
            (start_d, large),
        ];
        assert_eq!(sources, expected);
        assert_eq!(absent, [start_b..start_b + 2 * large + 1000, start_d..start_d + large]);
        for Piece { source, plaintext } in pieces {
            assert_eq!((source.layer, plaintext.len()), (LayerNumber(7), CHUNK_BYTES));
            let (data, tail) = plaintext.split_at(source.bytes as usize);
            assert!(data == &layer[source.offset as usize..][..data.len()] && tail.iter().all(|byte| *byte == 0));
        }
        let mut expected = layer.clone();
        for range in absent {
            expected[range.start as usize..range.end as usize].fill(0xee);
        }
        assert!(
            kept == expected,
            "kept bytes are in their places, in pieces of {piece_bytes}"
        );
    }
}

#[test]
fn a_layer_that_ends_in_a_large_file_gives_no_chunk_of_what_is_missing() {
    let layer = archive(&[("a", &noise(2 * CHUNK_BYTES))]);
    let (pieces, _, absent) = tapped(&layer[..512 + CHUNK_BYTES + 1000], 4096);
    assert_eq!(pieces.len(), 1);
    let expected = 512..512 + CHUNK_BYTES as u64 + 1000;
    assert_eq!(absent, std::slice::from_ref(&expected));
}

#[test]
fn a_tap_does_not_wait_for_sealers_that_are_gone() {
    let (pieces, queue) = sync_channel(0);
    drop(queue);
    let stop = AtomicBool::new(false);
    let mut tap = Taps { pieces, stop: &stop }.tap(LayerNumber(0));
    let layer = archive(&[("a", &noise(2 * CHUNK_BYTES))]);
    tap.take(&layer, |_, _| Ok::<(), ()>(())).unwrap();
}
