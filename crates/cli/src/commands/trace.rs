//! `image trace`: what starts of an image touch.

use crate::output::{self, bytes, percent};
use anyhow::{Result, bail};
use chunk::CHUNK_BYTES;
use image::images::Images;
use image::traced::{TouchedDirectory, TouchedFile, TracedImage, touched_directories};
use serde::Serialize;

/// Lines of the table of directories.
const DIRECTORIES_MAX: usize = 24;

/// Files that are listed by name; `--json` has all of them.
const FILES_SHOWN: usize = 10;

/// Cells of the picture in a line, and lines.
const MAP_WIDTH: usize = 64;
const MAP_LINES: usize = 16;

/// Cells of the longest bar.
const BAR_WIDTH: u64 = 30;

pub(crate) fn run(images: &Images, name: &str, json: bool) -> Result<()> {
    let Some(traced) = images.trace(name)? else {
        bail!(
            "no start of {name} was recorded: mount it, run its program, and say `lambent image ready {name}` when it \
             is ready"
        );
    };
    let files = traced.touched_files();
    let directories = touched_directories(&files, DIRECTORIES_MAX);
    if json {
        return print_json(name, &traced, &files, &directories);
    }
    print_summary(name, &traced, &files);
    print_directories(&directories);
    print_files(files);
    print_map(&traced);
    Ok(())
}

fn print_json(name: &str, traced: &TracedImage, files: &[TouchedFile], directories: &[TouchedDirectory]) -> Result<()> {
    #[derive(Serialize)]
    struct File {
        path: String,
        bytes: u64,
        touched_bytes: u64,
        first_ms: u32,
    }
    #[derive(Serialize)]
    struct Directory {
        path: String,
        files: u64,
        touched_bytes: u64,
    }
    #[derive(Serialize)]
    struct Traced<'a> {
        name: &'a str,
        starts: u32,
        image_bytes: u64,
        touched_bytes: u64,
        chunks: u32,
        chunks_touched: usize,
        start_pack_bytes: Option<u64>,
        directories: Vec<Directory>,
        files: Vec<File>,
    }
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    output::print_json(&Traced {
        name,
        starts: traced.trace.starts,
        image_bytes: image_bytes(traced),
        touched_bytes: traced.trace.bytes(),
        chunks: traced.chunks,
        chunks_touched: traced.touched_chunks().len(),
        start_pack_bytes: traced.pack_bytes,
        directories: directories
            .iter()
            .map(|directory| Directory {
                path: text(&directory.path),
                files: directory.files,
                touched_bytes: directory.touched_bytes,
            })
            .collect(),
        files: files
            .iter()
            .map(|file| File {
                path: text(&file.path),
                bytes: file.bytes,
                touched_bytes: file.touched_bytes,
                first_ms: file.first_ms,
            })
            .collect(),
    })
}

fn print_summary(name: &str, traced: &TracedImage, files: &[TouchedFile]) {
    let touched = traced.touched_chunks().len() as u64;
    let chunks = u64::from(traced.chunks);
    let last_ms = traced.trace.runs.iter().map(|run| run.at_ms).max().unwrap_or(0);
    let of_image = |part| percent(part, image_bytes(traced));
    let pack = traced.pack_bytes.map_or_else(|| "none yet".to_owned(), bytes);
    println!(
        "{}",
        output::facts([
            ("image", name.to_owned()),
            ("starts", traced.trace.starts.to_string()),
            (
                "touched",
                format!(
                    "{}, {} of the image",
                    bytes(traced.trace.bytes()),
                    of_image(traced.trace.bytes())
                )
            ),
            (
                "in chunks",
                format!("{touched} of {chunks}, {}", percent(touched, chunks))
            ),
            ("in files", files.len().to_string()),
            ("until", format!("{:.2} s after the mount", f64::from(last_ms) / 1000.0)),
            ("start pack", pack),
        ])
    );
}

fn print_directories(directories: &[TouchedDirectory]) {
    let most = directories
        .iter()
        .map(|line| line.touched_bytes)
        .max()
        .unwrap_or(0)
        .max(1);
    let total: u64 = directories.iter().map(|line| line.touched_bytes).sum();
    let rows = directories.iter().map(|line| {
        let cells = (line.touched_bytes * BAR_WIDTH).div_ceil(most) as usize;
        [
            String::from_utf8_lossy(&line.path).into_owned(),
            line.files.to_string(),
            bytes(line.touched_bytes),
            percent(line.touched_bytes, total),
            format!("{:<width$}", "█".repeat(cells), width = BAR_WIDTH as usize),
        ]
    });
    println!("\n{}", output::table(["directory", "files", "touched", "", ""], rows));
}

fn print_files(mut files: Vec<TouchedFile>) {
    files.sort_by_key(|file| std::cmp::Reverse(file.touched_bytes));
    let shown = files.iter().take(FILES_SHOWN).map(|file| {
        [
            String::from_utf8_lossy(&file.path).into_owned(),
            bytes(file.touched_bytes),
            percent(file.touched_bytes.min(file.bytes), file.bytes),
            format!("{:.2} s", f64::from(file.first_ms) / 1000.0),
        ]
    });
    println!("\n{}", output::table(["file", "touched", "of it", "first at"], shown));
}

/// The device from front to back, each cell some chunks, darker where more of them are touched.
fn print_map(traced: &TracedImage) {
    const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];
    let cell_chunks = (traced.chunks as usize).div_ceil(MAP_WIDTH * MAP_LINES).max(1);
    let mut cells = vec![0_usize; (traced.chunks as usize).div_ceil(cell_chunks)];
    for chunk in traced.touched_chunks() {
        if let Some(cell) = cells.get_mut(chunk as usize / cell_chunks) {
            *cell += 1;
        }
    }
    let each = bytes((cell_chunks * CHUNK_BYTES) as u64);
    println!("\nthe image from front to back, a cell is {each}, darker where more of its chunks are touched:");
    for line in cells.chunks(MAP_WIDTH) {
        let shades = line
            .iter()
            .map(|touched| SHADES[(touched * (SHADES.len() - 1)).div_ceil(cell_chunks).min(4)]);
        println!("  {}", shades.collect::<String>());
    }
}

fn image_bytes(traced: &TracedImage) -> u64 {
    u64::from(traced.chunks) * CHUNK_BYTES as u64
}
