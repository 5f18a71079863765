//! Runs other programs, quietly when they succeed and with their last words when they fail.

use std::env;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Lines of a failed program's output that an error repeats: pip and debootstrap say the cause within their last few.
const REPORTED_LINES_MAX: usize = 20;

/// Runs to the end and returns what the program wrote to standard output. A failure repeats the output's end.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` ended with {}:\n{}", output.status, last_lines(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the program can be started and ends with success.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Fails when one of the programs is not on `PATH`.
pub(crate) fn require(programs: &[&str]) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let missing: Vec<_> = programs
        .iter()
        .filter(|name| !env::split_paths(&path).any(|folder| folder.join(name).is_file()))
        .collect();
    if !missing.is_empty() {
        bail!("programs missing: {missing:?}; `cargo xtask setup` installs them");
    }
    Ok(())
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> Result<bool> {
    Ok(run(Command::new("id").arg("-u"))?.trim() == "0")
}

/// The command as words.
pub(crate) fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn last_lines(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()]
        .map(String::from_utf8_lossy)
        .concat();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(REPORTED_LINES_MAX)..].join("\n")
}
