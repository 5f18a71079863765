//! Where the demo plays: shows each command, then runs it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::lambent::Lambent;
use crate::work::Work;

/// The binary, the images and a work folder.
pub(super) struct Stage {
    lambent: Lambent,
    /// Where images are; the folder that `lambent image push` runs in.
    pub(super) corpus: PathBuf,
    work: Work,
}

impl Stage {
    pub(super) const fn new(lambent: Lambent, corpus: PathBuf, work: Work) -> Self {
        Self { lambent, corpus, work }
    }

    /// A path in the work folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// The folder of the store.
    pub(super) fn store(&self) -> PathBuf {
        self.path("lambent/store")
    }

    pub(super) fn shown_data(&self) -> String {
        self.path("lambent").display().to_string()
    }

    /// A heading.
    pub(super) fn say(&self, text: &str) {
        println!("\n▌ {text}");
    }

    /// Shows and runs `lambent`; gives its seconds.
    pub(super) fn lambent(&self, arguments: &[&str]) -> Result<f64> {
        let is_push = arguments.contains(&"push");
        let mut command = self.command_of();
        command
            .args(arguments)
            .current_dir(if is_push { self.corpus.clone() } else { self.path("") });
        show("lambent", arguments);
        run(&mut command)
    }

    /// Shows and runs a tool in the work folder.
    pub(super) fn command(&self, words: &[&str]) -> Result<f64> {
        show(words[0], &words[1..]);
        run(Command::new(words[0]).args(&words[1..]).current_dir(self.path("")))
    }

    /// Shows `lambent` and gives its command, to be started in the background.
    pub(super) fn spawned(&self, arguments: &[&str]) -> Command {
        show("lambent", &[arguments, &["&"]].concat());
        let mut command = self.command_of();
        command.args(arguments).current_dir(self.path(""));
        command
    }

    /// Runs a command that was shown otherwise, and shows what it prints.
    pub(super) fn run(&self, command: &mut Command) -> Result<f64> {
        run(command)
    }

    /// Shows and runs a tool in the folder of images, with an option whose value is not shown.
    pub(super) fn in_corpus_hiding(&self, words: &[&str], (option, secret): (&str, &str)) -> Result<f64> {
        show(words[0], &[&words[1..], &[option, "KEY:SECRET"]].concat());
        run(Command::new(words[0])
            .args(&words[1..])
            .args([option, secret])
            .current_dir(&self.corpus))
    }

    /// Shows and runs a tool in the folder of images.
    pub(super) fn in_corpus(&self, words: &[&str]) -> Result<f64> {
        show(words[0], &words[1..]);
        run(Command::new(words[0]).args(&words[1..]).current_dir(&self.corpus))
    }

    /// What `lambent --json` answers; not shown.
    pub(super) fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = self.command_of();
        let output = command
            .args(arguments)
            .arg("--json")
            .current_dir(&self.corpus)
            .output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        serde_json::from_slice(&output.stdout).context("parsing lambent's JSON")
    }

    /// The same with a data folder of its own; shown.
    pub(super) fn ask_at(&self, data: &str, arguments: &[&str]) -> Result<Value> {
        let arguments = [&["--data", data], arguments].concat();
        show("lambent", &[&arguments[..], &["--json"]].concat());
        self.ask(&arguments)
    }

    fn command_of(&self) -> Command {
        let mut command = Command::new(&self.lambent.program);
        // The default data folder is $XDG_DATA_HOME/lambent: commands look as they do at home.
        command.env("XDG_DATA_HOME", self.path(""));
        command
    }
}

fn show(program: &str, arguments: &[&str]) {
    println!("  $ {program} {}", arguments.join(" "));
}

/// Runs a command and shows what it prints, indented; gives its seconds.
fn run(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("starting a command of the demo")?;
    let seconds = start.elapsed().as_secs_f64();
    // Progress comes on standard error and before the answer; so does e2fsck's banner, which says nothing.
    for text in [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes)) {
        for line in text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with("e2fsck 1."))
        {
            println!("    {}", line.trim_end());
        }
    }
    if !output.status.success() {
        bail!("{:?} ended with {}", command.get_program(), output.status);
    }
    Ok(seconds)
}
