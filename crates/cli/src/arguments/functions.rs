//! Functions: `lambent runtime`, `deploy`, `invoke`, `logs`, `rm`, `function`.

use clap::{Args, Subcommand};
use image::source::spec::SourceSpec;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum RuntimeCommand {
    /// Make an image the base of a runtime
    #[command(
        after_help = "Examples:\n  lambent runtime add python3.11 public.ecr.aws/lambda/python:3.11\n  lambent runtime add nodejs20.x oci:my-node-base\n\nThe image is AWS's own base image, or has awslambdaric (Python) or aws-lambda-ric (Node.js) installed."
    )]
    Add {
        /// The runtime's name, as functions say it
        #[arg(value_name = "RUNTIME")]
        name: String,
        /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REPO:TAG], or a registry reference
        source: SourceSpec,
    },
    /// List runtimes
    Ls,
    /// Forget a runtime; functions that have its image keep it
    Rm {
        /// The runtime's name
        #[arg(value_name = "RUNTIME")]
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DeployArguments {
    /// The directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// The function's name [default: the directory's]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// As functions say it, such as python3.11 [default: found from the directory and from `lambent runtime ls`]
    #[arg(long)]
    pub(crate) runtime: Option<String>,
    /// FILE.FUNCTION [default: found in the directory]
    #[arg(long)]
    pub(crate) handler: Option<String>,
    /// Memory in MB; processor time is in proportion
    #[arg(long, value_name = "MB")]
    pub(crate) memory: Option<u32>,
    /// Longest invocation in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
    /// An environment variable; may be given several times
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub(crate) environment: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InvokeArguments {
    /// The function: its name, or its ARN
    pub(crate) name: String,
    /// JSON, @FILE, or - for standard input
    #[arg(default_value = "{}")]
    pub(crate) payload: String,
    /// A version or an alias
    #[arg(long)]
    pub(crate) qualifier: Option<String>,
    /// Print the invocation's log to standard error
    #[arg(long)]
    pub(crate) log: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// The function's name
    pub(crate) name: String,
    /// Go on with what comes
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How far back to begin, in minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub(crate) since: u64,
}

#[derive(Debug, Args)]
pub(crate) struct FunctionArgument {
    /// The function's name
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FunctionCommand {
    /// Show what the last cold starts of a function were made of
    #[command(after_help = "Example:\n  lambent function starts hello")]
    Starts {
        /// The function's name
        name: String,
        /// How many, the newest first
        #[arg(long, default_value_t = 10)]
        last: u32,
    },
    /// List what a function's destinations and dead-letter queues did not take
    #[command(after_help = "Example:\n  lambent function failures hello --json")]
    Failures {
        /// The function's name
        name: String,
        /// How many, the newest first
        #[arg(long, default_value_t = 10)]
        last: u32,
    },
}
