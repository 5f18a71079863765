//! How fast is a push, and what else could make a file system of the same image?

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::measure::{HEADER, Run, Runs, run as time, shell};
use super::{machine, write_results};
use crate::cache::Cache;
use crate::corpus;
use crate::lambent::Lambent;
use crate::process;
use crate::terminal::{bytes, markdown, rate, table};
use crate::work::Work;

/// The image: the largest of the corpus.
const IMAGE: &str = "tensorflow";
/// The same with gzip layers.
const GZIP_IMAGE: &str = "tensorflow-gzip";

/// How often to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Runs of each command
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
}

struct Bench<'a> {
    lambent: Lambent,
    corpus: &'a Path,
    work: Work,
    runs: usize,
    image_bytes: u64,
}

/// Rows of the table and what was measured beyond it.
struct Results {
    rows: Vec<[String; 5]>,
    stages: Vec<[String; 3]>,
    image: String,
}

pub(super) fn run(cache: &Cache, options: &Options) -> Result<()> {
    corpus::run(cache, &corpus::Options::only(&[IMAGE, GZIP_IMAGE]))?;
    let corpus = cache.corpus();
    let mut bench = Bench {
        lambent: Lambent::build()?,
        corpus: &corpus,
        work: cache.work("bench")?,
        runs: options.runs,
        image_bytes: 0,
    };
    let results = bench.measure()?;
    let heading = format!("{}, medians of {} runs, warm page cache", results.image, options.runs);
    println!("\n{heading}\n\n{}", table(HEADER, &results.rows));
    println!("{}", table(STAGES, &results.stages));
    let text = format!(
        "# Push: `cargo xtask bench push`\n\n{heading}.\n`of layers` divides the layers' plain bytes by the median; `memory` is \
         the largest resident set of any run. Nothing is dropped from the page cache.\n\n{}\n{}\n\n{}\n\nMachine:\n\n{}",
        markdown(HEADER, &results.rows),
        "The stages of one push with two threads:",
        markdown(STAGES, &results.stages),
        machine::describe()?
    );
    write_results("push.md", &text)
}

const STAGES: [&str; 3] = ["stage", "seconds", "of layers"];

impl Bench<'_> {
    fn measure(&mut self) -> Result<Results> {
        let image = format!("oci:{}", self.corpus.join(IMAGE).display());
        let gzip = format!("oci:{}", self.corpus.join(GZIP_IMAGE).display());
        // The first push warms the page cache, and says what the image is.
        let data = self.fresh_data()?;
        let report = self
            .lambent
            .json(&["--data", &data, "image", "push", &image, "--threads", "2"])?;
        // The layers' bytes are what all rows have to get through; a device is larger by the padding of its groups.
        let layers = self
            .lambent
            .json(&["--data", &data, "image", "inspect", &format!("{IMAGE}:latest")])?;
        let layers = layers["layers"].as_array().context("an image has layers")?;
        self.image_bytes = layers.iter().filter_map(|layer| layer["plain_bytes"].as_u64()).sum();
        let stages = ["unpack", "merge", "seal", "commit"].map(|stage| {
            let seconds = report["stages"][stage].as_f64().unwrap_or(0.0);
            // Opening plain layers and writing a record have no rate that would mean something.
            let rate = if seconds < 0.05 {
                "-".to_owned()
            } else {
                rate(self.image_bytes, seconds)
            };
            [stage.to_owned(), format!("{seconds:.3}"), rate]
        });
        let mut rows = Vec::new();
        self.pushes(&image, &mut rows)?;
        self.baselines(&mut rows)?;
        self.gzip_rows(&gzip, &mut rows)?;
        let files = report["files"].as_u64().unwrap_or(0);
        let image = format!(
            "`{IMAGE}`: {} of uncompressed layers, {files} files",
            bytes(self.image_bytes)
        );
        Ok(Results {
            rows,
            stages: stages.to_vec(),
            image,
        })
    }

    fn pushes(&self, image: &str, rows: &mut Vec<[String; 5]>) -> Result<()> {
        let variants: [(&str, &[&str]); 6] = [
            ("push, 2 threads, lz4 (the default)", &["--threads", "2"]),
            ("push --dry-run, 2 threads", &["--threads", "2", "--dry-run"]),
            (
                "push --dry-run --compression none",
                &["--threads", "2", "--dry-run", "--compression", "none"],
            ),
            ("push, 1 thread", &["--threads", "1"]),
            ("push --compression none", &["--threads", "2", "--compression", "none"]),
            ("push --compression zstd", &["--threads", "2", "--compression", "zstd"]),
        ];
        for (name, options) in variants {
            self.add(rows, name, || {
                let data = self.fresh_data()?;
                self.push(&data, image, options)
            })?;
        }
        let data = self.fresh_data()?;
        self.push(&data, image, &["--threads", "2"])?;
        self.add(rows, "push again, nothing new", || {
            self.push(&data, image, &["--threads", "2"])
        })
    }

    /// What others do with the same layers. Only mke2fs makes a file system; the rest is what comes before.
    fn baselines(&self, rows: &mut Vec<[String; 5]>) -> Result<()> {
        let layout = self.corpus.join(IMAGE);
        let layout = layout.display();
        let work = self.work.join("tree");
        let tree = work.display();
        let unpack = format!("rm -rf {tree}; umoci unpack --image {layout}:latest {tree}");
        let mebibytes = (self.image_bytes >> 20) * 3 / 2;
        let make =
            format!("rm -f {tree}.ext4; mke2fs -q -t ext4 -O ^has_journal -d {tree}/rootfs {tree}.ext4 {mebibytes}M");
        process::run(&mut shell(&unpack))?;
        self.add_shell(rows, "mke2fs -d, unpacking not counted", &make)?;
        self.add_shell(rows, "umoci unpack + mke2fs -d", &format!("{unpack}; {make}"))?;
        self.add_shell(
            rows,
            "skopeo copy oci: dir: + umoci unpack",
            &format!(
                "rm -rf {tree}-dir; skopeo --insecure-policy copy -q oci:{layout}:latest dir:{tree}-dir; {unpack}"
            ),
        )?;
        process::run(&mut shell(&format!("rm -rf {tree} {tree}-dir {tree}.ext4"))).map(|_| ())
    }

    fn gzip_rows(&self, image: &str, rows: &mut Vec<[String; 5]>) -> Result<()> {
        self.add(rows, "push from gzip, 2 threads", || {
            let data = self.fresh_data()?;
            self.push(&data, image, &["--threads", "2"])
        })?;
        let blobs = gzip_blobs(&self.corpus.join(GZIP_IMAGE))?;
        let files = blobs.join(" ");
        self.add_shell(
            rows,
            "gzip -dc of its layers, one by one",
            &format!("gzip -dc {files} >/dev/null"),
        )?;
        let side_by_side = format!("printf '%s\\n' {files} | xargs -P 2 -I@ sh -c 'gzip -dc @ >/dev/null'");
        self.add_shell(rows, "gzip -dc of its layers, two at once", &side_by_side)
    }

    fn add(&self, rows: &mut Vec<[String; 5]>, name: &str, once: impl FnMut() -> Result<Run>) -> Result<()> {
        let runs = Runs::of(self.runs, once).with_context(|| format!("measuring {name}"))?;
        let row = runs.row(name, self.image_bytes);
        println!("{}", row.join("  "));
        rows.push(row);
        Ok(())
    }

    fn add_shell(&self, rows: &mut Vec<[String; 5]>, name: &str, script: &str) -> Result<()> {
        self.add(rows, name, || time(&self.work.join(""), &shell(script)))
    }

    fn push(&self, data: &str, image: &str, options: &[&str]) -> Result<Run> {
        let mut command = Command::new(&self.lambent.program);
        command
            .args(["--data", data, "--json", "image", "push", image])
            .args(options);
        time(&self.work.join(""), &command)
    }

    /// An empty data folder; the one before is deleted.
    fn fresh_data(&self) -> Result<String> {
        let data = self.work.join("data");
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        Ok(data.display().to_string())
    }
}

/// The layers' files: those blobs that begin as gzip does.
fn gzip_blobs(layout: &Path) -> Result<Vec<String>> {
    let mut blobs = Vec::new();
    for entry in fs::read_dir(layout.join("blobs/sha256"))? {
        let path = entry?.path();
        let mut start = [0; 2];
        std::io::Read::read_exact(&mut fs::File::open(&path)?, &mut start)?;
        if start == [0x1f, 0x8b] {
            blobs.push(path.display().to_string());
        }
    }
    Ok(blobs)
}
