//! What does it cost to make the chunks of a push durable on a local directory?
//!
//! `cargo bench -p store` writes 512 MiB of 512 KiB chunks, 64 at once, below the folder that TMPDIR names, and prints
//! seconds, medians of five runs: without durability, with one `syncfs` at the end, and with an fsync of each file and
//! its folder. An idle machine matters here: `syncfs` waits for other programs' writes too.

use bytes::Bytes;
use futures::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, PutMode};
use std::fs::File;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

const CHUNKS: usize = 1024;
const CHUNK_BYTES: usize = 512 * 1024;
const IN_FLIGHT: usize = 64;
const RUNS: usize = 5;

#[derive(Clone, Copy)]
enum Durability {
    None,
    OneSyncfs,
    FsyncEach,
}

const VARIANTS: [(&str, Durability); 3] = [
    ("none", Durability::None),
    ("one syncfs", Durability::OneSyncfs),
    ("fsync each", Durability::FsyncEach),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = std::env::temp_dir();
    println!(
        "{} threads, {CHUNKS} chunks of {CHUNK_BYTES} bytes in {}",
        available_parallelism()?,
        folder.display()
    );
    let mut seconds = [const { Vec::new() }; VARIANTS.len()];
    // Variants take turns, so that a busy minute hits all of them.
    for _ in 0..RUNS {
        for ((_, durability), seconds) in VARIANTS.iter().zip(&mut seconds) {
            let folder = tempfile::tempdir()?;
            // Nothing of the last run is left to be written by this one.
            rustix::fs::syncfs(File::open(folder.path())?)?;
            seconds.push(runtime.block_on(push(folder.path(), *durability))?.as_secs_f64());
        }
    }
    for ((name, _), mut seconds) in VARIANTS.into_iter().zip(seconds) {
        seconds.sort_by(f64::total_cmp);
        println!("{name:>10}: {:.2} s ({seconds:.2?})", seconds[RUNS / 2]);
    }
    Ok(())
}

async fn push(folder: &Path, durability: Durability) -> Result<Duration, Box<dyn std::error::Error>> {
    let fsync = matches!(durability, Durability::FsyncEach);
    let objects = LocalFileSystem::new_with_prefix(folder)?.with_fsync(fsync);
    let start = Instant::now();
    let puts = (0..CHUNKS).map(|number| {
        let objects = objects.clone();
        let chunk = Bytes::from(vec![number as u8; CHUNK_BYTES]);
        // Spread over 256 folders, as in a store.
        let key = Key::from(format!("chunks/{:02x}/{number}", number % 256));
        tokio::spawn(async move { objects.put_opts(&key, chunk.into(), PutMode::Create.into()).await })
    });
    let mut puts = futures::stream::iter(puts).buffer_unordered(IN_FLIGHT);
    while let Some(put) = puts.next().await {
        put??;
    }
    if matches!(durability, Durability::OneSyncfs) {
        rustix::fs::syncfs(File::open(folder)?)?;
    }
    Ok(start.elapsed())
}
