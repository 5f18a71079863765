//! The command line.

mod accounts;
mod batch;
mod functions;
mod image;
mod store;
mod up;

pub(crate) use self::image::{
    CompareArguments, CompressionArgument, DaemonArguments, ExportArguments, ImageCommand, MountArguments,
    MountedArgument, PushArguments,
};
pub(crate) use self::store::{GcArguments, ScopeArgument, StoreCommand};
pub(crate) use accounts::{AccountCommand, AccountKeyCommand, KeysCommand};
pub(crate) use batch::{BatchCommand, BatchRunArguments};
pub(crate) use functions::{
    DeployArguments, FunctionArgument, FunctionCommand, InvokeArguments, LogsArguments, RuntimeCommand,
};
pub(crate) use up::UpArguments;

use ::store::StoreLocation;
use chunk::Account;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Serverless inference on machines of your own.
#[derive(Debug, Parser)]
#[command(name = "lambent", version, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where things are kept; the same for every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct GlobalArguments {
    /// Directory for store, keyring and scratch files [default: $XDG_DATA_HOME/lambent or ~/.local/share/lambent]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Store instead of DIR/store: a directory, or s3://BUCKET/PREFIX?endpoint=URL&region=R&allow_http=true
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<StoreLocation>,
    /// Account that owns the images, 12 digits
    #[arg(long, global = true, value_name = "ID", default_value = "000000000000")]
    pub(crate) account: Account,
    /// AWS KMS key (id, ARN or alias) that wraps data keys, instead of the keyring in DIR/keyring.json
    #[arg(long, global = true, value_name = "KEY")]
    pub(crate) kms_key: Option<String>,
    /// Endpoint of a KMS other than AWS's
    #[arg(long, global = true, value_name = "URL", requires = "kms_key")]
    pub(crate) kms_endpoint: Option<String>,
    /// Region of the KMS key [default: AWS's own settings]
    #[arg(long, global = true, value_name = "REGION", requires = "kms_key")]
    pub(crate) kms_region: Option<String>,
    /// KMS key (id or ARN) that wrapped before --kms-key did, and still unwraps; may be given several times
    #[arg(long, global = true, value_name = "KEY", requires = "kms_key")]
    pub(crate) kms_previous_key: Vec<String>,
    /// Transit key of HashiCorp Vault or OpenBao that wraps data keys; {account} in it stands for the account
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        requires_all = ["vault_address", "vault_token_file"],
        conflicts_with = "kms_key"
    )]
    pub(crate) vault_key: Option<String>,
    /// Where Vault is: https://HOST:PORT; without TLS on this machine only
    #[arg(long, global = true, value_name = "URL", requires = "vault_key")]
    pub(crate) vault_address: Option<String>,
    /// File with Vault's token, mode 0600; it is read anew for every request
    #[arg(long, global = true, value_name = "FILE", requires = "vault_key")]
    pub(crate) vault_token_file: Option<PathBuf>,
    /// Where the transit engine is mounted
    #[arg(long, global = true, value_name = "PATH", default_value = "transit")]
    pub(crate) vault_mount: String,
    /// Namespace of the transit engine
    #[arg(long, global = true, value_name = "NAMESPACE", requires = "vault_key")]
    pub(crate) vault_namespace: Option<String>,
    /// File with the certificates (PEM) that alone are trusted for Vault [default: the system's]
    #[arg(long, global = true, value_name = "FILE", requires = "vault_key")]
    pub(crate) vault_ca: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Container images as encrypted, shared chunks
    #[command(subcommand)]
    Image(ImageCommand),
    /// What the store holds, and what goes from it
    #[command(subcommand)]
    Store(StoreCommand),
    /// Serve the Lambda API, a registry and functions on this machine
    #[command(
        after_help = "Example:\n  lambent up\n\nThe first start makes an account and an access key, and says what to type next. Needs root: functions run in namespaces and control groups."
    )]
    Up(UpArguments),
    /// Access keys for the endpoint that `lambent up` serves
    #[command(subcommand)]
    Keys(KeysCommand),
    /// What belongs to an account as a whole: the key that wraps its images' keys
    #[command(subcommand)]
    Account(AccountCommand),
    /// Base images that zips run on, such as python3.11
    #[command(subcommand)]
    Runtime(RuntimeCommand),
    /// Make a running function of a directory: a handler, and requirements.txt, package.json or bootstrap
    #[command(
        after_help = "Examples:\n  lambent deploy examples/hello\n  lambent deploy . --name scorer --memory 1024 --env MODEL=small\n\nPython needs pip, Node.js needs npm, on this machine; nothing needs Docker."
    )]
    Deploy(DeployArguments),
    /// Invoke a function and print its answer
    #[command(
        after_help = "Examples:\n  lambent invoke hello '{\"name\": \"you\"}'\n  lambent invoke hello @event.json\n  echo '{}' | lambent invoke hello -"
    )]
    Invoke(InvokeArguments),
    /// Run a function over many records
    #[command(subcommand)]
    Batch(BatchCommand),
    /// Print a function's log
    #[command(after_help = "Example:\n  lambent logs hello --follow")]
    Logs(LogsArguments),
    /// List functions
    #[command(after_help = "Example:\n  lambent ls --json")]
    Ls,
    /// Remove a function with its versions and aliases
    #[command(after_help = "Example:\n  lambent rm hello")]
    Rm(FunctionArgument),
    /// What functions did
    #[command(subcommand)]
    Function(FunctionCommand),
    /// Say what this machine has of what Lambent needs, and what to do about the rest
    #[command(after_help = "Example:\n  sudo lambent doctor --json")]
    Doctor,
    /// Make sandboxes for `lambent up`, which starts it
    #[command(hide = true)]
    Sandboxes,
    /// Serve the devices of mounted images; `image mount` starts it when it is needed
    #[command(hide = true)]
    Daemon(DaemonArguments),
}
