mod as_others_say;
mod damaged;

use super::*;
use crate::ext4::{self, BLOCK_BYTES, Layout};
use crate::layer::{Content, DeviceNumber, EntryKind, LayerEntry, Piece};
use crate::placement::PlacementSizes;
use crate::tree::{LayerNumber, NodeId, NodeKind, Timestamp, Tree, TreeBuilder, TreeLimits};
use crate::xattr::{Xattr, Xattrs};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A path and its place, as the map and whoever it is compared with say it.
type Places = BTreeMap<Vec<u8>, (u64, Vec<Range<u32>>)>;

/// An image under construction, by path.
struct Builder {
    tree: TreeBuilder,
    /// Every file's data has its own place in the layer, so that a run on the device tells whose it is.
    layer_end: u64,
}

/// A file system without its data.
struct Image {
    tree: Tree,
    layout: Layout,
    /// The metadata region with the zeros that fill its last chunk.
    metadata: Vec<u8>,
}

impl Builder {
    fn new() -> Self {
        let mut tree = TreeBuilder::new(TreeLimits {
            unpacked_bytes_max: u64::MAX,
            entries_max: 1 << 20,
        });
        tree.start_layer(LayerNumber(0));
        Self { tree, layer_end: 512 }
    }

    fn try_add(&mut self, path: &[u8], kind: EntryKind, xattrs: Vec<Xattr>) -> bool {
        let metadata = crate::tree::Metadata {
            mode: 0o755,
            uid: 0,
            gid: 0,
            modified: Timestamp::default(),
        };
        let entry = LayerEntry {
            path: path.to_vec(),
            kind,
            metadata,
            xattrs: Xattrs {
                stored: xattrs,
                ignored: vec![],
            },
        };
        self.tree.apply(entry).is_ok()
    }

    fn add(&mut self, path: impl AsRef<[u8]>, kind: EntryKind) {
        let path = path.as_ref();
        assert!(self.try_add(path, kind, vec![]), "{}", path.escape_ascii());
    }

    fn file(&mut self, path: impl AsRef<[u8]>, bytes: u64) {
        let pieces: &[(u64, u64)] = if bytes == 0 { &[] } else { &[(0, bytes)] };
        self.sparse(path, bytes, pieces);
    }

    /// A file with data at these offsets, in these lengths.
    fn sparse(&mut self, path: impl AsRef<[u8]>, bytes: u64, data: &[(u64, u64)]) {
        let content = self.content(bytes, data);
        self.add(path, EntryKind::File(content));
    }

    fn content(&mut self, bytes: u64, data: &[(u64, u64)]) -> Content {
        let pieces = data.iter().map(|(file_offset, bytes)| {
            let layer_offset = self.layer_end;
            self.layer_end += bytes + 512;
            Piece {
                file_offset: *file_offset,
                layer_offset,
                bytes: *bytes,
            }
        });
        Content {
            bytes,
            pieces: pieces.collect(),
        }
    }

    fn link(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) {
        self.add(path, EntryKind::HardLink(target.as_ref().to_vec()));
    }

    fn symlink(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) {
        self.add(path, EntryKind::Symlink(target.as_ref().to_vec()));
    }

    fn finish(self) -> Image {
        let tree = self.tree.finish();
        let layout = ext4::lay_out(&tree, PlacementSizes::default()).expect("it fits");
        let mut metadata = Vec::new();
        ext4::write_metadata(&tree, &layout, &mut metadata).expect("memory takes everything");
        metadata.resize(layout.geometry().data_start as usize * BLOCK_BYTES, 0);
        Image { tree, layout, metadata }
    }
}

impl Image {
    fn map(&self) -> FileMap {
        FileMap::parse(&self.metadata).expect("an image of ours")
    }

    fn blocks(&self) -> u32 {
        self.layout.geometry().blocks
    }

    /// Every inode's first path and its node, in path order.
    fn first_paths(&self) -> Vec<(Vec<u8>, NodeId)> {
        fn visit(tree: &Tree, path: &[u8], id: NodeId, seen: &mut HashSet<NodeId>, all: &mut Vec<(Vec<u8>, NodeId)>) {
            if seen.insert(id) {
                all.push((path.to_vec(), id));
                for (name, child) in tree.children(id) {
                    visit(tree, &[path, b"/", name].concat(), child, seen, all);
                }
            }
        }
        let mut all = Vec::new();
        visit(&self.tree, b"", Tree::ROOT, &mut HashSet::new(), &mut all);
        all
    }
}

fn places(map: &FileMap) -> Places {
    let files = map.files().iter();
    let places: Places = files
        .map(|file| (file.path.clone(), (file.bytes, file.extents.clone())))
        .collect();
    assert_eq!(places.len(), map.files().len(), "a path stands twice");
    places
}

/// What holds for every map, whatever the bytes were.
fn check_sound(map: &FileMap, data: Range<u32>) {
    let with_extents: Vec<_> = map.files().iter().filter(|file| !file.extents.is_empty()).collect();
    let mut free_from = data.start;
    for file in &with_extents {
        assert!(file.path.starts_with(b"/") && !file.path.ends_with(b"/"));
        for extent in &file.extents {
            assert!(!extent.is_empty() && extent.start >= free_from && extent.end <= data.end);
            free_from = extent.end;
        }
        for block in [file.run().start, file.run().end - 1] {
            assert_eq!(map.file_of(block), Some(*file));
        }
    }
    assert!(
        map.files()[with_extents.len()..]
            .iter()
            .all(|file| file.extents.is_empty())
    );
    assert!(
        map.files()[with_extents.len()..]
            .is_sorted_by_key(|file| file.path.split(|byte| *byte == b'/').collect::<Vec<_>>())
    );
    assert_eq!(map.file_of(free_from), None);
    assert_eq!(map.file_of(data.start.wrapping_sub(1)), None);
    assert_eq!(map.file_of(u32::MAX), None);
}

/// Compares the map with the tree and the runs from which the device is read.
fn check(image: &Image) {
    let map = image.map();
    let geometry = *image.layout.geometry();
    check_sound(&map, geometry.data_start..geometry.blocks);
    let found = places(&map);
    let mut owners = HashMap::new();
    let mut expected = BTreeMap::new();
    for (path, id) in image.first_paths() {
        let node = image.tree.node(id);
        if let NodeKind::File { bytes, .. } = node.kind {
            owners.extend(node.pieces().1.iter().map(|piece| (piece.layer_offset, path.clone())));
            expected.insert(path, bytes);
        }
    }
    let sizes: BTreeMap<_, _> = found.iter().map(|(path, (bytes, _))| (path.clone(), *bytes)).collect();
    assert_eq!(sizes, expected);
    let mut blocks_with_data = HashSet::new();
    for run in image.layout.runs(&image.tree) {
        let first = (run.device_offset / BLOCK_BYTES as u64) as u32;
        let last = ((run.device_offset + run.bytes - 1) / BLOCK_BYTES as u64) as u32;
        blocks_with_data.extend(first..=last);
        for block in [first, last] {
            let file = map.file_of(block).expect("a block with data belongs to a file");
            assert_eq!(file.path, owners[&run.layer_offset], "block {block}");
        }
    }
    let mapped: HashSet<_> = map
        .files()
        .iter()
        .flat_map(|file| file.extents.iter().cloned().flatten())
        .collect();
    assert_eq!(mapped, blocks_with_data);
}

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Every kind of file, every depth of extent tree that is worth the time, and each shape of directory.
fn many_shapes() -> Image {
    let mut image = Builder::new();
    image.add("dir/empty-dir", EntryKind::Directory);
    for bytes in [0, 1, 4095, 4096, 4097, 524_287, 524_288, 524_289, 3_000_000] {
        image.file(format!("dir/s{bytes}"), bytes);
    }
    image.sparse("holes/only", 100 << 20, &[]);
    image.sparse("holes/end", 100 << 20, &[(0, 1)]);
    image.sparse("holes/start", 100 << 20, &[((100 << 20) - 1, 1)]);
    // Extents from the inode alone, over one leaf and several, to two levels of index.
    for count in [4, 5, 340, 341, 4 * 340, 4 * 340 + 1] {
        let data: Vec<_> = (0..count).map(|number| (number * 2 * BLOCK, BLOCK)).collect();
        image.sparse(format!("extents/{count}"), count * 2 * BLOCK, &data);
    }
    // Above 32,768 blocks, an extent's longest; the second needs a leaf.
    image.file("extents/across-two", 32_769 * BLOCK);
    image.file("extents/across-five", (4 * 32_768 + 7) * BLOCK - 5);
    image.sparse("extents/far", 8 << 40, &[(1 << 32, 9), ((8 << 40) - 9, 9)]);
    image.symlink("links/short", "x".repeat(59));
    image.symlink("links/long", "x".repeat(60));
    image.symlink("links/longest", "y".repeat(4095));
    image.add("links/pipe", EntryKind::Fifo);
    let number = DeviceNumber {
        major: 300,
        minor: 70_000,
    };
    image.add("links/char", EntryKind::CharDevice(number));
    image.add(
        "links/block",
        EntryKind::BlockDevice(DeviceNumber { major: 8, minor: 1 }),
    );
    // The name that comes first in path order is not the one that came first in the layer.
    image.file("links/z-first", 5000);
    image.link("links/a-second", "links/z-first");
    image.link("a-third", "links/z-first");
    image.link("links/hard-symlink", "links/short");
    image.file("names/not-utf8-\u{e9}", 3);
    image.file(b"names/\xff\xfe", 4);
    image.file("names/new\nline", 5);
    image.file("names/-dash \\ \" ' space ", 6);
    image.file(format!("names/{}", "n".repeat(255)), 7);
    image.file("names/sub/x", 8);
    image.file("names/sub-x", 9);
    image.file(
        vec![b"d/".as_slice(); 1000]
            .concat()
            .as_slice()
            .iter()
            .copied()
            .chain(*b"f")
            .collect::<Vec<_>>(),
        10,
    );
    // One block exactly, and one name more.
    for count in [254, 255] {
        for number in 0..count {
            image.file(format!("full-{count}/{number:08}"), number % 3 * 100);
        }
    }
    for number in 0..3000 {
        image.file(format!("tree/sub-{number}/file"), number % 5);
    }
    // Attributes in a block behind the directories.
    let value = Xattr::new(1, b"large", vec![7; 3000]);
    let content = image.content(11, &[(0, 11)]);
    assert!(image.try_add(b"with-attributes", EntryKind::File(content), vec![value]));
    image.finish()
}

#[test]
fn every_shape_of_file_is_found_where_the_writer_put_it() {
    check(&many_shapes());
    check(&Builder::new().finish());
}

#[test]
fn a_file_is_found_by_each_of_its_blocks_and_by_no_other() {
    let image = many_shapes();
    let map = image.map();
    let mut found: BTreeMap<&[u8], u64> = BTreeMap::new();
    for block in 0..image.blocks() {
        if let Some(file) = map.file_of(block) {
            assert!(file.extents.iter().any(|extent| extent.contains(&block)));
            *found.entry(&file.path).or_default() += 1;
        }
    }
    let blocks = |file: &MappedFile| file.extents.iter().map(|extent| extent.len() as u64).sum::<u64>();
    let expected = map.files().iter().filter(|file| !file.extents.is_empty());
    assert!(
        found.into_iter().eq(expected
            .map(|file| (file.path.as_slice(), blocks(file)))
            .collect::<BTreeMap<_, _>>())
    );
}

#[test]
fn the_first_path_in_byte_order_names_a_hard_linked_file() {
    let places = places(&many_shapes().map());
    assert!(places.contains_key(&b"/a-third"[..]));
    assert!(!places.contains_key(&b"/links/a-second"[..]) && !places.contains_key(&b"/links/z-first"[..]));
    // Also where a directory's blocks have another order: 300 names are a hash tree.
    let mut image = Builder::new();
    image.file("d/500", 1);
    (600..900).for_each(|number| image.link(format!("d/{number}"), "d/500"));
    image.link("d/400", "d/500");
    let map = image.finish().map();
    assert_eq!(map.files().len(), 1);
    assert_eq!(map.files()[0].path, b"/d/400");
}

#[test]
fn a_hundred_thousand_names_in_one_directory_are_read() {
    let mut image = Builder::new();
    for number in 0..100_000 {
        image.file(format!("d/file-number-{number:06}"), number % 2 * 10);
    }
    let image = image.finish();
    check(&image);
    // One block at a time and only the region, each block once: the walk meets inodes in the order of their table.
    let mut reads = BTreeMap::new();
    let region = image.metadata.len() as u64;
    let map = FileMap::read(region, &mut |offset, buffer| {
        assert!(offset.is_multiple_of(BLOCK) && buffer.len() == BLOCK_BYTES && offset + BLOCK <= region);
        *reads.entry(offset).or_insert(0) += 1;
        fill(&image.metadata, offset, buffer)
    });
    assert_eq!(map.expect("an image of ours").files().len(), 100_000);
    assert!(reads.values().all(|count| *count == 1) && reads.len() as u64 <= region / BLOCK);
}

#[test]
fn the_deepest_directories_that_a_layer_can_name_are_read() {
    let mut image = Builder::new();
    let deep = [vec![b"d/".as_slice(); 2046].concat(), b"d".to_vec()].concat();
    image.add(&deep, EntryKind::Directory);
    // Through a link one level more: the tree's limit.
    image.symlink("link", vec!["d"; 2000].join("/"));
    image.add(format!("link/{}", vec!["d"; 48].join("/")), EntryKind::Directory);
    image.file(format!("link/{}/f", vec!["d"; 48].join("/")), 1);
    let map = image.finish().map();
    assert_eq!(
        map.files()[0].path,
        [vec![b"/d".as_slice(); 2048].concat(), b"/f".to_vec()].concat()
    );
}

#[test]
fn levels_and_paths_beyond_the_limits_are_refused() {
    let mut image = Builder::new();
    image.file("a/b/c", 1);
    image.file("a/b/d", 0);
    let image = image.finish();
    let read = |levels_max, paths_bytes_max| {
        let limits = Limits {
            levels_max,
            paths_bytes_max,
        };
        let read = &mut |offset, buffer: &mut [u8]| fill(&image.metadata, offset, buffer);
        FileMap::read_within(limits, image.metadata.len() as u64, read)
    };
    assert_eq!(read(3, 12).expect("just enough").files().len(), 2);
    assert!(matches!(
        read(2, 12).expect_err("too deep").fault,
        FileMapFault::TooDeep { levels_max: 2 }
    ));
    assert!(matches!(
        read(3, 11).expect_err("too long").fault,
        FileMapFault::PathsTooLong { bytes_max: 11 }
    ));
}

/// Content in a few pieces at block distances, some of them meeting.
fn any_data() -> impl Strategy<Value = (u64, Vec<(u64, u64)>)> {
    let length = || {
        prop_oneof![
            1..5000_u64,
            (1..4_u64).prop_map(|blocks| blocks * BLOCK),
            400_000..600_000_u64
        ]
    };
    let pieces = proptest::collection::vec((prop_oneof![Just(0), length()], length()), 0..9);
    (pieces, 0..9000_u64).prop_map(|(pieces, tail)| {
        let mut end = 0;
        let mut data = Vec::new();
        for (hole, bytes) in pieces {
            data.push((end + hole, bytes));
            end += hole + bytes;
        }
        (end + tail, data)
    })
}

#[derive(Clone, Debug)]
enum Step {
    File((u64, Vec<(u64, u64)>)),
    Directory,
    Symlink(usize),
    Fifo,
    LinkTo(Vec<u8>),
}

/// A path of few names, so that steps meet each other's.
fn any_path() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![Just("a"), Just("b"), Just("a-b"), Just("c.d"), Just("é")];
    proptest::collection::vec(name, 1..5).prop_map(|names| names.join("/").into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_tree_is_mapped_as_it_was_written(steps in proptest::collection::vec((any_path(), prop_oneof![
        4 => any_data().prop_map(Step::File),
        1 => Just(Step::Directory),
        1 => (1..200_usize).prop_map(Step::Symlink),
        1 => Just(Step::Fifo),
        2 => any_path().prop_map(Step::LinkTo),
    ]), 0..60)) {
        let mut image = Builder::new();
        for (path, step) in steps {
            let kind = match step {
                Step::File((bytes, data)) => EntryKind::File(image.content(bytes, &data)),
                Step::Directory => EntryKind::Directory,
                Step::Symlink(bytes) => EntryKind::Symlink(vec![b'x'; bytes]),
                Step::Fifo => EntryKind::Fifo,
                Step::LinkTo(target) => EntryKind::HardLink(target),
            };
            // Steps that no tree takes change nothing.
            image.try_add(&path, kind, vec![]);
        }
        check(&image.finish());
    }

    #[test]
    fn any_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        prop_assert!(FileMap::parse(&bytes).is_err());
    }
}
