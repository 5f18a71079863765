//! The device that an image becomes, read chunk by chunk in any order.
//!
//! A chunk is a pure function of the layers: metadata comes from a scratch file into which it was written once, file
//! data from wherever it lies in its layer. So any number of threads can take chunks in any order, and each byte of a
//! layer that the image still holds is read once.

use crate::ext4::{self, BLOCK_BYTES, DeviceRun, Geometry, LayoutError};
use crate::layer::{LayerError, LayerReader};
use crate::placement::PlacementSizes;
use crate::read_at::{FileRange, ReadAt};
use crate::tree::{LayerNumber, Tree, TreeBuilder, TreeError, TreeLimits, Warning};
use chunk::CHUNK_BYTES;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

/// Warnings that are kept; a hostile layer could cause millions.
const WARNINGS_MAX: usize = 100;

/// Buffer between the writer of metadata, which writes 256 bytes at a time, and its file.
const METADATA_BUFFER_BYTES: usize = 256 * 1024;

/// An image's file system, ready to be read.
#[derive(Debug)]
pub struct Device {
    layers: Vec<FileRange>,
    metadata: File,
    geometry: Geometry,
    runs: Vec<DeviceRun>,
    warnings: Vec<Warning>,
    files: u64,
}

/// Layers that do not make a file system.
#[derive(Debug, thiserror::Error)]
pub enum FlattenError {
    /// A layer is not a readable tar stream.
    #[error("layer {layer}: {source}")]
    Layer {
        /// The layer, counted from 1.
        layer: usize,
        /// What is wrong with it.
        source: LayerError,
    },
    /// A layer's entry cannot be applied.
    #[error("layer {layer}: {source}")]
    Entry {
        /// The layer, counted from 1.
        layer: usize,
        /// What is wrong with it.
        source: TreeError,
    },
    /// The result is no possible ext4.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Metadata could not be written.
    #[error("cannot write the file system's metadata to the scratch directory: {0}")]
    Scratch(io::Error),
}

/// A chunk that could not be read from its layer.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {part} again for chunk {chunk}: {source}; was the file changed meanwhile?")]
pub struct DeviceReadError {
    part: String,
    chunk: u32,
    source: io::Error,
}

/// The stretch of a layer that is all the data of a chunk: its first bytes, with zeros behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChunkSource {
    pub(crate) layer: LayerNumber,
    /// Offset in the layer's plain stream.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// What flattening may use and make.
#[derive(Clone, Copy, Debug)]
pub struct FlattenSettings {
    /// How much an image may hold.
    pub limits: TreeLimits,
    /// How files are placed.
    pub sizes: PlacementSizes,
}

/// Applies the layers and lays the result out; `scratch` is an empty file for the metadata, read and written.
pub fn flatten(layers: Vec<FileRange>, settings: &FlattenSettings, scratch: File) -> Result<Device, FlattenError> {
    let (tree, warnings) = merge(&layers, settings.limits)?;
    let layout = ext4::lay_out(&tree, settings.sizes)?;
    let mut out = BufWriter::with_capacity(METADATA_BUFFER_BYTES, &scratch);
    ext4::write_metadata(&tree, &layout, &mut out)
        .and_then(|()| out.flush())
        .map_err(FlattenError::Scratch)?;
    drop(out);
    let geometry = *layout.geometry();
    let runs = layout.runs(&tree);
    Ok(Device {
        layers,
        metadata: scratch,
        geometry,
        runs,
        warnings,
        files: layout.nodes(),
    })
}

fn merge(layers: &[FileRange], limits: TreeLimits) -> Result<(Tree, Vec<Warning>), FlattenError> {
    let mut builder = TreeBuilder::new(limits);
    let mut warnings = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        builder.start_layer(LayerNumber(
            u16::try_from(number).expect("sources refuse more than 1,000 layers"),
        ));
        let mut reader = LayerReader::new(layer);
        let at = number + 1;
        while let Some(entry) = reader
            .next_entry()
            .map_err(|source| FlattenError::Layer { layer: at, source })?
        {
            let new = builder
                .apply(entry)
                .map_err(|source| FlattenError::Entry { layer: at, source })?;
            warnings.extend(new.into_iter().take(WARNINGS_MAX - warnings.len()));
        }
    }
    Ok((builder.finish(), warnings))
}

impl Device {
    /// How many chunks the device has.
    #[must_use]
    pub const fn chunks(&self) -> u32 {
        self.geometry.chunks()
    }

    /// How many of them, at the front, hold metadata.
    #[must_use]
    pub const fn metadata_chunks(&self) -> u32 {
        self.geometry.metadata_chunks()
    }

    /// Bytes of the device.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.chunks() as u64 * CHUNK_BYTES as u64
    }

    /// Inodes in use: files, directories, links and all others, each once.
    #[must_use]
    pub const fn files(&self) -> u64 {
        self.files
    }

    /// What was left out of the image; at most the first hundred.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Reads one chunk into `buffer`, which holds exactly [`CHUNK_BYTES`] afterwards.
    pub fn read_chunk(&self, chunk: u32, buffer: &mut Vec<u8>) -> Result<(), DeviceReadError> {
        buffer.clear();
        buffer.resize(CHUNK_BYTES, 0);
        let start = start_of(chunk);
        let metadata_bytes = u64::from(self.geometry.metadata_blocks) * BLOCK_BYTES as u64;
        let metadata = metadata_bytes.saturating_sub(start).min(CHUNK_BYTES as u64) as usize;
        if metadata > 0 {
            let read = self.metadata.read_exact_at(&mut buffer[..metadata], start);
            return read.map_err(|source| DeviceReadError {
                part: "the scratch file".to_owned(),
                chunk,
                source,
            });
        }
        for run in self
            .runs_from(start)
            .iter()
            .take_while(|run| run.device_offset < start + CHUNK_BYTES as u64)
        {
            let part = |source| DeviceReadError {
                part: format!("layer {}", run.layer.0 + 1),
                chunk,
                source,
            };
            self.read_run(run, start, buffer).map_err(part)?;
        }
        Ok(())
    }

    /// Where a chunk's data lies, if nothing else does in that chunk.
    pub(crate) fn source_of(&self, chunk: u32) -> Option<ChunkSource> {
        let start = start_of(chunk);
        let (run, later) = self.runs_from(start).split_first()?;
        let is_alone = later
            .first()
            .is_none_or(|next| next.device_offset >= start + CHUNK_BYTES as u64);
        if chunk < self.metadata_chunks() || run.device_offset > start || !is_alone {
            return None;
        }
        let before = start - run.device_offset;
        Some(ChunkSource {
            layer: run.layer,
            offset: run.layer_offset + before,
            bytes: (run.bytes - before).min(CHUNK_BYTES as u64),
        })
    }

    /// The runs that end behind this offset of the device.
    fn runs_from(&self, start: u64) -> &[DeviceRun] {
        &self.runs[self.runs.partition_point(|run| run.device_offset + run.bytes <= start)..]
    }

    /// Copies the part of `run` that lies in the chunk at `start`.
    fn read_run(&self, run: &DeviceRun, start: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = run.device_offset.max(start);
        let to = (run.device_offset + run.bytes).min(start + CHUNK_BYTES as u64);
        let target = &mut buffer[(from - start) as usize..(to - start) as usize];
        self.layers[usize::from(run.layer.0)].read_exact_at(target, run.layer_offset + (from - run.device_offset))
    }
}

/// Where a chunk starts on the device, in bytes.
const fn start_of(chunk: u32) -> u64 {
    chunk as u64 * CHUNK_BYTES as u64
}
