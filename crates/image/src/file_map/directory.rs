//! A directory's names. The layout is that of `ext4::directory`.

use super::error::{FileMapError, FileMapFault};
use super::extents;
use super::inode::{FileType, Inode};
use super::metadata::{Area, Metadata};
use super::superblock::Volume;
use crate::ext4::BLOCK_BYTES;

const RECORD_HEADER_BYTES: usize = 8;
/// A header and a name of up to four bytes.
const RECORD_BYTES_MIN: usize = 12;

/// The names of one directory in byte order, without its own two; taken one by one.
pub(super) struct Names {
    /// All names in one piece: half a million of them in vectors of their own would cost more than their text.
    text: Vec<u8>,
    entries: Vec<Entry>,
    taken: usize,
}

struct Entry {
    /// Where its name begins in the text, which is shorter than the metadata region and so than 4 GiB.
    start: u32,
    inode: u32,
    name_bytes: u8,
    file_type: FileType,
}

/// A name and what it stands for.
pub(super) struct Name<'a> {
    pub(super) text: &'a [u8],
    pub(super) inode: u32,
    pub(super) file_type: FileType,
}

/// A record of a directory's block, cut out within its bounds.
struct Record<'a> {
    area: Area<'a>,
    inode: u32,
    file_type: u8,
    name: &'a [u8],
}

impl Names {
    pub(super) fn next(&mut self) -> Option<Name<'_>> {
        let entry = self.entries.get(self.taken)?;
        self.taken += 1;
        Some(Name {
            text: entry.text(&self.text),
            inode: entry.inode,
            file_type: entry.file_type,
        })
    }

    /// Orders the names; gives one that is there twice.
    fn sort(&mut self) -> Option<Vec<u8>> {
        let text = &self.text;
        self.entries
            .sort_unstable_by(|left, right| left.text(text).cmp(right.text(text)));
        let mut pairs = self.entries.windows(2);
        let twice = pairs.find(|pair| pair[0].text(text) == pair[1].text(text));
        twice.map(|pair| pair[0].text(text).to_vec())
    }
}

impl Entry {
    fn text<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.start as usize..][..usize::from(self.name_bytes)]
    }
}

/// Reads the directory in `inode`, whose parent has the inode `parent`.
pub(super) fn read(inode: &Inode, parent: u32, metadata: &mut Metadata<'_>) -> Result<Names, FileMapError> {
    let area = inode.area();
    let sized = inode.bytes > 0 && inode.bytes.is_multiple_of(BLOCK_BYTES as u64);
    area.ensure(sized, 4, "size of a directory", inode.bytes)?;
    let extras = metadata.volume().extras();
    let extents = extents::read(inode, &extras, metadata)?;
    let mapped = extents.iter().map(|extent| extent.len() as u64).sum();
    let blocks = inode.bytes / BLOCK_BYTES as u64;
    if mapped != blocks {
        return Err(area.fault(4, FileMapFault::DirectoryHole { blocks, mapped }));
    }
    let volume = metadata.volume().clone();
    let mut names = Names {
        text: Vec::new(),
        entries: Vec::new(),
        taken: 0,
    };
    let mut dots = vec![("..", parent), (".", inode.number)];
    for block in extents.into_iter().flatten() {
        let block = metadata.take_block(block, inode.extents_top().offset)?;
        read_block(block.area(), &mut dots, &volume, &mut names)?;
    }
    match names.sort() {
        Some(name) => Err(area.fault(0, FileMapFault::NameTwice { name })),
        None => Ok(names),
    }
}

/// Reads a block's records; the first ones must be the `dots` that are still to come, the last of them first.
fn read_block(
    block: Area<'_>,
    dots: &mut Vec<(&'static str, u32)>,
    volume: &Volume,
    names: &mut Names,
) -> Result<(), FileMapError> {
    let mut at = 0;
    while at < BLOCK_BYTES {
        let record = cut(block, at)?;
        at += record.area.bytes.len();
        match dots.pop() {
            Some((expected, inode)) => check_dot(&record, expected, inode)?,
            // A record without an inode has no name: it is how a hash tree's index looks from here.
            None if record.inode == 0 => {}
            None => add(&record, volume, names)?,
        }
    }
    Ok(())
}

fn cut(block: Area<'_>, at: usize) -> Result<Record<'_>, FileMapError> {
    let left = BLOCK_BYTES - at;
    block.ensure(
        left >= RECORD_BYTES_MIN,
        at,
        "room left for a name's record",
        left as u64,
    )?;
    let record_bytes = usize::from(block.u16(at + 4));
    let sound = (RECORD_BYTES_MIN..=left).contains(&record_bytes) && record_bytes.is_multiple_of(4);
    block.ensure(sound, at + 4, "length of a name's record", record_bytes as u64)?;
    let area = block.part(at..at + record_bytes);
    let name_bytes = usize::from(area.u8(6));
    let sound = RECORD_HEADER_BYTES + name_bytes <= record_bytes;
    area.ensure(sound, 6, "length of a name", name_bytes as u64)?;
    Ok(Record {
        area,
        inode: area.u32(0),
        file_type: area.u8(7),
        name: &area.bytes[RECORD_HEADER_BYTES..][..name_bytes],
    })
}

fn check_dot(record: &Record<'_>, expected: &'static str, inode: u32) -> Result<(), FileMapError> {
    let sound = record.name == expected.as_bytes()
        && record.inode == inode
        && FileType::of_name(record.file_type) == Some(FileType::Directory);
    match sound {
        true => Ok(()),
        false => Err(record.area.fault(0, FileMapFault::DotsWrong { expected, inode })),
    }
}

fn add(record: &Record<'_>, volume: &Volume, names: &mut Names) -> Result<(), FileMapError> {
    let Record { area, inode, name, .. } = *record;
    area.ensure(volume.is_file_inode(inode), 0, "inode of a name", inode)?;
    let Some(file_type) = FileType::of_name(record.file_type) else {
        let (field, value) = ("file type of a name", record.file_type.into());
        return Err(area.fault(7, FileMapFault::BadField { field, value }));
    };
    let impossible = name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0);
    if impossible {
        let name = name.to_vec();
        return Err(area.fault(RECORD_HEADER_BYTES, FileMapFault::BadName { name }));
    }
    names.entries.push(Entry {
        start: names.text.len() as u32,
        inode,
        name_bytes: name.len() as u8,
        file_type,
    });
    names.text.extend_from_slice(name);
    Ok(())
}
