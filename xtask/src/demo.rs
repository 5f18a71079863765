//! `cargo xtask demo`: the main job as a new user does it, on real images, every command shown before it runs.
//!
//! Mounts are made in a namespace that goes with its last process, the registry dies with this task, and all files lie
//! in one folder of the cache: however the demo ends, nothing stays behind.

mod chart;
mod functions;
mod ondemand;
mod stage;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::corpus;
use crate::lambent::Lambent;
use crate::process;
use crate::registry::Registry;
use crate::setup;
use crate::terminal::{bytes, rate, table};
use chart::{Chart, Push};
use stage::Stage;

/// What is pushed, in this order, and what it shows.
const PUSHES: [(&str, &str); 5] = [
    (
        "sklearn",
        "A container image with scikit-learn and a trained model, into an empty store.",
    ),
    ("sklearn", "The same image once more: the store has every chunk."),
    (
        "sklearn-rebuild",
        "The image as another day's build makes it: every modification time differs, no content does.",
    ),
    ("sklearn-app", "The image with one file of its application edited."),
    ("sklearn-dep", "The image with one dependency upgraded (scipy)."),
];

const IMAGES: [&str; 9] = [
    "base",
    "sklearn",
    "onnx",
    "sklearn-function",
    "onnx-function",
    "sklearn-gzip",
    "sklearn-rebuild",
    "sklearn-app",
    "sklearn-dep",
];

/// Runs where the image is mounted: `$1` is the file of the image, `$2` an empty folder. The application gets a `/tmp`
/// to write to, `/proc` and `/dev`; all else is read-only.
const MOUNT_AND_RUN: &str = r#"
set -e
mount -t ext4 -o ro,noload,loop "$1" "$2"
echo "    $(findmnt -no FSTYPE,OPTIONS,USED "$2")"
ls "$2" | column -c 72 | sed 's/^/    /'
mount -t tmpfs tmpfs "$2/tmp"; mount -t proc proc "$2/proc"; mount --rbind /dev "$2/dev"
start=$(date +%s%N)
chroot "$2" env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 sh -c 'cd /app && python3 app.py' | sed 's/^/    the application says: /'
echo "    after $(( ($(date +%s%N) - start) / 1000000 )) ms"
"#;

/// Prepares the machine, then shows everything.
pub(crate) fn run(cache: &Cache) -> Result<()> {
    if !process::is_root()? {
        bail!("the demo mounts a file system, which needs root: sudo --preserve-env=HOME,PATH make demo");
    }
    setup::run(cache)?;
    corpus::run(cache, &corpus::Options::only(&IMAGES))?;
    println!("\nbuilding lambent");
    let lambent = Lambent::build()?;
    let work = cache.work("demo")?;
    let stage = Stage::new(lambent, cache.corpus(), work);
    println!(
        "\nData goes to {}, gone afterwards. Images are in {}.",
        stage.shown_data(),
        cache.corpus().display()
    );

    let pushes = push_all(&stage)?;
    Chart { pushes: &pushes }.print();
    look(&stage)?;
    mount(&stage)?;
    let (registry, registry_seconds) = from_registry(&stage)?;
    ondemand::settings(&stage)?;
    ondemand::show(&stage, &registry)?;
    functions::show(&stage, cache)?;
    end(&stage, &pushes, registry_seconds)
}

fn push_all(stage: &Stage) -> Result<Vec<Push>> {
    let mut pushes = Vec::new();
    let mut moved = chart::MovedLayers::default();
    let gzip_share = chart::gzip_share(&stage.corpus, "sklearn")?;
    for (image, what) in PUSHES {
        stage.say(what);
        let before = stored_bytes(&stage.store())?;
        let seconds = stage.lambent(&["image", "push", &format!("oci:{image}")])?;
        let new_bytes = stored_bytes(&stage.store())? - before;
        let layer_bytes = moved.add(&stage.corpus.join(image))?;
        let name = format!("{image}:latest");
        let again = pushes.iter().any(|push: &Push| push.name == image);
        let image_bytes = stage.ask(&["image", "inspect", &name])?["image_bytes"].as_u64();
        pushes.push(Push {
            name: if again {
                format!("{image}, again")
            } else {
                image.to_owned()
            },
            new_bytes,
            layer_bytes,
            gzip_bytes: (layer_bytes as f64 * gzip_share) as u64,
            image_bytes: image_bytes.context("inspect says the image's bytes")?,
            seconds,
        });
    }
    Ok(pushes)
}

fn look(stage: &Stage) -> Result<()> {
    stage.say("What is in the store.");
    stage.lambent(&["image", "ls"])?;
    stage.say("One image, and what only it has.");
    stage.lambent(&["image", "inspect", "sklearn-app:latest"])?;
    stage.say("What two images share.");
    stage.lambent(&["image", "compare", "sklearn:latest", "sklearn-dep:latest"])?;
    stage.say("Every chunk read again from the store, hashed, opened.");
    stage.lambent(&["image", "verify", "sklearn:latest"])?;
    Ok(())
}

fn mount(stage: &Stage) -> Result<()> {
    stage.say("The image as a file, judged by the tools of ext4's own makers.");
    stage.lambent(&["image", "export", "sklearn:latest", "sklearn.ext4"])?;
    stage.command(&["e2fsck", "-fn", "sklearn.ext4"])?;
    stage.say("Mounted by the kernel, read-only, and its application run in it.");
    let folder = stage.path("mnt");
    fs::create_dir(&folder)?;
    println!(
        "  $ mount -t ext4 -o ro,noload,loop sklearn.ext4 mnt && ls mnt && chroot mnt sh -c 'cd /app && python3 app.py'"
    );
    let mut isolated = corpus::chroot::isolated(&["--net", "--ipc"]);
    isolated
        .args(["sh", "-c", MOUNT_AND_RUN, "sh"])
        .arg(stage.path("sklearn.ext4"))
        .arg(&folder);
    let output = process::run(&mut isolated)?;
    print!("{output}");
    if !output.contains("says: ready") {
        bail!("the application did not say `ready`");
    }
    Ok(())
}

/// Through a real registry; gives the seconds of the push.
fn from_registry(stage: &Stage) -> Result<(Registry, f64)> {
    stage.say("The same image through a registry: Debian's docker-registry, filled by skopeo with gzip layers.");
    let registry = Registry::start(&stage.path("registry"))?;
    let to = format!("docker://{}/demo:latest", registry.host);
    stage.in_corpus(&[
        "skopeo",
        "--insecure-policy",
        "copy",
        "--quiet",
        "--preserve-digests",
        "--dest-tls-verify=false",
        "oci:sklearn-gzip:latest",
        &to,
    ])?;
    let from = format!("{}/demo:latest", registry.host);
    let seconds = stage.lambent(&["image", "push", &from, "--name", "from-registry"])?;
    let compared = stage.ask(&["image", "compare", "sklearn:latest", "from-registry"])?;
    if compared["only_first"]["chunks"] != 0 || compared["only_second"]["chunks"] != 0 {
        bail!("the image from the registry differs: {compared}");
    }
    println!("    Every chunk equals those of the push from the folder.");
    Ok((registry, seconds))
}

/// How fast the stages are, on a store of its own, and all that happened.
fn end(stage: &Stage, pushes: &[Push], registry_seconds: f64) -> Result<()> {
    stage.say("Where the time goes: the first push once more, into an empty store, asked for JSON.");
    let second = stage.path("second").display().to_string();
    let report = stage.ask_at(&second, &["image", "push", "oci:sklearn"])?;
    let image_bytes = report["image_bytes"].as_u64().unwrap_or(0);
    // Reading layers that are plain files and committing a record take no time that a rate would mean something for.
    const RATED_SECONDS_MIN: f64 = 0.05;
    let mut rows = Vec::new();
    for stage in ["unpack", "merge", "seal", "commit"] {
        let seconds = report["stages"][stage]
            .as_f64()
            .context("a push says the seconds of its stages")?;
        let rate = if seconds < RATED_SECONDS_MIN {
            "-".to_owned()
        } else {
            rate(image_bytes, seconds)
        };
        rows.push([stage.to_owned(), format!("{seconds:.3} s"), rate]);
    }
    let seconds = report["seconds"].as_f64().unwrap_or(0.0);
    rows.push(["all".to_owned(), format!("{seconds:.3} s"), rate(image_bytes, seconds)]);
    print!("{}", table(["stage", "time", "of image"], &rows));
    stage.say("What happened.");
    let mut rows: Vec<[String; 5]> = pushes.iter().map(row).collect();
    rows.push([
        "from a registry, gzip".to_owned(),
        bytes(image_bytes),
        "0 B".to_owned(),
        format!("{registry_seconds:.2} s"),
        rate(image_bytes, registry_seconds),
    ]);
    print!(
        "{}",
        table(["push", "image", "new in the store", "time", "of image"], &rows)
    );
    Ok(())
}

fn row(push: &Push) -> [String; 5] {
    [
        push.name.clone(),
        bytes(push.image_bytes),
        bytes(push.new_bytes),
        format!("{:.2} s", push.seconds),
        rate(push.image_bytes, push.seconds),
    ]
}

/// Bytes of all sealed chunks, as the file system of this machine counts them: not what lambent says.
fn stored_bytes(store: &Path) -> Result<u64> {
    let folder = store.join("chunks");
    if !folder.exists() {
        return Ok(0);
    }
    let mut bytes = 0;
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => bytes += entry.metadata()?.len(),
            }
        }
    }
    Ok(bytes)
}
