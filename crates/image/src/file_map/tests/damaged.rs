//! Images that are not as the writer left them.

use super::*;

/// The small generator "xorshift64*"; a seed gives the same damage on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// A few files of each kind, so that a read is short.
fn small() -> Image {
    let mut image = Builder::new();
    image.file("a/b/file", 5000);
    image.file("a/empty", 0);
    image.link("a/b/link", "a/b/file");
    image.sparse(
        "a/five",
        9 * BLOCK,
        &[0, 2, 4, 6, 8].map(|block| (block * BLOCK, BLOCK)),
    );
    image.symlink("z", "y".repeat(100));
    image.add("p", EntryKind::Fifo);
    for number in 0..300 {
        image.file(format!("tree/{number:020}"), number % 2);
    }
    let data: Vec<_> = (0..1400).map(|number| (number * 2 * BLOCK, 1)).collect();
    image.sparse("two-levels", 1 << 30, &data);
    image.finish()
}

/// Reads what is left of an image: it must end soon, and what it gives must be sound.
fn check_damaged(metadata: &[u8]) -> bool {
    let mut reads = 0;
    let map = FileMap::read(metadata.len() as u64, &mut |offset, buffer| {
        reads += 1;
        fill(metadata, offset, buffer)
    });
    assert!(reads <= metadata.len() / INODE_BYTES, "{reads} reads");
    let Ok(map) = map else { return false };
    check_sound(&map, (metadata.len() / BLOCK_BYTES) as u32..u32::MAX);
    true
}

/// Half of the damage hits bytes that say something or stand beside them, since most of a region is zero.
#[test]
fn flipped_bytes_are_an_error_or_a_sound_map() {
    let image = small();
    let meant: Vec<_> = (0..image.metadata.len())
        .filter(|at| image.metadata[*at] != 0)
        .collect();
    let mut random = Random(0x6c61_6d62_656e_7401);
    let mut damaged = image.metadata.clone();
    let (mut sound, rounds) = (0, 30_000);
    for round in 0..rounds {
        let places: Vec<_> = (0..1 + round % 4)
            .map(|_| match random.below(2) {
                0 => random.below(damaged.len()),
                _ => (meant[random.below(meant.len())] + random.below(3)).min(damaged.len() - 1),
            })
            .collect();
        for at in &places {
            damaged[*at] = match random.below(3) {
                0 => damaged[*at] ^ 1 << random.below(8),
                1 => [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                _ => random.below(256) as u8,
            };
        }
        sound += usize::from(check_damaged(&damaged));
        places.iter().for_each(|at| damaged[*at] = image.metadata[*at]);
    }
    // Both ends were reached: damage to names, times and zeros is not seen, damage to structure is.
    assert!(
        (rounds / 20..rounds * 19 / 20).contains(&sound),
        "{sound} of {rounds} were read"
    );
}

/// Pieces of metadata in places of others: each is sound in itself, which flipped bytes rarely are.
#[test]
fn exchanged_pieces_are_an_error_or_a_sound_map() {
    let image = small();
    let mut random = Random(0x6c61_6d62_656e_7402);
    for round in 0..10_000 {
        let mut damaged = image.metadata.clone();
        let bytes = [4, 12, 60, 256, BLOCK_BYTES][round % 5];
        let used = image.layout.geometry().metadata_blocks as usize * BLOCK_BYTES / bytes;
        for _ in 0..1 + random.below(4) {
            let (from, to) = (random.below(used) * bytes, random.below(used) * bytes);
            damaged.copy_within(from..from + bytes, to);
        }
        check_damaged(&damaged);
    }
}

#[test]
fn a_region_cut_short_is_an_error() {
    let image = small();
    let used = image.layout.geometry().metadata_blocks as usize * BLOCK_BYTES;
    // The last block is that of a long link, at which no map looks.
    for bytes in (0..used - BLOCK_BYTES).step_by(1000) {
        assert!(FileMap::parse(&image.metadata[..bytes]).is_err(), "{bytes} bytes");
    }
    let whole = FileMap::parse(&image.metadata[..used]).expect("zeros behind the metadata say nothing");
    assert_eq!(whole.files(), image.map().files());
    let error = FileMap::read(5 << 30, &mut |_, _| Ok(())).expect_err("too large");
    assert!(matches!(error.fault, FileMapFault::RegionSize { .. }), "{error}");
}

#[test]
fn a_read_that_fails_is_told_with_its_place() {
    let image = small();
    let mut reads = 0;
    let error = FileMap::read(image.metadata.len() as u64, &mut |offset, buffer| {
        reads += 1;
        if reads == 4 {
            return Err(io::Error::other("gone"));
        }
        fill(&image.metadata, offset, buffer)
    });
    let error = error.expect_err("the fourth read fails");
    assert!(matches!(&error.fault, FileMapFault::Read(source) if source.to_string() == "gone"));
    assert!(error.offset > 0 && error.offset.is_multiple_of(BLOCK));
}

#[test]
fn each_feature_that_is_not_ours_is_refused_and_each_of_ours_is_needed() {
    let image = small();
    let mut names = BTreeSet::new();
    for (set, at) in [("compat", 92), ("incompat", 96), ("ro_compat", 100)] {
        for bit in 0..32 {
            let mut damaged = image.metadata.clone();
            let byte = 1024 + at + bit / 8;
            damaged[byte] ^= 1 << (bit % 8);
            let error = FileMap::parse(&damaged).expect_err("a feature too many or too few");
            assert_eq!(error.offset, 1024 + at as u64);
            let (FileMapFault::FeatureForeign {
                name,
                set: found,
                bit: found_bit,
            }
            | FileMapFault::FeatureMissing {
                name,
                set: found,
                bit: found_bit,
            }) = error.fault
            else {
                panic!("{error}");
            };
            assert_eq!((found, found_bit), (set, 1 << bit));
            names.insert(name);
        }
    }
    for name in [
        "has_journal",
        "64bit",
        "metadata_csum",
        "bigalloc",
        "inline_data",
        "encrypt",
        "verity",
    ] {
        assert!(names.contains(name), "{name}");
    }
}

/// What is said of an image with a damaged field.
fn fault(image: &Image, at: usize, bytes: &[u8]) -> String {
    let mut damaged = image.metadata.clone();
    damaged[at..at + bytes.len()].copy_from_slice(bytes);
    FileMap::parse(&damaged).map_or_else(|error| error.to_string(), |_| "nothing".to_owned())
}

/// Where the inode table and the blocks behind it begin, and where in these a name's record does.
fn table(image: &Image) -> usize {
    let field = &image.metadata[BLOCK_BYTES + 8..][..4];
    u32::from_le_bytes(field.try_into().expect("four bytes")) as usize * BLOCK_BYTES
}

fn record(image: &Image, name: &str) -> usize {
    let end = image.layout.geometry().metadata_blocks as usize * BLOCK_BYTES;
    let wanted = [&[name.len() as u8][..], &[0], name.as_bytes()].concat();
    let mut windows = image.metadata[..end].windows(wanted.len());
    let same = |found: &[u8]| found[0] == wanted[0] && found[2..] == wanted[2..];
    windows.rposition(same).expect("the name is there") - 6
}

#[test]
fn each_fault_is_named() {
    let mut image = Builder::new();
    // Inodes in path order: 11 parent, 12 child, 13 file, 14 many, 15 other.
    image.file("parent/child/file", 5000);
    let data: Vec<_> = (0..6).map(|number| (number * 2 * BLOCK, 1)).collect();
    image.sparse("parent/many", 11 * BLOCK, &data);
    image.file("parent/other", 5000);
    let image = image.finish();
    let inode = |number: usize| table(&image) + (number - 1) * INODE_BYTES;
    let at = |offset: usize| format!("byte {offset} of the device: ");
    let mut wrong = Vec::new();
    let mut check = |at: usize, bytes: &[u8], expected: &str| {
        let found = fault(&image, at, bytes);
        if !found.contains(expected) {
            wrong.push(format!("{expected}\n   but: {found}"));
        }
    };

    check(1024 + 56, &[0], "not an ext4 file system");
    check(
        1024 + 24,
        &[0],
        &format!("{}the block size's logarithm cannot be 0", at(1048)),
    );
    check(1024 + 76, &[0], "the revision cannot be 0");
    check(1024 + 88, &[128, 0], "the size of an inode cannot be 128");
    check(1024 + 4, &[1, 0, 0, 0], "the count of blocks cannot be 1");
    check(1024 + 40, &[17], "the count of inodes in a group cannot be 17");
    check(1024, &[17], "the count of inodes cannot be 17");
    check(
        BLOCK_BYTES + 8,
        &[1],
        "a pointer to blocks 1 to 2, which are not all among 2 to 128",
    );

    check(inode(2), &[0, 0x80], "the root is not a directory");
    check(
        inode(13),
        &[0, 0],
        &format!("{}the mode of a file in use cannot be 0", at(inode(13))),
    );
    check(inode(13) + 35, &[0x10], "the set of flags of a file cannot be");
    check(inode(13) + 108, &[0, 0x10], "the size of a file cannot be");
    check(
        inode(13),
        &[0, 0x10],
        "a name says that inode 13 is another kind of file",
    );
    check(inode(12) + 4, &[1], "the size of a directory cannot be 4097");
    check(inode(12) + 4, &[0, 0], "the size of a directory cannot be 0");
    check(inode(12) + 5, &[0x20], "a directory of 2 blocks, 1 of which are mapped");
    check(
        inode(12) + 60,
        &image.metadata[inode(11) + 60..][..4],
        "belongs to two owners",
    );
    check(
        inode(12) + 60,
        &image.metadata[inode(13) + 60..][..4],
        "a pointer to blocks",
    );

    check(inode(13) + 40, &[0], "the magic number of an extent node cannot be");
    check(
        inode(13) + 42,
        &[5],
        "the count of entries of an extent node cannot be 5",
    );
    check(inode(13) + 44, &[3], "the room of an extent node cannot be 3");
    check(inode(13) + 46, &[6], "the depth of an extent tree cannot be 6");
    check(inode(13) + 46, &[1], "the high half of a block's number cannot be 128");
    check(inode(14) + 56, &[0; 4], "a pointer to blocks 0 to 1");
    check(inode(14) + 60, &[1], "the high half of a block's number cannot be 1");
    check(inode(13) + 56, &[0], "the count of blocks of an extent cannot be 0");
    check(
        inode(13) + 56,
        &[1, 0x80],
        "the count of blocks of an extent cannot be 32769",
    );
    check(inode(13) + 56, &[3], "an extent of 3 blocks at block 0 of a file");
    check(inode(13) + 58, &[1], "the high half of a block's number cannot be 1");
    check(
        inode(13) + 60,
        &[0, 0, 0, 0],
        "a pointer to blocks 0 to 2, which are not all among 128 to",
    );
    check(
        inode(13) + 60,
        &[0xff; 4],
        "a pointer to blocks 4294967295 to 4294967297",
    );
    let file_block = &image.metadata[inode(13) + 60..][..4];
    check(inode(15) + 60, file_block, &format!("{}block ", at(inode(15))));
    check(inode(15) + 60, file_block, "belongs to two owners");
    let leaf = image.metadata[inode(14) + 56..][..4].try_into().expect("four bytes");
    let leaf = u32::from_le_bytes(leaf) as usize * BLOCK_BYTES;
    check(leaf + 6, &[1], "the depth of an extent node cannot be 1");
    check(leaf + 2, &[0], "the count of entries below the top cannot be 0");
    check(leaf + 12, &[1], "the first file block of an extent node cannot be 1");
    check(leaf + 24, &[0], "an extent of 1 blocks at block 0 of a file");
    check(
        leaf + 32,
        &image.metadata[leaf + 20..][..4],
        "our files are one run, and it would be",
    );

    let (child, file) = (record(&image, "child"), record(&image, "file"));
    check(
        child,
        &[11],
        &format!("{}directory inode 11 has a second name", at(inode(11))),
    );
    check(child, &[2], &format!("{}the inode of a name cannot be 2", at(child)));
    check(child, &[0, 0xff], "the inode of a name cannot be");
    check(child + 7, &[1], "a name says that inode 12 is another kind of file");
    check(child + 7, &[6], "the file type of a name cannot be 6");
    check(child + 8, b"chi/d", "the name \"chi/d\" cannot be a file's");
    check(child + 8, b"chi\0d", "the name \"chi\\x00d\" cannot be a file's");
    check(
        child + 6,
        &[4, 2, b'm', b'a', b'n', b'y'],
        "the directory has the name \"many\" twice",
    );
    check(child + 4, &[15], "the length of a name's record cannot be 15");
    check(child + 4, &[8], "the length of a name's record cannot be 8");
    check(file + 4, &[0, 0x10], "the length of a name's record cannot be 4096");
    check(file + 6, &[0], "the name \"\" cannot be a file's");
    let block = file / BLOCK_BYTES * BLOCK_BYTES;
    check(
        file + 4,
        &((block + 4092 - file) as u16).to_le_bytes(),
        "the room left for a name's record cannot be 4",
    );
    check(block, &[13], "does not begin with \".\" for inode 12");
    check(block + 12, &[13], "does not begin with \"..\" for inode 11");
    check(block + 8, b"x", "does not begin with \".\"");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
