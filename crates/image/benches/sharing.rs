//! Question: how many bytes does a store hold for the whole corpus, under this layout and under others?
//!
//! `cargo bench -p image --bench sharing [-- --sweep | --compression]` prints the table of docs/decisions/0003: OCI layers, fixed chunks
//! over `mke2fs -d`, this layout, content-defined chunking, and 4 KiB blocks as the bound. `--sweep` varies the sizes
//! of the placement rule instead; `--compression` prints only the last table. Needs the corpus (`cargo xtask corpus`) and, for `mke2fs -d`, root.

use chunk::{CHUNK_BYTES, CheckedChunk, Compression, Opener, Salt, SaltScope, SealedChunk, seal_chunk};
use image::device::{Device, FlattenSettings, flatten};
use image::placement::PlacementSizes;
use image::read_at::FileRange;
use image::source::plain::{Progress, UnpackOptions, plain_layers};
use image::source::{self, Limits, OpenOptions};
use image::tree::TreeLimits;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

const IMAGES: [&str; 7] = [
    "base",
    "sklearn",
    "onnx",
    "tensorflow",
    "sklearn-rebuild",
    "sklearn-app",
    "sklearn-dep",
];
const MIB: f64 = 1024.0 * 1024.0;

type Hash = [u8; 16];

fn main() {
    let corpus = corpus();
    let wants = |flag: &str| std::env::args().any(|argument| argument == flag);
    if wants("--sweep") {
        return sweep(&corpus);
    }
    if wants("--compression") {
        return compressed(&corpus);
    }
    println!(
        "stored MiB for {} images, each row after the ones before it; zeros are never stored",
        IMAGES.len()
    );
    println!(
        "{:34} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "image", "layers", "mke2fs", "lambent", "cdc", "4 KiB"
    );
    let mut stores: [Counter; 5] = Default::default();
    let mut total = 0.0;
    for name in IMAGES {
        let before: Vec<u64> = stores.iter().map(|store| store.bytes).collect();
        let (device, layers) = open(&corpus, name, PlacementSizes::default());
        total += image_bytes(&device) as f64;
        for layer in &layers {
            stores[0].add(layer.0, layer.1);
        }
        mke2fs(&layers.iter().map(|layer| &layer.2).collect::<Vec<_>>(), &mut stores[1]);
        let (_, rest) = stores.split_at_mut(2);
        let [chunks, cdc, blocks] = rest else {
            unreachable!("five stores")
        };
        count_device(&device, chunks, cdc, blocks);
        let new: Vec<f64> = stores
            .iter()
            .zip(before)
            .map(|(store, before)| (store.bytes - before) as f64 / MIB)
            .collect();
        println!(
            "{name:34} {:9.1} {:9.1} {:9.1} {:9.1} {:9.1}",
            new[0], new[1], new[2], new[3], new[4]
        );
    }
    let all: Vec<f64> = stores.iter().map(|store| store.bytes as f64).collect();
    let print = |label: &str, value: &dyn Fn(f64) -> f64| {
        println!(
            "{label:34} {:9.1} {:9.1} {:9.1} {:9.1} {:9.1}",
            value(all[0]),
            value(all[1]),
            value(all[2]),
            value(all[3]),
            value(all[4])
        );
    };
    print("all", &|bytes| bytes / MIB);
    print("saved of file bytes, %", &|bytes| 100.0 * (1.0 - bytes / total));
    print("saved of what 4 KiB blocks save, %", &|bytes| {
        100.0 * (total - bytes) / (total - all[4])
    });
    println!("{:34} {:9}", "distinct objects", stores[2].seen.len());
    compressed(&corpus);
}

/// The same chunks under each compression, with the time to seal them on one thread.
fn compressed(corpus: &Path) {
    let salt = Salt::derive(&[7; 32], &SaltScope::Shared);
    println!(
        "\n{:34} {:>9} {:>12} {:>12}",
        "compression (tensorflow)", "MiB", "seal MiB/s", "open MiB/s"
    );
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let (device, _) = open(corpus, "tensorflow", PlacementSizes::default());
        let (mut stored, mut sealing, mut opening, mut plain) = (0, 0.0, 0.0, 0);
        let mut buffer = Vec::new();
        let mut opener = Opener::default();
        for number in (0..device.chunks()).step_by(4) {
            device.read_chunk(number, &mut buffer).expect("read a chunk");
            let start = std::time::Instant::now();
            let sealed = seal_chunk(&salt, buffer.clone(), compression);
            sealing += start.elapsed().as_secs_f64();
            if let SealedChunk::Data { entry, key, ciphertext } = sealed {
                stored += ciphertext.len();
                plain += CHUNK_BYTES;
                let start = std::time::Instant::now();
                let checked = CheckedChunk::check(entry.id().expect("it has data"), ciphertext.into());
                let checked = checked.expect("a chunk has the hash that it was given");
                opener.open(&entry, &key, &checked, &mut buffer).expect("open a chunk");
                opening += start.elapsed().as_secs_f64();
            }
        }
        let rate = |seconds: f64| plain as f64 / MIB / seconds;
        println!(
            "{:34} {:9.1} {:12.0} {:12.0}",
            format!("{compression:?}, every fourth chunk"),
            stored as f64 / MIB,
            rate(sealing),
            rate(opening)
        );
    }
}

fn sweep(corpus: &Path) {
    println!(
        "{:>9} {:>9} {:>11} {:>9} {:>12} {:>9}  new MiB by image",
        "large KiB", "mean KiB", "stored MiB", "objects", "chunks (tf)", "app %"
    );
    for large in [128, 256, 512, 1024] {
        for mean in [1024, 2048, 4096] {
            let sizes = PlacementSizes {
                large_bytes_min: large * 1024,
                group_bytes_mean: mean * 1024,
                group_bytes_max: 8 * mean * 1024,
            };
            let mut store = Counter::default();
            let mut new = Vec::new();
            let mut chunks = BTreeMap::new();
            let mut sizes_of = BTreeMap::new();
            for name in IMAGES {
                let before = store.bytes;
                let (device, _) = open(corpus, name, sizes);
                let mut alone = Counter::default();
                let mut buffer = Vec::new();
                for number in 0..device.chunks() {
                    device.read_chunk(number, &mut buffer).expect("read a chunk");
                    store.add_trimmed(&buffer);
                    alone.add_trimmed(&buffer);
                }
                chunks.insert(name, alone.seen.len());
                sizes_of.insert(name, alone.bytes);
                new.push((store.bytes - before) as f64 / MIB);
            }
            let app = 100.0 * new[5] * MIB / sizes_of["sklearn-app"] as f64;
            let new: Vec<String> = new.iter().map(|bytes| format!("{bytes:.1}")).collect();
            println!(
                "{large:9} {mean:9} {:11.1} {:9} {:12} {app:9.2}  {}",
                store.bytes as f64 / MIB,
                store.seen.len(),
                chunks["tensorflow"],
                new.join(" ")
            );
        }
    }
}

/// A store that only counts: distinct pieces and their bytes.
#[derive(Default)]
struct Counter {
    seen: HashSet<Hash>,
    bytes: u64,
}

impl Counter {
    fn add(&mut self, hash: Hash, bytes: u64) {
        if bytes > 0 && self.seen.insert(hash) {
            self.bytes += bytes;
        }
    }

    fn add_trimmed(&mut self, piece: &[u8]) {
        let end = piece.rchunks(64).position(|part| part.iter().any(|byte| *byte != 0));
        let end = end.map_or(0, |zeros| piece.len().saturating_sub(zeros * 64));
        self.add(hash(&piece[..end]), end as u64);
    }
}

fn hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("32 bytes")
}

fn image_bytes(device: &Device) -> u64 {
    let mut buffer = Vec::new();
    let mut bytes = 0;
    for number in 0..device.chunks() {
        device.read_chunk(number, &mut buffer).expect("read a chunk");
        bytes += buffer
            .chunks(4096)
            .filter(|block| block.iter().any(|byte| *byte != 0))
            .count() as u64
            * 4096;
    }
    bytes
}

/// Fixed chunks, content-defined chunks of the same mean over the same stream, and 4 KiB blocks.
fn count_device(device: &Device, chunks: &mut Counter, cdc: &mut Counter, blocks: &mut Counter) {
    let mut buffer = Vec::new();
    let mut stream = Vec::new();
    for number in 0..device.chunks() {
        device.read_chunk(number, &mut buffer).expect("read a chunk");
        chunks.add_trimmed(&buffer);
        for block in buffer.chunks(4096).filter(|block| block.iter().any(|byte| *byte != 0)) {
            blocks.add(hash(block), 4096);
            stream.extend_from_slice(block);
        }
    }
    let (min, mean, max) = (CHUNK_BYTES / 4, CHUNK_BYTES, CHUNK_BYTES * 4);
    for piece in fastcdc::v2020::FastCDC::new(&stream, min, mean, max) {
        let piece = &stream[piece.offset..piece.offset + piece.length];
        cdc.add(hash(piece), piece.len() as u64);
    }
}

/// Extracts the layers, makes an image with `mke2fs -d` as reproducibly as it can, and counts its fixed chunks.
fn mke2fs(layers: &[&FileRange], store: &mut Counter) {
    let work = tempfile::tempdir().expect("a directory");
    let (tree, image) = (work.path().join("tree"), work.path().join("image"));
    std::fs::create_dir(&tree).expect("create a directory");
    for layer in layers {
        let mut tar = Command::new("tar")
            .args(["-xpf", "-", "--numeric-owner", "-C"])
            .arg(&tree)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("tar runs");
        let mut reader = RangeReader { range: layer, at: 0 };
        std::io::copy(&mut reader, tar.stdin.as_mut().expect("a pipe")).expect("tar reads");
        drop(tar.stdin.take());
        assert!(tar.wait().expect("tar ends").success(), "tar failed");
    }
    let status = Command::new("mke2fs")
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-m",
            "0",
            "-U",
            "6c616d62-656e-7420-696d-616765207631",
            "-E",
            "hash_seed=6c616d62-656e-7420-696d-616765207631",
            "-d",
        ])
        .args([&tree, &image])
        .arg("3G")
        .env("E2FSPROGS_FAKE_TIME", "1")
        .status();
    assert!(status.expect("mke2fs runs").success(), "mke2fs failed");
    let mut file = File::open(&image).expect("the image");
    let mut buffer = vec![0; CHUNK_BYTES];
    while file.read_exact(&mut buffer).is_ok() {
        store.add_trimmed(&buffer);
    }
}

struct RangeReader<'a> {
    range: &'a FileRange,
    at: u64,
}

impl Read for RangeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = (self.range.bytes - self.at).min(buffer.len() as u64) as usize;
        image::read_at::ReadAt::read_exact_at(self.range, &mut buffer[..bytes], self.at)?;
        self.at += bytes as u64;
        Ok(bytes)
    }
}

type LayerFile = (Hash, u64, FileRange);

fn open(corpus: &Path, name: &str, sizes: PlacementSizes) -> (Device, Vec<LayerFile>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let spec = format!("oci:{}", corpus.join(name).display())
        .parse()
        .expect("a source");
    let options = OpenOptions::new(std::env::temp_dir());
    let image =
        source::open(&spec, &options, runtime.handle()).expect("the corpus image opens; run `cargo xtask corpus`");
    let unpack = UnpackOptions {
        scratch_dir: std::env::temp_dir(),
        threads: 2,
        limits: Limits::default(),
    };
    let layers = plain_layers(&image, &unpack, &Progress::default()).expect("plain layers");
    let files: Vec<LayerFile> = layers
        .iter()
        .map(|layer| {
            let hash = hash(layer.diff_id.to_string().as_bytes());
            (hash, layer.bytes, layer.range())
        })
        .collect();
    let settings = FlattenSettings {
        limits: TreeLimits {
            unpacked_bytes_max: 64 << 30,
            entries_max: 1 << 20,
        },
        sizes,
    };
    let ranges = files.iter().map(|file| file.2.clone()).collect();
    (
        flatten(ranges, &settings, tempfile::tempfile().expect("scratch")).expect("flatten"),
        files,
    )
}

fn corpus() -> PathBuf {
    let cache = std::env::var_os("LAMBENT_CACHE").map(PathBuf::from);
    let xdg = || std::env::var_os("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("lambent"));
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/lambent"));
    cache
        .or_else(xdg)
        .or_else(home)
        .expect("LAMBENT_CACHE, XDG_CACHE_HOME or HOME is set")
        .join("corpus")
}
