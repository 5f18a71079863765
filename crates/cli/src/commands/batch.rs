//! `lambent batch run`.

use crate::arguments::{BatchRunArguments, GlobalArguments};
use crate::batch::{Batch, Caller, Input, Journal, Place, Sink, Summary, Task, spool};
use crate::environment::{self, Places};
use crate::lambda_client::LambdaClient;
use crate::output;
use crate::progress::{self, Audience, Shown};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use store::UserObject;
use tokio::runtime::Runtime;

/// Runs it; records that failed are in the output, and a failure of the command.
pub(crate) fn run(global: &GlobalArguments, arguments: &BatchRunArguments) -> Result<ExitCode> {
    let start = Instant::now();
    let places = environment::places(global)?;
    let task = Task {
        function: arguments.function.clone(),
        qualifier: arguments.qualifier.clone(),
    };
    let caller = Arc::new(Caller::new(LambdaClient::open(&places)?, &task, arguments.retries));
    let runtime = environment::start_runtime()?;
    runtime.block_on(caller.dry_run(&task))?;
    let input = input(&runtime, &places, &arguments.input)?;
    let journal = journal(&runtime, &places, &arguments.output, &task)?;
    let earlier = journal.found();
    let concurrency = usize::try_from(arguments.concurrency.get()).context("--concurrency is too large")?;
    let batch = Batch::new(input, journal, Arc::clone(&caller), concurrency);
    let mut summary = work(global, &runtime, batch, &arguments.output)?;
    summary.earlier = earlier;
    summary.retries = caller.retries();
    summary.seconds = start.elapsed().as_secs_f64();
    report(global, &summary, &arguments.output)?;
    Ok(if summary.errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Parquet is read from its end, so an object of it is copied to the data directory first.
fn input(runtime: &Runtime, places: &Places, place: &Place) -> Result<Input> {
    if !place.is_parquet() {
        return runtime.block_on(Input::open(place, || object(place)));
    }
    let file = match place {
        Place::File(path) => File::open(path).with_context(|| format!("cannot read {place}"))?,
        _ => runtime.block_on(spool(object(place)?, &environment::scratch_directory(&places.data)?))?,
    };
    Input::of_parquet(file, place.to_string())
}

/// Asks and writes, while another thread shows how far it is.
fn work(global: &GlobalArguments, runtime: &Runtime, batch: Batch, output: &Place) -> Result<Summary> {
    let (progress, read, whole) = (batch.progress(), batch.read(), batch.input_bytes());
    let look = || {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let words = format!(
            "{} records, {} errors",
            count(&progress.records),
            count(&progress.errors)
        );
        Shown::bytes_of(count(&read), whole, words)
    };
    progress::watch(Audience::of(global.json), look, || {
        runtime.block_on(async {
            if *output == Place::Standard {
                let sink = Sink::open(output, || object(output)).await?;
                return batch.run_live(sink).await;
            }
            let finished = batch.run().await?;
            let sink = Sink::open(output, || object(output)).await?;
            finished.write(sink).await
        })
    })
}

/// Beside a file; in the data directory for an object; without a name where nothing can be gone on with.
fn journal(runtime: &Runtime, places: &Places, output: &Place, task: &Task) -> Result<Journal> {
    let path = match output {
        Place::Standard => return Journal::unnamed(&environment::scratch_directory(&places.data)?),
        Place::File(path) => crate::batch::beside(path, "journal"),
        Place::Object(_) => journal_of_object(places, output)?,
    };
    if !path.exists() && is_there(runtime, output)? {
        bail!("{output} is there already: remove it, or choose another output");
    }
    check_directory(&path)?;
    Journal::open(&path, task)
}

fn is_there(runtime: &Runtime, output: &Place) -> Result<bool> {
    match output {
        Place::Standard => Ok(false),
        Place::File(path) => Ok(path.symlink_metadata().is_ok()),
        Place::Object(_) => Ok(runtime.block_on(object(output)?.exists())?),
    }
}

fn journal_of_object(places: &Places, output: &Place) -> Result<PathBuf> {
    let directory = places.data.join("batches");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let name = blake3::hash(output.to_string().as_bytes()).to_hex();
    Ok(directory.join(format!("{}.journal", &name[..32])))
}

fn check_directory(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            bail!("{} is no directory: make it first", parent.display())
        }
        _ => Ok(()),
    }
}

fn object(place: &Place) -> Result<UserObject> {
    let Place::Object(location) = place else {
        bail!("{place} is no object");
    };
    environment::user_object(location)
}

/// Where the output is standard output, the summary goes to standard error.
fn report(global: &GlobalArguments, summary: &Summary, output: &Place) -> Result<()> {
    match (*output == Place::Standard, global.json) {
        (false, true) => output::print_json(&summary.json()),
        (true, true) => {
            eprintln!("{}", summary.json());
            Ok(())
        }
        (false, false) => {
            println!("{}", output::facts(summary.rows()));
            Ok(())
        }
        (true, false) => {
            eprintln!("{}", output::facts(summary.rows()));
            Ok(())
        }
    }
}
