//! One function for each command: call a library, print what came back.

mod account_key;
mod accounts;
mod batch;
mod cache_tables;
mod daemon;
mod deploy;
mod doctor;
mod failures;
mod functions;
mod inspect;
mod keys;
mod mount;
mod push;
mod runtimes;
mod starts;
mod store;
mod store_servers;
mod store_tables;
mod stored;
mod trace;
mod up;

use crate::arguments::{
    AccountCommand, Arguments, BatchCommand, Command, FunctionCommand, GlobalArguments, ImageCommand,
};
use crate::environment::{self, Parts};
use anyhow::Result;
use std::process::ExitCode;

/// Runs the command; the code is a failure where the answer itself is bad news.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (global, json) = (&arguments.global, arguments.global.json);
    let command = match &arguments.command {
        Command::Image(command) => command,
        Command::Daemon(daemon) => return daemon::run(global, daemon),
        Command::Account(AccountCommand::Key(command)) => return account_key::run(global, *command),
        Command::Account(AccountCommand::Create) => return accounts::create(global).map(|()| ExitCode::SUCCESS),
        Command::Account(AccountCommand::Ls) => return accounts::list(global).map(|()| ExitCode::SUCCESS),
        Command::Doctor => return doctor::run(global),
        Command::Sandboxes => return Ok(sandbox::run_spawner()),
        Command::Invoke(invoke) => return functions::invoke(global, invoke),
        Command::Batch(BatchCommand::Run(arguments)) => return batch::run(global, arguments),
        Command::Batch(BatchCommand::Rows) => return crate::batch::print_rows().map(|()| ExitCode::SUCCESS),
        Command::Store(command) => return store::run(global, command),
        command => return run_for_functions(global, command).map(|()| ExitCode::SUCCESS),
    };
    match command {
        ImageCommand::Mount(mount) => mount::mount(global, mount)?,
        ImageCommand::Umount(mounted) => mount::unmount(global, mounted)?,
        ImageCommand::Mounts => mount::list(global)?,
        ImageCommand::Ready(mounted) => mount::ready(global, mounted)?,
        ImageCommand::Stats(mounted) => mount::stats(global, mounted)?,
        _ => return run_on_stored(command, &environment::open(global)?, json),
    }
    Ok(ExitCode::SUCCESS)
}

/// Commands of the function side.
fn run_for_functions(global: &GlobalArguments, command: &Command) -> Result<()> {
    match command {
        Command::Up(up) => up::run(global, up),
        Command::Keys(command) => keys::run(global, command),
        Command::Runtime(command) => runtimes::run(global, command),
        Command::Deploy(deploy) => deploy::run(global, deploy),
        Command::Logs(logs) => functions::logs(global, logs),
        Command::Ls => functions::list(global),
        Command::Rm(function) => functions::remove(global, function),
        Command::Function(FunctionCommand::Starts { name, last }) => starts::run(global, name, *last),
        Command::Function(FunctionCommand::Failures { name, last }) => failures::run(global, name, *last),
        Command::Account(_)
        | Command::Image(_)
        | Command::Store(_)
        | Command::Daemon(_)
        | Command::Doctor
        | Command::Sandboxes
        | Command::Batch(_)
        | Command::Invoke(_) => {
            unreachable!("these were run by the caller")
        }
    }
}

/// Commands that open store and keys themselves.
fn run_on_stored(command: &ImageCommand, parts: &Parts, json: bool) -> Result<ExitCode> {
    match command {
        ImageCommand::Push(push) => push::run(parts, push, json)?,
        ImageCommand::Ls => stored::list(&parts.images, json)?,
        ImageCommand::Inspect(image) => inspect::run(&parts.images, &image.name, json)?,
        ImageCommand::Verify(image) => return stored::verify(&parts.images, &image.name, json),
        ImageCommand::Export(export) => stored::export(&parts.images, export, json)?,
        ImageCommand::Compare(pair) => stored::compare(&parts.images, pair, json)?,
        ImageCommand::Rm(image) => stored::remove(&parts.images, &image.name, json)?,
        ImageCommand::Trace(image) => trace::run(&parts.images, &image.name, json)?,
        ImageCommand::Mount(_)
        | ImageCommand::Umount(_)
        | ImageCommand::Mounts
        | ImageCommand::Ready(_)
        | ImageCommand::Stats(_) => unreachable!("commands of the daemon were run by the caller"),
    }
    Ok(ExitCode::SUCCESS)
}
