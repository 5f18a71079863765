//! How fast does garbage collection move what lives, and delete what does not?

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{machine, memory, write_results};
use crate::cache::Cache;
use crate::lambent::Lambent;
use crate::process;
use crate::terminal::{bytes, markdown, rate, table};

/// What is moved.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Content of the image that lives, in chunks that do not compress
    #[arg(long, value_name = "N", default_value_t = 2)]
    gibibytes: u64,
    /// 64 MiB instead, to see that it works; nothing is written
    #[arg(long)]
    quick: bool,
    /// The binary to measure [default: a release build]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// What is moved with `--quick`.
const QUICK_BYTES: u64 = 64 << 20;

/// One line of the table.
struct Line {
    what: &'static str,
    objects: u64,
    bytes: u64,
    seconds: f64,
}

/// Pushes an image that lives and one that does not, collects, and writes what it took.
pub(super) fn run(cache: &Cache, options: &Options) -> Result<()> {
    let lambent = match &options.program {
        Some(program) => Lambent {
            program: program.clone(),
        },
        None => Lambent::build()?,
    };
    let work = cache.work("bench")?;
    let data = work.join("data");
    let content = if options.quick {
        QUICK_BYTES
    } else {
        options.gibibytes << 30
    };
    push(&lambent, &data, &work.join("live"), ("live", content))?;
    push(&lambent, &data, &work.join("dead"), ("dead", 16 << 20))?;
    let data = data.display().to_string();
    lambent.json(&["--data", &data, "image", "rm", "dead"])?;

    let collect = |graces: &[&str]| timed(|| lambent.json(&[&["--data", &data, "store", "gc"], graces].concat()));
    let (moved, move_seconds) = collect(&["--retire-after", "0"])?;
    let chunks = number(&moved, "chunks_moved")?;
    let copied = work.join("copied");
    let source = format!("{data}/store/chunks/00000002");
    let (_, copy_seconds) = timed(|| process::run(Command::new("cp").args(["-r", &source]).arg(&copied)))?;
    let (_, sync_seconds) = timed(|| process::run(&mut Command::new("sync")))?;
    let (deleted, delete_seconds) = collect(&["--retire-after", "7d", "--expire-after", "0", "--delete-after", "0"])?;

    let moved_bytes = number(&moved, "bytes_moved")?;
    let lines = [
        Line {
            what: "`cp -r`",
            objects: chunks,
            bytes: moved_bytes,
            seconds: copy_seconds,
        },
        Line {
            what: "`cp -r; sync`",
            objects: chunks,
            bytes: moved_bytes,
            seconds: copy_seconds + sync_seconds,
        },
        Line {
            what: "`lambent store gc`, moving",
            objects: chunks,
            bytes: moved_bytes,
            seconds: move_seconds,
        },
        Line {
            what: "`lambent store gc`, deleting",
            objects: number(&deleted, "objects_deleted")?,
            bytes: number(&deleted, "bytes_deleted")?,
            seconds: delete_seconds,
        },
    ];
    report(&lines, options)
}

fn report(lines: &[Line], options: &Options) -> Result<()> {
    let header = [
        "command",
        "objects",
        "bytes",
        "seconds",
        "objects a second",
        "bytes a second",
    ];
    let rows: Vec<[String; 6]> = lines
        .iter()
        .map(|line| {
            [
                line.what.to_owned(),
                line.objects.to_string(),
                bytes(line.bytes),
                format!("{:.2}", line.seconds),
                format!("{:.0}", line.objects as f64 / line.seconds),
                rate(line.bytes, line.seconds),
            ]
        })
        .collect();
    println!("\n{}", table(header, &rows));
    if options.quick {
        return Ok(());
    }
    let build = if options.program.is_some() {
        "a build of the dev profile, optimized"
    } else {
        "release build"
    };
    let text = format!(
        "# Garbage collection: `cargo xtask bench gc`\n\nOne image of {} GiB that lives and one of 16 MiB that was removed, \
         in a local store; {build}; one run, on a warm page cache. Each command is timed whole: a collection lists all \
         roots and reads all manifests, too, and fsyncs what it links. On one file system a chunk moves by getting a \
         second name, which `cp -r` cannot do: it writes every byte again.\n\n{}\nMachine:\n\n{}",
        options.gibibytes,
        markdown(header, &rows),
        machine::describe()?
    );
    write_results("gc.md", &text)
}

fn push(lambent: &Lambent, data: &Path, layout: &Path, (name, content): (&str, u64)) -> Result<()> {
    println!("pushing {name}: {}", bytes(content));
    memory::write_layout(layout, content, 16)?;
    let source = format!("oci:{}", layout.display());
    let data = data.display().to_string();
    lambent.json(&["--data", &data, "image", "push", &source, "--name", name])?;
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed().as_secs_f64()))
}

fn number(report: &Value, name: &str) -> Result<u64> {
    report[name]
        .as_u64()
        .with_context(|| format!("the report has no {name}: {report}"))
}
