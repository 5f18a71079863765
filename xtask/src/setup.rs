//! `cargo xtask setup`: installs what tests and demo need, and only what is missing.
//!
//! The checks read local files only, so a second run needs no network and ends within a second.

mod criu;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::process::{self, is_root, succeeds};

/// Debian packages, each with the reason why it is here.
const DEBIAN_PACKAGES: &[&str] = &[
    "acl",                             // getfacl: compares ACLs with an independent extraction
    "apache2-utils",                   // htpasswd: a registry with a password
    "awscli",                          // the aws command line, version 2, in tests
    "autoconf",                        // builds aws-lambda-ric's native part
    "automake",                        // the same
    "attr",                            // setfattr, getfattr: extended attributes in tests
    "buildah",                         // pushes to the endpoint's registry, in tests
    "cmake",                           // builds aws-lambda-ric's native part
    "curl",                            // a full pull, streamed, in the bench of starts
    "debootstrap",                     // the corpus: Debian without Docker
    "docker-registry",                 // a real registry to pull from
    "e2fsprogs",                       // e2fsck judges our file systems; mke2fs is the baseline
    "g++",                             // builds C++ that fuzz targets link
    "golang-github-containers-common", // policy.json, without which skopeo refuses every image
    "iproute2",                        // ip, tc: the shaped link of the bench of starts
    "libcap2-bin",                     // setcap, getcap: security.capability in tests
    "libtool",                         // builds aws-lambda-ric's native part
    "make",                            // the same
    "memcached",                       // the servers of the zone cache, in tests and the bench
    "nghttp2-client",                  // h2load: many requests at once, in the bench of functions
    "nftables",                        // nft: address translation for functions (lambent up --network nat)
    "openssl",                         // bytes that nothing compresses, in tests
    "sasl2-bin",                       // saslpasswd2: memcached with user names, in tests
    "skopeo",                          // puts images into the registry and checks our layouts
    "time",                            // the largest memory of a command, in benches
    "umoci",                           // the independent extraction that we compare with
    "wrk",                             // the load of the bench of functions
    "zstd",                            // zstd layers in tests
];

/// Waits up to two minutes for another apt-get to end; without it apt-get fails at once.
const APT_LOCK_WAIT: &str = "--option=DPkg::Lock::Timeout=120";

/// Exact versions, so that a test that passes today passes tomorrow.
const PYTHON_PACKAGES: &[&str] = &[
    "moto[server]==5.2.5",
    "boto3==1.44.5",
    "pyjwt==2.15.1",
    "cryptography==50.0.2",
    "numpy==2.0.2",        // a heavy import, for snapshots
    "onnxruntime==1.20.1", // the same
    "awslambdaric==4.2.2", // a runtime that is written and restored
    "pyarrow==26.0.1",     // writes and reads the Parquet of batches
];

/// Brings the machine to the state that tests and demo expect, and prints a line for each thing done.
pub(crate) fn run(cache: &Cache) -> Result<()> {
    install_debian_packages()?;
    install_venv(cache)?;
    criu::install(cache)?;
    install_cargo_fuzz()
}

fn install_debian_packages() -> Result<()> {
    let mut missing = missing_packages(DEBIAN_PACKAGES)?;
    // Node.js may be there from another source than Debian, with an npm of its own that Debian's would not suit.
    if !(succeeds(Command::new("node").arg("--version")) && succeeds(Command::new("npm").arg("--version"))) {
        missing.extend(["nodejs", "npm"].map(str::to_owned));
    }
    if missing.is_empty() {
        println!("Debian packages: all there");
        return Ok(());
    }
    apt_install(&missing)
}

/// The packages that dpkg does not report as installed.
fn missing_packages(packages: &[&str]) -> Result<Vec<String>> {
    // dpkg-query ends with 1 when a package is unknown, and that is an answer here, not a fault.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"])
        .args(packages)
        .output()
        .context("starting dpkg-query: this task knows Debian only")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let installed: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .collect();
    Ok(packages
        .iter()
        .filter(|name| !installed.contains(name))
        .map(|name| (*name).to_owned())
        .collect())
}

fn apt_install(packages: &[String]) -> Result<()> {
    process::run(as_root("apt-get")?.arg("update")).context("reading Debian's package lists")?;
    process::run(
        as_root("apt-get")?
            .args(["install", "--yes", "--no-install-recommends", APT_LOCK_WAIT])
            .args(packages),
    )
    .context("installing Debian packages")?;
    println!("Debian packages: installed {}", packages.join(" "));
    Ok(())
}

/// A command that runs as root; through sudo only when this process is not root already.
fn as_root(program: &str) -> Result<Command> {
    let mut command = if is_root()? {
        Command::new("env")
    } else {
        Command::new("sudo")
    };
    // sudo accepts VARIABLE=value before the program just as env does.
    command.arg("DEBIAN_FRONTEND=noninteractive").arg(program);
    Ok(command)
}

fn install_venv(cache: &Cache) -> Result<()> {
    let venv = cache.venv();
    let stamp = venv.join("lambent-requirements");
    let wanted = PYTHON_PACKAGES.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) && venv.join("bin/python").exists() {
        println!("Python environment: {} is there", venv.display());
        return Ok(());
    }
    let _lock = cache.lock()?;
    create_venv(&venv)?;
    process::run(
        Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet"])
            .args(PYTHON_PACKAGES),
    )
    .context("installing Python packages")?;
    fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))?;
    println!(
        "Python environment: installed {} into {}",
        PYTHON_PACKAGES.join(" "),
        venv.display()
    );
    Ok(())
}

fn create_venv(venv: &Path) -> Result<()> {
    // Debian's python3 has the venv module but not ensurepip, which is what `--help` would not notice.
    if !succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])) {
        apt_install(&["python3-venv".to_owned()])?;
    }
    process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))
        .context("creating the Python environment")?;
    Ok(())
}

fn install_cargo_fuzz() -> Result<()> {
    if succeeds(Command::new("cargo").args(["fuzz", "--version"])) {
        println!("cargo-fuzz: is there");
        return Ok(());
    }
    process::run(Command::new("cargo").args(["install", "cargo-fuzz", "--locked"])).context("installing cargo-fuzz")?;
    println!("cargo-fuzz: installed");
    Ok(())
}
