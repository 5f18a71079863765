//! How soon is a program ready when its image is loaded on demand, and what does that cost on the wire?
//!
//! Everything is a whole command, timed from its start, on an empty page cache, beside what else people do. The bench
//! lives in namespaces of its own ([`isolation`]); origins are behind a link of 1 Gb/s ([`link`]) and a delay
//! ([`delay_proxy`]), and keep their objects in memory, so that they compete with nobody for this machine's disk. They do
//! compete for its cores, which makes figures over the link look worse than they would be.
//!
//! Read first: [`rounds::measure`], [`rounds::Way`], [`ondemand::OnDemand`].

mod aims;
mod attach;
mod delay_proxy;
mod far;
mod first_byte;
mod helper;
mod isolation;
mod link;
mod link_check;
mod mounted;
mod ondemand;
mod origin;
mod program;
mod pull;
mod rounds;
mod samples;
mod tables;
mod throughput;
mod touched;
mod walk;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{machine, write_results};
use crate::cache::Cache;
use crate::lambent::Lambent;
use crate::work::Work;
use crate::{corpus, process};
pub(crate) use delay_proxy::Passed;
pub(crate) use far::Part;
use far::{Delay, FarProxy};
pub(super) use helper::Helper;
use link::{Link, Ports};
use mounted::Mounted;
use ondemand::{OnDemand, Origin};
pub(super) use origin::{BUCKET, CREDENTIALS};
use pull::Pulls;
use tables::Report;

const IMAGES: [&str; 3] = ["sklearn", "onnx", "tensorflow"];
/// Name of the image with many files.
const TREE: &str = "tree";
const S3_PORTS: Ports = Ports {
    server: 9001,
    proxy: 9000,
};
const QUICK_RUNS: usize = 3;

/// What to measure, and how often.
#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask bench start --quick --image sklearn --only starts")]
pub(crate) struct Options {
    /// Runs of each command
    #[arg(long, value_name = "N", default_value_t = 10)]
    runs: usize,
    /// Three runs of each command
    #[arg(long, conflicts_with = "runs")]
    quick: bool,
    /// Only these images
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = IMAGES)]
    image: Vec<String>,
    /// Only these origins
    #[arg(long, value_delimiter = ',')]
    origin: Vec<Origin>,
    /// Only these questions
    #[arg(long, value_delimiter = ',')]
    only: Vec<Question>,
    /// Of the link, in one direction
    #[arg(long, value_name = "MS", default_value_t = 10)]
    delay_ms: u64,
    /// A `lambent` that was built before [default: build it]
    #[arg(long, value_name = "FILE")]
    lambent: Option<PathBuf>,
    /// Append to this file what the S3 server was asked for, and when
    #[arg(long, value_name = "FILE")]
    log_requests: Option<PathBuf>,
    /// Said by the bench to itself once it is in namespaces of its own, with the program to measure
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

/// A group of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Question {
    /// Time and bytes until a program is ready
    Starts,
    /// Mount to first byte
    FirstByte,
    /// Mounts of a shared image in a second
    Attach,
    /// find over 100,000 files
    Walk,
    /// Page cache, L1 memory, L1 disk
    Throughput,
    /// The link alone
    Link,
}

impl Options {
    fn asks(&self, question: Question) -> bool {
        self.only.is_empty() || self.only.contains(&question)
    }

    fn images(&self) -> Vec<&str> {
        IMAGES
            .into_iter()
            .filter(|image| self.image.is_empty() || self.image.iter().any(|name| name == image))
            .collect()
    }

    fn is_complete(&self) -> bool {
        self.only.is_empty() && self.image.is_empty() && self.origin.is_empty()
    }
}

/// All that the questions share.
struct Bench {
    program: PathBuf,
    corpus: PathBuf,
    runs: usize,
    origins: Vec<Origin>,
    pulls: Pulls,
    s3: FarProxy,
    link: Link,
    // In this order they go: what is mounted in the work folder before the folder itself.
    _far: Mounted,
    work: Work,
}

/// Prepares the machine, then measures in namespaces of its own.
pub(super) fn run(cache: &Cache, options: &Options) -> Result<()> {
    if let Some(lambent) = &options.inside {
        return run_inside(cache, options, lambent);
    }
    if !process::is_root()? {
        bail!("this bench mounts file systems, which needs root: sudo --preserve-env=HOME,PATH make bench");
    }
    process::require(&[
        "curl", "find", "ip", "losetup", "mount", "nsenter", "setpriv", "skopeo", "tar", "tc", "umoci", "unshare",
    ])?;
    corpus::run(cache, &corpus::Options::only(&options.images()))?;
    let program = match &options.lambent {
        Some(program) => program.clone(),
        None => Lambent::build()?.program,
    };
    match isolation::run_inside(&std::path::absolute(program)?)? {}
}

fn run_inside(cache: &Cache, options: &Options, program: &Path) -> Result<()> {
    let work = cache.work("bench")?;
    let far = Mounted::tmpfs(&work.join("far"))?;
    let link = Link::start()?;
    let delay = Delay {
        one_way: Duration::from_millis(options.delay_ms),
        log: None,
    };
    let mut report = Report::default();
    report.link(&link_check::check(&link, &delay)?);
    if options.only == [Question::Link] {
        return Ok(());
    }
    let objects = far.folder().join("s3").display().to_string();
    let of_s3 = Delay {
        log: options.log_requests.clone(),
        ..delay.clone()
    };
    let s3 = FarProxy::with_server(&link, "s3", S3_PORTS, &of_s3, &["--folder", &objects])?;
    let mut bench = Bench {
        program: program.to_owned(),
        corpus: cache.corpus(),
        runs: if options.quick { QUICK_RUNS } else { options.runs.max(1) },
        origins: if options.origin.is_empty() {
            vec![Origin::Directory, Origin::S3]
        } else {
            options.origin.clone()
        },
        pulls: Pulls::start(&link, &far.folder().join("registry"), &work.join(""), &delay)?,
        s3,
        link,
        _far: far,
        work,
    };
    let failures = bench.answer(options, &mut report);
    let runs = bench.runs;
    drop(bench);
    let text = format!(
        "# Start: `cargo xtask bench start`\n\nMedians of {runs} runs, page cache dropped before each; the link has 1 Gb/s and a \
         round trip of {} ms. What is not modelled: TCP's slow start. Origins run on the same machine's cores.\n\n{}Machine:\n\n{}",
        2 * options.delay_ms,
        report.markdown(),
        machine::describe()?
    );
    if options.is_complete() {
        write_results("start.md", &text)?;
    } else {
        println!("\nnot written to bench/results/start.md: not everything was measured");
    }
    if failures > 0 {
        bail!("{failures} of the questions have no answer; see above");
    }
    Ok(())
}

impl Bench {
    /// Answers one question after the other; gives the number of those that failed.
    fn answer(&mut self, options: &Options, report: &mut Report) -> usize {
        let images = options.images();
        // The largest, which is last.
        let image = *images.last().unwrap_or(&IMAGES[0]);
        let mut failures = 0;
        let mut failed = |report: &mut Report, part: &str, error: anyhow::Error| {
            report.fail(part, &error);
            failures += 1;
        };
        if options.asks(Question::Starts) {
            let mut found = Vec::new();
            for image in images {
                match rounds::measure(self, image).with_context(|| format!("starts of {image}")) {
                    Ok(starts) => {
                        self.origins.iter().for_each(|origin| report.starts(&starts, *origin));
                        found.push(starts);
                    }
                    Err(error) => failed(report, &format!("{image}: starts"), error),
                }
            }
            aims::add(report, &found);
        }
        if let Err(error) = self.store_what_others_need(options, image) {
            failed(report, "storing images", error);
            return failures;
        }
        if options.asks(Question::FirstByte) {
            match first_byte::measure(self, image) {
                Ok(found) => report.first_bytes(image, &found, 2.0 * options.delay_ms as f64),
                Err(error) => failed(report, "mount to first byte", error),
            }
        }
        if options.asks(Question::Attach) {
            match attach::measure(self, image) {
                Ok(found) => report.attach(image, &found),
                Err(error) => failed(report, "attach and mount", error),
            }
        }
        if options.asks(Question::Walk) {
            match walk::measure(self) {
                Ok(found) => report.walks(walk::FILES, &found),
                Err(error) => failed(report, "find", error),
            }
        }
        if options.asks(Question::Throughput) {
            match throughput::measure(self, image) {
                Ok(found) => report.throughput(&found),
                Err(error) => failed(report, "throughput", error),
            }
        }
        failures
    }

    /// The image, and the tree of many files, at each origin. Pushing what is there costs little.
    fn store_what_others_need(&self, options: &Options, image: &str) -> Result<()> {
        let asks = |questions: &[Question]| questions.iter().any(|question| options.asks(*question));
        if asks(&[Question::FirstByte, Question::Attach, Question::Throughput]) {
            for origin in &self.origins {
                self.on_demand(*origin).push(&self.corpus.join(image), image)?;
            }
        }
        if asks(&[Question::FirstByte, Question::Walk]) {
            walk::store_tree(self)?;
        }
        Ok(())
    }

    /// The product with the store of an origin.
    fn on_demand(&self, origin: Origin) -> OnDemand {
        let data = self.work.join(match origin {
            Origin::Directory => "data-directory",
            Origin::S3 => "data-s3",
        });
        let (store, objects) = match origin {
            Origin::Directory => (None, data.join("store")),
            Origin::S3 => {
                let url = format!(
                    "s3://{}/lambent?endpoint=http://{}&allow_http=true",
                    origin::BUCKET,
                    self.s3.address
                );
                (Some(url), self.work.join("far/s3").join(origin::BUCKET).join("lambent"))
            }
        };
        OnDemand {
            program: self.program.clone(),
            data,
            store,
            objects,
        }
    }
}
