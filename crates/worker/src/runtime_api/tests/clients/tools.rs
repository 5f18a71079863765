//! The clients, in the project's cache folder: installed when they are not there.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Exact versions, so that a test that passes today passes tomorrow.
const PYTHON_CLIENT: (&str, &str) = ("awslambdaric", "4.2.2");

/// Building it takes a C++ compiler, make, cmake, autoconf, automake and libtool.
const NODE_CLIENT: (&str, &str) = ("aws-lambda-ric", "3.3.0");

/// `python -m awslambdaric HANDLER`.
pub(super) fn python(handler: &str) -> Command {
    let (name, version) = PYTHON_CLIENT;
    let folder = installed(name, version, |folder| {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder));
        let requirement = format!("{name}=={version}");
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", &requirement]));
    });
    let mut command = Command::new(folder.join("bin/python"));
    command.args(["-m", name, handler]);
    command
}

/// `aws-lambda-ric HANDLER`.
pub(super) fn node(handler: &str) -> Command {
    let (name, version) = NODE_CLIENT;
    let folder = installed(name, version, |folder| {
        let requirement = format!("{name}@{version}");
        fs::create_dir_all(folder).unwrap();
        run(Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder)
            .arg(&requirement));
    });
    let mut command = Command::new("node");
    command
        .arg(folder.join("node_modules").join(name).join("bin/index.mjs"))
        .arg(handler);
    command
}

/// The example `rust_function`, which `cargo test` builds beside the tests.
pub(super) fn rust() -> Command {
    let test = env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/rust_function");
    assert!(
        program.exists(),
        "{} is missing: cargo build -p worker --examples",
        program.display()
    );
    Command::new(program)
}

/// A folder that is whole once its stamp is there; one process at a time makes it.
fn installed(name: &str, version: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let clients = cache().join("runtime-clients");
    let folder = clients.join(format!("{name}-{version}"));
    let stamp = folder.join("installed");
    fs::create_dir_all(&clients).unwrap();
    let lock = File::create(clients.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !stamp.exists() {
        install(&folder);
        fs::write(stamp, "").unwrap();
    }
    folder
}

fn cache() -> PathBuf {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("LAMBENT_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|path| path.join("lambent")))
        .or_else(|| folder("HOME").map(|path| path.join(".cache/lambent")))
        .expect("LAMBENT_CACHE, XDG_CACHE_HOME or HOME is set")
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&said)
    );
}
