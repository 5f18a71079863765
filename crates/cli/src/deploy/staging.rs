//! A copy of the directory with its dependencies installed.

use super::Language;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Names that are never part of a function.
const LEFT_OUT: [&str; 6] = [
    ".git",
    "__pycache__",
    ".venv",
    "venv",
    ".pytest_cache",
    "node_modules/.cache",
];

/// Entries of one directory tree; a zip with more is refused by the endpoint, too.
const ENTRIES_MAX: usize = 100_000;

/// Copies `directory` to `staging`, which is empty, and installs what the directory asks for.
pub(crate) fn stage(directory: &Path, staging: &Path, language: Language, runtime: &str) -> Result<()> {
    let mut entries = 0;
    copy(directory, staging, Path::new(""), &mut entries)?;
    match language {
        Language::Python if directory.join("requirements.txt").exists() => install_python(staging, runtime),
        Language::Node if directory.join("package.json").exists() => install_node(staging),
        Language::Python | Language::Node | Language::Bootstrap => Ok(()),
    }
}

fn copy(from: &Path, to: &Path, inside: &Path, entries: &mut usize) -> Result<()> {
    let failed = || format!("cannot copy {}", from.display());
    for entry in fs::read_dir(from).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let inside = inside.join(entry.file_name());
        if LEFT_OUT.iter().any(|name| inside.ends_with(name)) {
            continue;
        }
        *entries += 1;
        if *entries > ENTRIES_MAX {
            bail!(
                "{} holds more than {ENTRIES_MAX} files: is it the right directory?",
                from.display()
            );
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().with_context(failed)?;
        if kind.is_dir() {
            fs::create_dir(&target).with_context(failed)?;
            copy(&source, &target, &inside, entries)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target).with_context(failed)?;
        } else if kind.is_file() {
            fs::copy(&source, &target).with_context(failed)?;
        }
    }
    Ok(())
}

/// Wheels for the runtime's Python and this machine's architecture, whatever Python runs pip.
fn install_python(staging: &Path, runtime: &str) -> Result<()> {
    let version = runtime.strip_prefix("python").unwrap_or("3");
    let architecture = std::env::consts::ARCH;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
    ])
    .args([
        "--only-binary=:all:",
        "--implementation=cp",
        "--python-version",
        version,
    ])
    .args([
        "--platform".to_owned(),
        format!("manylinux2014_{architecture}"),
        "--platform".to_owned(),
        format!("manylinux_2_28_{architecture}"),
    ])
    .arg("--target")
    .arg(staging)
    .arg("--requirement")
    .arg(staging.join("requirements.txt"));
    run(pip, "pip", "install Python 3 with pip on this machine")
}

fn install_node(staging: &Path) -> Result<()> {
    let locked = staging.join("package-lock.json").exists();
    let mut npm = Command::new("npm");
    // Not --silent: what is wrong is said on standard error, and passed on.
    npm.arg(if locked { "ci" } else { "install" })
        .args(["--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(staging);
    run(npm, "npm", "install Node.js with npm on this machine")
}

fn run(mut command: Command, name: &str, hint: &str) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {name} for the dependencies: {hint}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} cannot install the dependencies: {}", said.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_npm_says_is_passed_on() {
        let (project, staging) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(project.path().join("package.json"), "{\"dependencies\": ").unwrap();
        let error = stage(project.path(), staging.path(), Language::Node, "nodejs20.x").unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("npm cannot install the dependencies: "), "{said}");
        assert!(said.contains("Invalid package.json"), "{said}");
    }
}
