//! One function for each command: call a library, print what came back.

mod inspect;
mod push;
mod stored;

use crate::arguments::{Arguments, Command, ImageCommand};
use crate::environment;
use anyhow::Result;
use std::process::ExitCode;

/// Runs the command; the code is a failure where the answer itself is bad news.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let parts = environment::open(&arguments.global)?;
    let json = arguments.global.json;
    let Command::Image(command) = &arguments.command;
    match command {
        ImageCommand::Push(push) => push::run(&parts, push, json)?,
        ImageCommand::Ls => stored::list(&parts.images, json)?,
        ImageCommand::Inspect(image) => inspect::run(&parts.images, &image.name, json)?,
        ImageCommand::Verify(image) => return stored::verify(&parts.images, &image.name, json),
        ImageCommand::Export(export) => stored::export(&parts.images, export, json)?,
        ImageCommand::Compare(pair) => stored::compare(&parts.images, pair, json)?,
        ImageCommand::Rm(image) => stored::remove(&parts.images, &image.name, json)?,
    }
    Ok(ExitCode::SUCCESS)
}
