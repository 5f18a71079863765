//! The one binary: `lambent`.
//!
//! The only place that reads flags, files of settings and the process environment, and that plugs parts together. A
//! command gets checked values, calls one function of a library, and prints what came back, as a table or as JSON.

mod age;
mod arguments;
mod batch;
mod client_files;
mod commands;
mod deploy;
mod environment;
mod file_systems;
mod lambda_client;
mod output;
mod progress;
mod size;
mod worker_settings;

use arguments::Arguments;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    environment::start_logging(&arguments.command);
    match commands::run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            // One message: what was tried, then each cause that says something new.
            eprintln!("error: {}", output::error_chain(&error));
            ExitCode::FAILURE
        }
    }
}
