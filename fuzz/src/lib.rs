//! What the fuzz targets share: laying a tree out and judging the result.

use image::ext4::{self, BLOCK_BYTES};
use image::placement::PlacementSizes;
use image::tree::{NodeId, NodeKind, Tree, TreeLimits};
use std::collections::HashMap;
use std::io::{self, Write};

/// Few entries, so that an execution stays short; holes cost nothing and may be huge.
pub const LIMITS: TreeLimits = TreeLimits {
    unpacked_bytes_max: 1 << 44,
    entries_max: 2_000,
};

/// Fails when a tree that the builder accepted is inconsistent, or does not make a file system.
pub fn check_tree(tree: &Tree, layer_bytes: &[u64]) {
    check_links(tree);
    let Ok(layout) = ext4::lay_out(tree, PlacementSizes::default()) else {
        return;
    };
    let mut sink = Counter(0);
    ext4::write_metadata(tree, &layout, &mut sink).expect("a counter takes everything");
    let geometry = layout.geometry();
    assert_eq!(sink.0, u64::from(geometry.metadata_blocks) * BLOCK_BYTES as u64);
    let mut free_from = u64::from(geometry.data_start) * BLOCK_BYTES as u64;
    for run in layout.runs(tree) {
        assert!(
            run.bytes > 0 && run.device_offset >= free_from,
            "{run:?} overlaps the run before it"
        );
        assert!(
            run.layer_offset + run.bytes <= layer_bytes[usize::from(run.layer.0)],
            "{run:?} leaves its layer"
        );
        free_from = run.device_offset + run.bytes;
    }
    assert!(free_from <= u64::from(geometry.blocks) * BLOCK_BYTES as u64);
}

/// Every node has as many links as there are names that lead to it.
fn check_links(tree: &Tree) {
    let mut names: HashMap<NodeId, u32> = HashMap::from([(Tree::ROOT, 1)]);
    let mut ahead = vec![Tree::ROOT];
    while let Some(directory) = ahead.pop() {
        for (name, child) in tree.children(directory) {
            assert!(
                (1..=255).contains(&name.len())
                    && !name.contains(&b'/')
                    && !name.contains(&0)
                    && name != b"."
                    && name != b".."
            );
            *names.entry(child).or_default() += 1;
            if tree.node(child).is_directory() {
                ahead.push(child);
            }
        }
    }
    for (node, names) in names {
        let node = tree.node(node);
        assert_eq!(node.links, names, "{node:?}");
        assert!(!matches!(&node.kind, NodeKind::Symlink(target) if target.is_empty() || target.contains(&0)));
    }
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
