//! Does memory stay bounded when the image is near the largest one that is accepted?

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use aws_lc_rs::digest::{Context as Digest, SHA256};
use serde_json::{Value, json};

use super::measure::{HEADER, Runs, run as time};
use super::{machine, write_results};
use crate::cache::Cache;
use crate::lambent::Lambent;
use crate::terminal::{bytes, markdown, table};

/// Resident memory that no push may exceed. Source: issue 2.
const RESIDENT_KIBIBYTES_MAX: u64 = 128 << 10;

const TAR_BLOCK: usize = 512;
const FILES_PER_DIRECTORY: u32 = 500;

/// The image's size.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Content of all files
    #[arg(long, value_name = "N", default_value_t = 9)]
    gibibytes: u64,
    /// Number of files
    #[arg(long, value_name = "N", default_value_t = 400_000)]
    files: u32,
    /// Runs
    #[arg(long, value_name = "N", default_value_t = 1)]
    runs: usize,
}

/// Makes the image, pushes it without storing, and fails when that took more memory than promised.
pub(super) fn run(cache: &Cache, options: &Options) -> Result<()> {
    let lambent = Lambent::build()?;
    let work = cache.work("bench")?;
    let (layout, data) = (work.join("layout"), work.join("data"));
    let content = options.gibibytes << 30;
    println!("making an image of {} in {} files", bytes(content), options.files);
    write_layout(&layout, content, options.files)?;
    let runs = Runs::of(options.runs, || {
        let mut push = Command::new(&lambent.program);
        push.arg("--data")
            .arg(&data)
            .args(["--json", "image", "push", "--dry-run", "--threads", "2"]);
        time(&work.join(""), push.arg(format!("oci:{}", layout.display())))
    })?;
    let rows = [runs.row("push --dry-run, 2 threads", content)];
    println!("\n{}", table(HEADER, &rows));
    let text = format!(
        "# Memory: `cargo xtask bench memory`\n\nOne uncompressed layer of {} in {} files, made for this; at most {} MiB \
         are promised.\n\n{}\nMachine:\n\n{}",
        bytes(content),
        options.files,
        RESIDENT_KIBIBYTES_MAX >> 10,
        markdown(HEADER, &rows),
        machine::describe()?
    );
    write_results("memory.md", &text)?;
    if runs.resident_kibibytes() > RESIDENT_KIBIBYTES_MAX {
        bail!(
            "memory grew to {} KiB: more than {RESIDENT_KIBIBYTES_MAX} KiB",
            runs.resident_kibibytes()
        );
    }
    Ok(())
}

pub(super) fn write_layout(layout: &Path, content: u64, files: u32) -> Result<()> {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let unnamed = blobs.join("unnamed");
    let (layer_digest, layer_bytes) = write_layer(&unnamed, content, files).context("writing the layer")?;
    fs::rename(&unnamed, blobs.join(&layer_digest))?;
    let platform = json!({"os": "linux", "architecture": go_architecture()});
    let config = add_json(
        &blobs,
        &json!({
            "os": "linux",
            "architecture": go_architecture(),
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        }),
    )?;
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", &layer_digest, layer_bytes);
    let config = descriptor("application/vnd.oci.image.config.v1+json", &config.0, config.1);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
    let (digest, size) = add_json(&blobs, &manifest)?;
    let mut manifest = descriptor(kind, &digest, size);
    manifest["platform"] = platform;
    fs::write(
        layout.join("oci-layout"),
        json!({"imageLayoutVersion": "1.0.0"}).to_string(),
    )?;
    fs::write(
        layout.join("index.json"),
        json!({"schemaVersion": 2, "manifests": [manifest]}).to_string(),
    )?;
    Ok(())
}

fn descriptor(kind: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": size})
}

fn add_json(blobs: &Path, value: &Value) -> Result<(String, u64)> {
    let text = value.to_string();
    let mut digest = Digest::new(&SHA256);
    digest.update(text.as_bytes());
    let digest = hex::encode(digest.finish());
    fs::write(blobs.join(&digest), &text)?;
    Ok((digest, text.len() as u64))
}

/// Writes a tar of `files` files that share `content` evenly; gives its digest and size.
fn write_layer(path: &Path, content: u64, files: u32) -> io::Result<(String, u64)> {
    let mut layer = Layer {
        file: BufWriter::with_capacity(1 << 20, File::create(path)?),
        digest: Digest::new(&SHA256),
        bytes: 0,
    };
    let file_bytes = content / u64::from(files);
    let mut body = vec![0; (file_bytes as usize).next_multiple_of(TAR_BLOCK)];
    let mut random = 0x9e37_79b9_7f4a_7c15;
    for number in 0..files {
        let directory = number / FILES_PER_DIRECTORY;
        if number % FILES_PER_DIRECTORY == 0 {
            layer.write(&header(&format!("directory-{directory:05}/"), 0, b'5'))?;
        }
        layer.write(&header(
            &format!("directory-{directory:05}/a-file-of-the-image-{number:07}"),
            file_bytes,
            b'0',
        ))?;
        fill(&mut body[..file_bytes as usize], &mut random);
        layer.write(&body)?;
    }
    layer.write(&[0; 2 * TAR_BLOCK])?;
    layer.file.flush()?;
    Ok((hex::encode(layer.digest.finish()), layer.bytes))
}

struct Layer {
    file: BufWriter<File>,
    digest: Digest,
    bytes: u64,
}

impl Layer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

/// A ustar header: name, mode 0644, owner 0, a fixed time.
fn header(name: &str, size: u64, kind: u8) -> [u8; TAR_BLOCK] {
    let mut header = [0; TAR_BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, if kind == b'5' { "0000755" } else { "0000644" });
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "14717000000");
    put(148, "        ");
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

/// Bytes that do not compress, by xorshift: the same in every run.
fn fill(buffer: &mut [u8], state: &mut u64) {
    for word in buffer.chunks_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
}

fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
