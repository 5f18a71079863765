use super::attributes::{self, fit};
use super::directory::{self, Name, Own};
use super::extents::{self, Run};
use super::*;
use crate::layer::{Content, EntryKind, LayerEntry, Piece};
use crate::placement::PlacementSizes;
use crate::tree::{LayerNumber, Metadata, Timestamp, Tree, TreeBuilder, TreeLimits};
use crate::xattr::{Xattr, Xattrs};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The tree of these files, given by path and pieces.
fn tree(files: &[(String, Content)]) -> Tree {
    let mut builder = TreeBuilder::new(TreeLimits {
        unpacked_bytes_max: 1 << 50,
        entries_max: 1 << 20,
    });
    builder.start_layer(LayerNumber(0));
    for (path, content) in files {
        let content = Content {
            bytes: content.bytes,
            pieces: content.pieces.clone(),
        };
        let entry = LayerEntry {
            path: path.as_bytes().to_vec(),
            kind: EntryKind::File(content),
            metadata: Metadata {
                mode: 0o644,
                uid: 0,
                gid: 0,
                modified: Timestamp::default(),
            },
            xattrs: Xattrs::default(),
        };
        builder.apply(entry).expect("a valid entry");
    }
    builder.finish()
}

fn metadata(tree: &Tree) -> (Layout, Vec<u8>) {
    let layout = lay_out(tree, PlacementSizes::default()).expect("it fits");
    let mut bytes = Vec::new();
    write_metadata(tree, &layout, &mut bytes).expect("memory takes everything");
    (layout, bytes)
}

mod hash_tree {
    use super::*;

    /// Finds a name as a kernel would: from root to leaf by hash, and on while the next leaf continues the hash.
    fn find(blocks: &[[u8; BLOCK_BYTES]], name: &[u8]) -> Option<u32> {
        let wanted = hash::half_md4(name);
        assert_eq!(blocks[0][28], directory::HASH_VERSION);
        let levels = blocks[0][30];
        let mut index = index_entries(&blocks[0], 32);
        if levels == 1 {
            let (at, _) = below(&index, wanted);
            // The node that the root gives, and those behind it for a hash that goes on.
            let nodes = index[at..]
                .iter()
                .map(|(hash, block)| (*hash, index_entries(&blocks[*block as usize], 8)));
            index = nodes
                .flat_map(|(hash, mut node)| {
                    node[0].0 = hash;
                    node
                })
                .collect();
        }
        let (at, leaf) = below(&index, wanted);
        let continued = index[at + 1..]
            .iter()
            .take_while(|(hash, _)| *hash == wanted | 1)
            .map(|(_, block)| *block);
        std::iter::once(leaf)
            .chain(continued)
            .find_map(|block| find_in_leaf(&blocks[block as usize], name))
    }

    /// The last entry whose hash is not above the wanted one; the first entry's hash is never compared.
    fn below(index: &[(u32, u32)], wanted: u32) -> (usize, u32) {
        let at = index[1..].partition_point(|(hash, _)| *hash <= wanted);
        (at, index[at].1)
    }

    fn index_entries(block: &[u8], start: usize) -> Vec<(u32, u32)> {
        let count = u16_at(block, start + 2);
        assert!(count >= 1 && count <= u16_at(block, start) && start + count * 8 <= BLOCK_BYTES);
        let entries =
            (0..count).map(|number| (u32_at(block, start + number * 8), u32_at(block, start + number * 8 + 4)));
        let mut entries: Vec<_> = entries.collect();
        assert!(entries[1..].is_sorted_by(|left, right| left.0 < right.0));
        // A later node's first entry has its hash in the node above; for the search it is the lowest of its node.
        entries[0].0 = 0;
        entries
    }

    fn find_in_leaf(block: &[u8], name: &[u8]) -> Option<u32> {
        records(block)
            .into_iter()
            .find_map(|(inode, found)| (found == name).then_some(inode))
    }

    /// The names of a block; their records cover it without a gap.
    fn records(block: &[u8]) -> Vec<(u32, &[u8])> {
        let mut records = Vec::new();
        let mut at = 0;
        while at < BLOCK_BYTES {
            let (record_bytes, name_bytes) = (u16_at(block, at + 4), usize::from(block[at + 6]));
            assert!(record_bytes >= (8 + name_bytes).next_multiple_of(4) && record_bytes % 4 == 0);
            records.push((u32_at(block, at), &block[at + 8..at + 8 + name_bytes]));
            at += record_bytes;
        }
        assert_eq!(at, BLOCK_BYTES);
        records
    }

    fn build(names: &[Vec<u8>]) -> (Vec<[u8; BLOCK_BYTES]>, bool) {
        let names = names.iter().zip(100..).map(|(name, inode)| Name {
            name,
            inode,
            file_type: 1,
        });
        let built = directory::blocks(Own { inode: 12, parent: 2 }, names.clone());
        assert_eq!(directory::blocks_needed(names), Some(built.0.len() as u32));
        built
    }

    /// Builds a directory and finds every name in it, and no other.
    fn check(names: &[Vec<u8>]) -> Vec<[u8; BLOCK_BYTES]> {
        let (blocks, is_tree) = build(names);
        assert_eq!(records(&blocks[0])[..2], [(12, &b"."[..]), (2, b"..")]);
        for (name, inode) in names.iter().zip(100..) {
            let found = if is_tree {
                find(&blocks, name)
            } else {
                find_in_leaf(&blocks[0], name)
            };
            assert_eq!(found, Some(inode), "{}", name.escape_ascii());
        }
        if is_tree {
            assert_eq!(find(&blocks, b"a name that is not there"), None);
        }
        blocks
    }

    fn numbered(count: usize, bytes: usize) -> Vec<Vec<u8>> {
        (0..count)
            .map(|number| format!("{number:0bytes$}").into_bytes())
            .collect()
    }

    #[test]
    fn a_list_becomes_a_tree_when_it_outgrows_its_block() {
        // 4,096 bytes less 24 for `.` and `..`, and 16 for each name of 8 bytes.
        assert_eq!(check(&numbered(254, 8)).len(), 1);
        assert_eq!(check(&numbered(255, 8)).len(), 2);
        assert_eq!(check(&numbered(256, 8)).len(), 2);
        assert_eq!(check(&numbered(257, 8)).len(), 3);
        assert_eq!(check(&[]).len(), 1);
        check(&numbered(1000, 255));
        check(&(1..=255).map(|bytes| vec![b'x'; bytes]).collect::<Vec<_>>());
    }

    #[test]
    fn every_name_is_in_the_leaf_that_the_index_gives() {
        assert_eq!(check(&numbered(3000, 20))[0][30], 0);
        assert_eq!(check(&numbered(20_000, 200))[0][30], 1);
    }

    /// Two names of 250 bytes with one hash, so placed by fillers that a leaf ends between them.
    #[test]
    fn names_with_one_hash_are_found_on_both_sides_of_a_leafs_end() {
        let mut by_hash = HashMap::new();
        let pair = (0..1_000_000).find_map(|number: u32| {
            let name = format!("{number:0250}").into_bytes();
            by_hash
                .insert(hash::half_md4(&name), name.clone())
                .map(|other| [other, name])
        });
        let pair = pair.expect("among a million names two have the same 31 bits");
        let marked = (0..60).filter(|fillers| {
            let mut names = numbered(100 + fillers, 249);
            names.extend(pair.clone());
            let blocks = check(&names);
            index_entries(&blocks[0], 32).iter().any(|(hash, _)| hash % 2 == 1)
        });
        assert!(marked.count() > 0, "no leaf ended between the two names");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_names_are_found(names in proptest::collection::btree_set(proptest::collection::vec(1..=255_u8, 1..=255), 0..200)) {
            let names: Vec<_> = names.into_iter().filter(|name| !name.contains(&b'/') && name != b"." && name != b"..").collect();
            check(&names);
        }
    }
}

mod attribute_space {
    use super::*;

    fn attribute(name: u8, value_bytes: usize) -> Xattr {
        Xattr::new(1, &[name; 4], vec![7; value_bytes])
    }

    /// Which values end up where, by their lengths.
    fn check(value_bytes: &[usize], in_inode: &[usize], in_block: &[usize]) {
        let xattrs: Vec<_> = (b'a'..)
            .zip(value_bytes)
            .map(|(name, bytes)| attribute(name, *bytes))
            .collect();
        let fit = fit(&xattrs).expect("it fits");
        let lengths = |xattrs: &[&Xattr]| xattrs.iter().map(|xattr| xattr.value.len()).collect::<Vec<_>>();
        assert_eq!(
            (lengths(&fit.in_inode), lengths(&fit.in_block)),
            (in_inode.to_vec(), in_block.to_vec())
        );
        let mut area = vec![0; INODE_BYTES - attributes::INODE_AREA_START];
        attributes::write_in_inode(&mut area, &fit.in_inode);
        assert_eq!(read_entries(&area[4.min(area.len())..], 0), owned(&fit.in_inode));
        let block = attributes::block(&fit.in_block, 3);
        assert_eq!(read_entries(&block, 32), owned(&fit.in_block));
    }

    fn owned(xattrs: &[&Xattr]) -> Vec<Xattr> {
        xattrs.iter().map(|xattr| (*xattr).clone()).collect()
    }

    /// Reads entries back until the zero word that ends them; values and entries must not overlap.
    fn read_entries(area: &[u8], start: usize) -> Vec<Xattr> {
        let mut xattrs = Vec::new();
        let mut lowest_value = area.len();
        let mut at = start;
        while u32_at(area, at) != 0 {
            let (name_bytes, value_at, value_bytes) = (
                usize::from(area[at]),
                u16_at(area, at + 2),
                u32_at(area, at + 8) as usize,
            );
            if value_bytes > 0 {
                assert!(value_at + value_bytes <= lowest_value);
                lowest_value = value_at;
            }
            let value = area[value_at..value_at + value_bytes].to_vec();
            xattrs.push(Xattr::new(area[at + 1], &area[at + 16..at + 16 + name_bytes], value));
            at += (16 + name_bytes).next_multiple_of(4);
        }
        assert!(at + 4 <= lowest_value);
        xattrs
    }

    #[test]
    fn attributes_fill_the_inode_and_then_the_block_to_the_last_byte() {
        // An entry of a four-byte name takes 20 bytes; 88 are free in an inode, 4,060 in a block.
        check(&[], &[], &[]);
        check(&[0], &[0], &[]);
        check(&[68], &[68], &[]);
        check(&[69], &[], &[69]);
        check(&[24, 24], &[24, 24], &[]);
        check(&[24, 25], &[24], &[25]);
        check(&[4040], &[], &[4040]);
        check(&[68, 4040], &[68], &[4040]);
        check(&[4040, 68], &[68], &[4040]);
        check(&[2012, 2008], &[], &[2012, 2008]);
        for too_large in [&[4041][..], &[4040, 69], &[2012, 2012], &[69, 68, 4040]] {
            let xattrs: Vec<_> = (b'a'..)
                .zip(too_large)
                .map(|(name, bytes)| attribute(name, *bytes))
                .collect();
            assert_eq!(fit(&xattrs), None, "{too_large:?}");
        }
    }

    #[test]
    fn a_name_may_be_empty_or_have_255_bytes() {
        for name in [&b""[..], &[b'n'; 255]] {
            let xattrs = [Xattr::new(2, name, vec![1, 2, 3])];
            let fit = fit(&xattrs).expect("it fits");
            let mut area = vec![0; INODE_BYTES - attributes::INODE_AREA_START];
            attributes::write_in_inode(&mut area, &fit.in_inode);
            let all = [
                read_entries(&area[4..], 0),
                read_entries(&attributes::block(&fit.in_block, 1), 32),
            ]
            .concat();
            assert_eq!(all, xattrs);
        }
    }
}

mod extent_tree {
    use super::*;

    /// File block to device block, read from an extent tree as a kernel would.
    fn read(node: &[u8], first_tree_block: u32, blocks: &[[u8; BLOCK_BYTES]], map: &mut BTreeMap<u32, u32>) {
        assert_eq!(u16_at(node, 0), 0xF30A);
        let (entries, entries_max, depth) = (u16_at(node, 2), u16_at(node, 4), u16_at(node, 6));
        assert!(entries <= entries_max && (entries_max + 1) * 12 <= node.len());
        for entry in node[12..].chunks_exact(12).take(entries) {
            if depth > 0 {
                let below = &blocks[(u32_at(entry, 4) - first_tree_block) as usize];
                assert_eq!(u16_at(below, 6), depth - 1);
                assert_eq!(u32_at(below, 12), u32_at(entry, 0));
                read(below, first_tree_block, blocks, map);
                continue;
            }
            let (file_block, blocks, device_block) = (u32_at(entry, 0), u16_at(entry, 4) as u32, u32_at(entry, 8));
            assert!((1..=32_768).contains(&blocks));
            for block in 0..blocks {
                assert_eq!(map.insert(file_block + block, device_block + block), None);
            }
        }
    }

    fn check(runs: &[Run]) {
        let (top, blocks) = extents::tree(runs, 5000, 300);
        assert_eq!(extents::tree_blocks(runs) as usize, blocks.len());
        let mut map = BTreeMap::new();
        read(&top, 300, &blocks, &mut map);
        let file_blocks = runs.iter().flat_map(|run| run.file_block..run.file_block + run.blocks);
        assert!(map.into_iter().eq(file_blocks.zip(5000..)), "{} runs", runs.len());
    }

    #[test]
    fn extents_map_every_block_at_every_depth() {
        for count in [0, 1, 4, 5, 340, 341, 4 * 340, 4 * 340 + 1, 3 * 340 * 340] {
            check(
                &(0..count)
                    .map(|number| Run {
                        file_block: number * 2,
                        blocks: 1,
                    })
                    .collect::<Vec<_>>(),
            );
        }
        for blocks in [1, 32_767, 32_768, 32_769, 4 * 32_768, 4 * 32_768 + 1] {
            check(&[Run { file_block: 7, blocks }]);
        }
    }

    #[test]
    fn pieces_that_share_or_join_blocks_are_one_run() {
        let runs = |pieces: &[(u64, u64)]| {
            let pieces = pieces.iter().map(|(offset, bytes)| Piece {
                file_offset: *offset,
                layer_offset: 0,
                bytes: *bytes,
            });
            extents::runs(&pieces.collect::<Vec<_>>())
                .iter()
                .map(|run| (run.file_block, run.blocks))
                .collect::<Vec<_>>()
        };
        assert_eq!(runs(&[(0, 1), (4095, 1)]), [(0, 1)]);
        assert_eq!(runs(&[(0, 4096), (4096, 1)]), [(0, 2)]);
        assert_eq!(runs(&[(0, 4096), (8192, 1)]), [(0, 1), (2, 1)]);
        assert_eq!(runs(&[(10, 1), (4000, 200), (9000, 1)]), [(0, 3)]);
        assert_eq!(runs(&[(4096 * (u64::from(u32::MAX) - 2), 4096)]), [(u32::MAX - 2, 1)]);
    }

    /// Content in pieces of any length at any distance.
    fn content() -> impl Strategy<Value = Content> {
        let length = || {
            prop_oneof![
                1..5000_u64,
                (1..10_u64).prop_map(|blocks| blocks * 4096),
                400_000..600_000_u64
            ]
        };
        let pieces = proptest::collection::vec((prop_oneof![Just(0), length()], length()), 0..12);
        (pieces, 0..9000_u64).prop_map(|(pieces, tail)| {
            let (mut file_offset, mut layer_offset) = (0, 512);
            let pieces: Vec<_> = pieces
                .into_iter()
                .map(|(hole, bytes)| {
                    let piece = Piece {
                        file_offset: file_offset + hole,
                        layer_offset,
                        bytes,
                    };
                    (file_offset, layer_offset) = (file_offset + hole + bytes, layer_offset + bytes);
                    piece
                })
                .collect();
            Content {
                bytes: file_offset + tail,
                pieces,
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Every byte of every piece lies on the device where the file's inode says, and no two in one place.
        #[test]
        fn device_runs_agree_with_the_extents_in_the_inodes(contents in proptest::collection::vec(content(), 1..6)) {
            // One directory and flat names: inodes are numbered in this order from 11.
            let files: Vec<_> = (b'a'..).map(|name| char::from(name).to_string()).zip(contents).collect();
            let tree = tree(&files);
            let (layout, metadata) = metadata(&tree);
            let runs = layout.runs(&tree);
            prop_assert!(runs.is_sorted_by(|left, right| left.device_offset + left.bytes <= right.device_offset));
            let data_start = u64::from(layout.geometry().data_start) * 4096;
            prop_assert!(runs.iter().all(|run| run.device_offset >= data_start));
            let mut left: BTreeSet<_> = runs.iter().map(|run| (run.device_offset, run.layer_offset, run.bytes)).collect();
            for ((_, content), inode) in files.iter().zip(11_usize..) {
                let table = layout.geometry().inode_tables() as usize * BLOCK_BYTES;
                let inode = &metadata[table + (inode - 1) * INODE_BYTES..][..INODE_BYTES];
                prop_assert_eq!(u64::from(u32_at(inode, 4)), content.bytes);
                let mut map = BTreeMap::new();
                let extra: Vec<[u8; BLOCK_BYTES]> = metadata.as_chunks().0.to_vec();
                read(&inode[40..100], 0, &extra, &mut map);
                for piece in &content.pieces {
                    let device_block = u64::from(map[&((piece.file_offset / 4096) as u32)]);
                    let run = (device_block * 4096 + piece.file_offset % 4096, piece.layer_offset, piece.bytes);
                    prop_assert!(left.remove(&run), "{:?} is not on the device at {:?}", piece, run);
                    let last = piece.file_offset + piece.bytes - 1;
                    prop_assert_eq!(u64::from(map[&((last / 4096) as u32)]) * 4096 + last % 4096, run.0 + piece.bytes - 1);
                }
            }
            prop_assert!(left.is_empty());
        }
    }
}

fn dense(bytes: u64) -> Content {
    let whole = Piece {
        file_offset: 0,
        layer_offset: 512,
        bytes,
    };
    Content {
        bytes,
        pieces: if bytes == 0 { vec![] } else { vec![whole] },
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let files: Vec<_> = (0..2000)
        .map(|number| (format!("d{}/f{number}", number % 7), dense(number * 37)))
        .collect();
    let reversed: Vec<_> = files
        .iter()
        .rev()
        .map(|(path, content)| (path.clone(), dense(content.bytes)))
        .collect();
    let (layout, bytes) = metadata(&tree(&files));
    // The archive's order is no part of the image either.
    let (reversed_layout, reversed_bytes) = metadata(&tree(&reversed));
    assert_eq!(layout.geometry(), reversed_layout.geometry());
    assert!(bytes == reversed_bytes);
    assert_eq!(bytes.len(), layout.geometry().metadata_blocks as usize * BLOCK_BYTES);
}

#[test]
fn replaced_files_leave_no_trace() {
    let mut files: Vec<_> = (0..300).map(|number| (format!("f{number}"), dense(number))).collect();
    let (_, expected) = metadata(&tree(&files));
    files.splice(0..0, (0..300).map(|number| (format!("f{number}"), dense(1_000_000))));
    assert!(metadata(&tree(&files)).1 == expected);
}

#[test]
fn free_blocks_and_inodes_of_the_groups_add_up_to_the_superblocks() {
    for files in [0, 1, 5000, 40_000] {
        let files: Vec<_> = (0..files)
            .map(|number| (format!("{}/{number}", number % 90), dense(number % 9000)))
            .collect();
        let (layout, bytes) = metadata(&tree(&files));
        let geometry = layout.geometry();
        let descriptors = bytes[BLOCK_BYTES..].chunks_exact(32).take(geometry.groups as usize);
        let sums = descriptors.fold((0, 0, 0), |(blocks, inodes, directories), descriptor| {
            (
                blocks + u16_at(descriptor, 12),
                inodes + u16_at(descriptor, 14),
                directories + u16_at(descriptor, 16),
            )
        });
        assert_eq!(
            (sums.0 as u32, sums.1 as u32),
            (u32_at(&bytes, 1024 + 12), u32_at(&bytes, 1024 + 16))
        );
        assert_eq!(
            sums.1 as u32,
            geometry.groups * geometry.inodes_per_group - geometry.last_inode
        );
        assert_eq!(sums.2, 1 + files.len().min(90));
    }
}

#[test]
fn a_file_beyond_ext4_is_refused() {
    let files: Vec<_> = (0..3)
        .map(|number| (format!("f{number}"), dense((1 << 43) - 4096)))
        .collect();
    let error = lay_out(&tree(&files), PlacementSizes::default()).expect_err("24 TiB");
    assert_eq!(error, LayoutError::TooLarge);
}
