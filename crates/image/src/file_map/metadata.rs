//! The metadata region as blocks, each read with its bounds checked.

use super::INODE_BYTES;
use super::error::{FileMapError, FileMapFault};
use super::inode::Inode;
use super::superblock::{self, Volume};
use crate::ext4::BLOCK_BYTES;
use std::io;
use std::ops::Range;

/// Largest region that is read. 16 million inodes fill it, 32 times as many as a push allows unless told otherwise.
pub(super) const REGION_BYTES_MAX: u64 = 4 << 30;

/// Fills a buffer from an offset of the device.
type ReadDevice<'a> = dyn FnMut(u64, &mut [u8]) -> io::Result<()> + 'a;

/// Reads blocks of the region and no others.
pub(super) struct Blocks<'a> {
    read: &'a mut ReadDevice<'a>,
    /// How many the region has.
    pub(super) count: u32,
}

/// One block of the region.
pub(super) struct Block {
    offset: u64,
    bytes: Box<[u8; BLOCK_BYTES]>,
}

/// Bytes of the region, and where they lie.
#[derive(Clone, Copy)]
pub(super) struct Area<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) offset: u64,
}

/// The region of a file system whose superblock is sound.
pub(super) struct Metadata<'a> {
    blocks: Blocks<'a>,
    volume: Volume,
    /// One bit for each block that directories and extent trees may have: whether one has it.
    claimed: Vec<u64>,
    /// The block of the inode table that was read last: inodes are met in order, and 16 share a block.
    table_block: Option<(u32, Block)>,
}

impl<'a> Blocks<'a> {
    fn new(region_bytes: u64, read: &'a mut ReadDevice<'a>) -> Result<Self, FileMapError> {
        let bytes_min = BLOCK_BYTES as u64;
        if !(bytes_min..=REGION_BYTES_MAX).contains(&region_bytes) {
            let fault = FileMapFault::RegionSize {
                bytes: region_bytes,
                bytes_min,
                bytes_max: REGION_BYTES_MAX,
            };
            return Err(fault.at(0));
        }
        Ok(Self {
            read,
            count: (region_bytes / BLOCK_BYTES as u64) as u32,
        })
    }

    /// Reads a block, whose number was checked.
    pub(super) fn block(&mut self, number: u32) -> Result<Block, FileMapError> {
        assert!(number < self.count, "block {number} is beyond the metadata");
        let offset = u64::from(number) * BLOCK_BYTES as u64;
        let mut bytes = Box::new([0; BLOCK_BYTES]);
        (self.read)(offset, bytes.as_mut_slice()).map_err(|error| FileMapFault::Read(error).at(offset))?;
        Ok(Block { offset, bytes })
    }
}

impl Block {
    pub(super) fn area(&self) -> Area<'_> {
        Area {
            bytes: self.bytes.as_slice(),
            offset: self.offset,
        }
    }
}

impl<'a> Area<'a> {
    pub(super) fn part(&self, range: Range<usize>) -> Area<'a> {
        Area {
            offset: self.offset + range.start as u64,
            bytes: &self.bytes[range],
        }
    }

    pub(super) fn u8(&self, at: usize) -> u8 {
        self.bytes[at]
    }

    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    pub(super) fn fault(&self, at: usize, fault: FileMapFault) -> FileMapError {
        fault.at(self.offset + at as u64)
    }

    /// Fails when a number that was read at `at` is not what it has to be.
    pub(super) fn ensure(
        &self,
        holds: bool,
        at: usize,
        field: &'static str,
        value: impl Into<u64>,
    ) -> Result<(), FileMapError> {
        match holds {
            true => Ok(()),
            false => Err(self.fault(
                at,
                FileMapFault::BadField {
                    field,
                    value: value.into(),
                },
            )),
        }
    }
}

impl<'a> Metadata<'a> {
    pub(super) fn open(region_bytes: u64, read: &'a mut ReadDevice<'a>) -> Result<Self, FileMapError> {
        let mut blocks = Blocks::new(region_bytes, read)?;
        let volume = superblock::read(&mut blocks)?;
        Ok(Self {
            claimed: vec![0; volume.extras().len().div_ceil(64)],
            blocks,
            volume,
            table_block: None,
        })
    }

    pub(super) const fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Reads a block of a directory or an extent tree for its only owner; `pointer` is where its number stands.
    pub(super) fn take_block(&mut self, number: u32, pointer: u64) -> Result<Block, FileMapError> {
        let allowed = self.volume.extras();
        if !allowed.contains(&number) {
            let blocks = u64::from(number)..u64::from(number) + 1;
            return Err(FileMapFault::BlocksOutside { blocks, allowed }.at(pointer));
        }
        let place = (number - allowed.start) as usize;
        let (word, bit) = (&mut self.claimed[place / 64], 1 << (place % 64));
        if *word & bit != 0 {
            return Err(FileMapFault::BlockTwice { block: number }.at(pointer));
        }
        *word |= bit;
        self.blocks.block(number)
    }

    /// Reads an inode, whose number was checked.
    pub(super) fn inode(&mut self, number: u32) -> Result<Inode, FileMapError> {
        let offset = self.volume.inode_offset(number);
        let table_block = (offset / BLOCK_BYTES as u64) as u32;
        let block = match self.table_block.take() {
            Some((cached, block)) if cached == table_block => block,
            _ => self.blocks.block(table_block)?,
        };
        let start = (offset % BLOCK_BYTES as u64) as usize;
        let inode = Inode::decode(number, block.area().part(start..start + INODE_BYTES));
        self.table_block = Some((table_block, block));
        inode
    }
}
