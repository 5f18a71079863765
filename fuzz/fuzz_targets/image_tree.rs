//! Layers without their tar form: four bytes make an entry, so that the fuzzer spends its time on the tree's rules.

#![no_main]

use fuzz::{LIMITS, check_tree};
use image::layer::{Content, EntryKind, LayerEntry, Piece};
use image::tree::{LayerNumber, Metadata, Timestamp, TreeBuilder};
use image::xattr::{Xattr, Xattrs};
use libfuzzer_sys::fuzz_target;

const LAYER_BYTES: u64 = 1 << 20;

/// Few names, so that entries meet.
const PATHS: [&str; 16] = [
    "a",
    "b",
    "a/a",
    "a/b",
    "b/a",
    "a/a/a",
    "a/.wh.b",
    ".wh.a",
    "a/.wh..wh..opq",
    ".wh..wh..opq",
    "b/a/b",
    "./",
    "c/../a",
    "c",
    "c/.wh.a",
    ".wh..wh.plnk/a",
];
const LINKS: [&str; 8] = ["a", "/a", "../b", "b/..", "../..", "a/a", "c", "/"];

fuzz_target!(|bytes: &[u8]| {
    let mut builder = TreeBuilder::new(LIMITS);
    let mut layer = 0;
    for fields in bytes.as_chunks::<4>().0 {
        if fields[0] & 0x80 != 0 && layer < 9 {
            layer += 1;
            builder.start_layer(LayerNumber(layer));
        }
        // A refused entry ends a real push; here the next ones are still worth trying.
        let _ = builder.apply(entry(*fields));
    }
    check_tree(&builder.finish(), &[LAYER_BYTES; 10]);
});

fn entry([kind, path, link, extra]: [u8; 4]) -> LayerEntry {
    let target = LINKS[usize::from(link % 8)].as_bytes().to_vec();
    let xattrs = match extra {
        0..128 => vec![],
        _ => vec![Xattr::new(1, b"name", vec![extra; usize::from(extra) * 8])],
    };
    LayerEntry {
        path: PATHS[usize::from(path % 16)].as_bytes().to_vec(),
        kind: match kind & 7 {
            0 | 1 => EntryKind::Directory,
            2 => EntryKind::Symlink(target),
            3 => EntryKind::HardLink(target),
            4 => EntryKind::Fifo,
            5 => EntryKind::Unsupported(b's'),
            _ => EntryKind::File(content(link, extra)),
        },
        metadata: Metadata {
            mode: 0o644,
            uid: 0,
            gid: 0,
            modified: Timestamp::from_seconds(0),
        },
        xattrs: Xattrs {
            stored: xattrs,
            ignored: vec![],
        },
    }
}

/// `runs` runs of 1,000 bytes, `distance` times as far apart.
fn content(runs: u8, distance: u8) -> Content {
    let stride = 1_000 * (u64::from(distance) + 1);
    let piece = |run: u64| Piece {
        file_offset: run * stride,
        layer_offset: run * 1_000,
        bytes: 1_000,
    };
    Content {
        bytes: u64::from(runs) * stride,
        pieces: (0..u64::from(runs)).map(piece).collect(),
    }
}
