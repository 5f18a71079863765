//! The binary, in a data directory of its own.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A data directory on disk, and the global options that every command gets.
pub(crate) struct Lambent {
    work: TempDir,
    pub(crate) options: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
}

impl Lambent {
    pub(crate) fn new() -> Self {
        let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let options = vec!["--data".to_owned(), work.path().join("data").display().to_string()];
        Self {
            work,
            options,
            variables: Vec::new(),
        }
    }

    /// A path beside the data directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// The directory of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.path("data/store")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lambent"));
        // Nobody's logins and settings but the test's.
        command
            .env_clear()
            .env("HOME", self.work.path())
            .envs(self.variables.iter().cloned());
        command
            .arg("image")
            .args(arguments)
            .args(&self.options)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed; gives its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The same with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Runs a command that must fail as a command should; gives its message.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        failure(&self.command(arguments).output().unwrap())
    }

    pub(crate) fn push(&self, source: &str, name: &str) -> Value {
        self.json(&["push", source, "--name", name])
    }

    /// The names that `ls` shows.
    pub(crate) fn names(&self) -> Vec<String> {
        let images = self.json(&["ls"]);
        images
            .as_array()
            .unwrap()
            .iter()
            .map(|image| image["name"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn assert_whole(&self, name: &str) {
        assert_eq!(self.json(&["verify", name])["faults"], 0, "{name}");
    }

    /// Writes the image to a file.
    pub(crate) fn export(&self, name: &str) -> PathBuf {
        let file = self.path(&format!("{name}.ext4"));
        self.ok(&["export", name, file.to_str().unwrap()]);
        file
    }
}

/// Exit code 1, nothing on standard output, and one message.
pub(crate) fn failure(output: &Output) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}{message}", text(&output.stdout));
    assert_eq!(text(&output.stdout), "", "{message}");
    let lines = message.lines().filter(|line| !line.starts_with("warning: "));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 1, "one message of one line: {message}");
    lines[0]
        .strip_prefix("error: ")
        .unwrap_or_else(|| panic!("not an error: {message}"))
        .to_owned()
}

/// The source of an image that `cargo xtask corpus` made.
pub(crate) fn corpus(name: &str) -> String {
    let layout = cache().join("corpus").join(name);
    assert!(
        layout.join("index.json").exists(),
        "{} is missing: run `cargo xtask corpus`",
        layout.display()
    );
    format!("oci:{}", layout.display())
}

/// The project's cache folder, as xtask finds it.
pub(crate) fn cache() -> PathBuf {
    let from = |name: &str, below: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(Path::new(&value).join(below))
    };
    let cache = from("LAMBENT_CACHE", "")
        .or_else(|| from("XDG_CACHE_HOME", "lambent"))
        .or_else(|| from("HOME", ".cache/lambent"));
    cache.expect("LAMBENT_CACHE, XDG_CACHE_HOME or HOME is set")
}

/// Every file below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(directory) else {
            continue;
        };
        for entry in entries.map(Result::unwrap) {
            let list = if entry.file_type().unwrap().is_dir() {
                &mut directories
            } else {
                &mut found
            };
            list.push(entry.path());
        }
    }
    found.sort();
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
