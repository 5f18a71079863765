//! Programs that a bench needs beside it, each for as long as its guard lives.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// What a helper prints once it can be used.
pub(super) const READY: &str = "ready";

/// A running program. It dies with its guard, and with this task if that is killed; it also sees its input end then.
pub(in crate::bench) struct Helper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts a program and waits until it has printed [`READY`].
    pub(in crate::bench) fn start(command: &Command) -> Result<Self> {
        let shown = process::show(command);
        let mut child = dies_with_us(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{shown}`"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("its standard output is a pipe")?);
        let mut helper = Self { child, input, output };
        let line = helper.line()?;
        ensure!(line == READY, "`{shown}` said {line:?} and not {READY:?}");
        Ok(helper)
    }

    /// Its process number.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says one line to it and gives the line that it answers.
    pub(in crate::bench) fn ask(&mut self, line: &str) -> Result<String> {
        let input = self.input.as_mut().context("a helper's input is open")?;
        writeln!(input, "{line}").context("speaking to a helper")?;
        self.line()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line).context("listening to a helper")? == 0 {
            bail!("a helper ended early");
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Ended already, or ended now: either way nothing is left.
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command, killed when the thread that starts it ends.
fn dies_with_us(command: &Command) -> Command {
    let mut guarded = Command::new("setpriv");
    guarded
        .args(["--pdeathsig", "KILL"])
        .arg(command.get_program())
        .args(command.get_args());
    guarded
}
