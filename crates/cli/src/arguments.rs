//! The command line.

use crate::age::Age;
use crate::batch::Place;
use crate::file_systems::FileSystemArgument;
use crate::size::Size;
use api::Network;
use chunk::Account;
use clap::{Args, Parser, Subcommand, ValueEnum};
use image::source::platform::Platform;
use image::source::spec::SourceSpec;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use store::StoreLocation;

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

#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Address to listen on. Beyond loopback it is for a network that you trust: there is no TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9700")]
    pub(crate) listen: SocketAddr,
    /// Region in ARNs and signatures, for a new data directory [default: us-east-1]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Stop an environment after this many seconds without work
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) idle_seconds: u64,
    /// What functions reach: nothing, or other machines by IPv4 in this machine's name, never this machine itself
    #[arg(long, value_enum, value_name = "off|nat", default_value_t = NetworkArgument::Off)]
    pub(crate) network: NetworkArgument,
    /// S3 endpoint that zips are fetched from, with the AWS_* variables as credentials [default: AWS's]
    #[arg(long, value_name = "URL")]
    pub(crate) s3_endpoint: Option<String>,
    /// SQS endpoint that events go to and come from, with AWS's ordinary credentials [default: AWS's]
    #[arg(long, value_name = "URL")]
    pub(crate) sqs_endpoint: Option<String>,
    /// SNS endpoint that events go to, with AWS's ordinary credentials [default: AWS's]
    #[arg(long, value_name = "URL")]
    pub(crate) sns_endpoint: Option<String>,
    /// HTTP endpoint that functions may name as a destination: arn:aws:events:REGION:ACCOUNT:api-destination/NAME
    #[arg(long, value_name = "NAME=URL", value_parser = http_destination)]
    pub(crate) http_destination: Vec<(String, String)>,
    /// Waits before the second and the third try of an asynchronous event whose function failed
    #[arg(long, value_name = "AGE,AGE", value_parser = retry_waits, default_value = "1m,2m")]
    pub(crate) retry_waits: [Age; 2],
    /// Ask a destination that does not take a record this long, then keep the record (lambent function failures)
    #[arg(long, value_name = "AGE", default_value = "6h")]
    pub(crate) deliver_for: Age,
    /// Memory for the answers that functions keep by the tag lambent:response-cache, all together
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    pub(crate) response_cache: Size,
    /// How often provisioned concurrency that follows a target is decided on; at least 1s
    #[arg(long, value_name = "AGE", default_value = "1m")]
    pub(crate) scaling_period: Age,
    /// A directory that functions may mount at /mnt/... as they do EFS, to be changed by them or not; may be given
    /// several times
    #[arg(long = "file-system", value_name = "NAME=DIR[:ro]")]
    pub(crate) file_systems: Vec<FileSystemArgument>,
    /// Collect garbage this often, with the defaults of `lambent store gc`; 0 never does
    #[arg(long, value_name = "AGE", default_value = "1d")]
    pub(crate) gc_every: Age,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Free the space of what no image needs any more
    #[command(
        after_help = "Examples:\n  lambent store gc --dry-run\n  lambent store gc --rate 500\n  lambent store gc --retire-after 0 --expire-after 1h --delete-after 1h\n\nSafe at any time, beside pushes, mounts and functions, and after it was killed. What is dead goes in steps: the root that\nholds it retires, what lives is copied on, the root expires, and is deleted. Each call does the steps that are due."
    )]
    Gc(GcArguments),
    /// List the store's roots
    #[command(after_help = "Example:\n  lambent store roots --json")]
    Roots,
    /// Show what is shared, what is dead, what one bad chunk could break, and which tier gave what on this machine
    #[command(after_help = "Example:\n  lambent store stats --json")]
    Stats,
    /// Show or set whom the account's chunks are shared with, on every machine
    #[command(
        after_help = "Example:\n  lambent store scope account\n\n`account` keeps others from finding out, by what is stored already, what the account holds; it costs a copy of what\nothers have, too. It is for what is pushed from now on."
    )]
    Scope {
        /// All accounts of the store, or this one alone
        #[arg(value_enum, value_name = "SCOPE")]
        scope: Option<ScopeArgument>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Chunks to copy, or objects to delete, in a second [default: as fast as it goes]
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<NonZeroU32>,
    /// Age at which an active root with something dead in it retires
    #[arg(long, value_name = "AGE", default_value = "7d")]
    pub(crate) retire_after: Age,
    /// How long a root stays retired: pushes that began in it have as long to end
    #[arg(long, value_name = "AGE", default_value = "1d")]
    pub(crate) expire_after: Age,
    /// How long a root stays expired: any read of it in this time stops its deletion
    #[arg(long, value_name = "AGE", default_value = "2d")]
    pub(crate) delete_after: Age,
    /// Age at which an active root retires even if nothing in it is dead, to have a new salt [default: never]
    #[arg(long, value_name = "AGE")]
    pub(crate) salt_life: Option<Age>,
    /// Images that share a chunk before later ones store it under one of eight other salts; 0 is never
    #[arg(long, value_name = "N", default_value = "1000")]
    pub(crate) popular_above: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make another access key for the account, for everything in it or for what a policy allows
    #[command(
        after_help = "Examples:\n  lambent keys create --json\n  lambent keys create --policy invoke-only.json\n  lambent keys create --policy '{\"Version\": \"2012-10-17\", \"Statement\": {\"Effect\": \"Allow\",\n    \"Action\": \"lambda:InvokeFunction\", \"Resource\": \"arn:aws:lambda:*:*:function:score*\"}}'\n\nThe policy is IAM's: Effect, Action or NotAction, Resource or NotResource; what denies wins. Conditions are refused."
    )]
    Create {
        /// What the key's holder may do: JSON, or a file with it [default: everything in the account]
        #[arg(long, value_name = "FILE|JSON")]
        policy: Option<String>,
    },
    /// List access keys, without their secrets
    #[command(after_help = "Example:\n  lambent keys ls")]
    Ls,
    /// Revoke an access key; a running endpoint refuses it within a second
    #[command(after_help = "Example:\n  lambent keys revoke AKIA2EXAMPLE7EXAMPLE")]
    Revoke {
        /// The key's id
        #[arg(value_name = "KEY")]
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make the account that --account names; that it is there is no error
    #[command(
        after_help = "Example:\n  lambent account create --account 123456789012\n  lambent keys create --account 123456789012"
    )]
    Create,
    /// List accounts
    #[command(after_help = "Example:\n  lambent account ls --json")]
    Ls,
    /// The account's wrapping key (not its access keys: those are `lambent keys`)
    #[command(subcommand)]
    Key(AccountKeyCommand),
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum AccountKeyCommand {
    /// Show which keys wrap the account's images
    #[command(after_help = "Example:\n  lambent account key show --json")]
    Show,
    /// Make a new key, or a new version of it, and wrap all images' data keys with it; no chunk is touched
    #[command(
        after_help = "Example:\n  lambent account key rotate --account 123456789012\n\nThe keyring and Vault make the key. With AWS KMS, choose another key: --kms-key NEW --kms-previous-key OLD. When it is interrupted, `rewrap` goes on."
    )]
    Rotate,
    /// Wrap what older keys wrap with the newest one: goes on where a rotation was interrupted
    #[command(after_help = "Example:\n  lambent account key rewrap --kms-key NEW --kms-previous-key OLD")]
    Rewrap,
    /// Make the account's images unreadable: at once for new mounts, within key_life_seconds where they are mounted
    #[command(
        after_help = "Example:\n  lambent account key revoke --account 123456789012\n\nFor the keyring. In AWS KMS disable the key, or deny the account in its policy by the encryption context lambent:account; in Vault delete the account's policy or raise min_decryption_version."
    )]
    Revoke,
    /// Make a revoked key of the keyring valid again; what was mounted meanwhile is mounted anew
    #[command(after_help = "Example:\n  lambent account key restore")]
    Restore,
    /// Remove the keyring's keys that wrap none of the account's images any more
    #[command(
        after_help = "Example:\n  lambent account key prune\n\nAn image that was replaced under its name, and is still in use, may be wrapped with such a key: prune when all of those are gone. Other copies of the keyring keep theirs."
    )]
    Prune,
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum BatchCommand {
    /// Invoke a function for each line of the input; its answers become the lines of the output, in the same order
    #[command(
        after_help = "Examples:\n  lambent batch run scorer --input rows.jsonl --output scores.jsonl --concurrency 32\n  lambent batch run scorer --input s3://bucket/rows.jsonl --output s3://bucket/scores.jsonl\n  zcat rows.jsonl.gz | lambent batch run scorer --input - --output - > scores.jsonl\n\nKilled or stopped, the same command goes on where it was: results are kept beside the output, in OUTPUT.journal, until the\noutput is whole. A line of the output is {\"line\": N, \"response\": ...} or {\"line\": N, \"error\": {kind, type, message}}.\nWith an error in any line the command fails, with its output complete. Objects in S3 take the AWS_* variables."
    )]
    Run(Box<BatchRunArguments>),
}

#[derive(Debug, Args)]
pub(crate) struct BatchRunArguments {
    /// The function: its name, or its ARN
    #[arg(value_name = "FUNCTION")]
    pub(crate) function: String,
    /// JSON lines: a file, s3://BUCKET/KEY?endpoint=URL&region=R, or - for standard input
    #[arg(long, value_name = "PLACE")]
    pub(crate) input: Place,
    /// Where JSON lines go: a file, s3://..., or - for standard output, which cannot be gone on with
    #[arg(long, value_name = "PLACE")]
    pub(crate) output: Place,
    /// Invocations at once
    #[arg(long, value_name = "N", default_value = "16")]
    pub(crate) concurrency: NonZeroU32,
    /// How often a record is tried again after a throttle or a fault of the system, with growing pauses
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) retries: u32,
    /// A version or an alias
    #[arg(long)]
    pub(crate) qualifier: Option<String>,
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

/// `AGE,AGE`.
fn retry_waits(text: &str) -> Result<[Age; 2], String> {
    let (first, second) = text.split_once(',').ok_or("expected two ages, as in 1m,2m")?;
    Ok([first.parse()?, second.parse()?])
}

/// `NAME=URL`.
fn http_destination(text: &str) -> Result<(String, String), String> {
    let (name, url) = text
        .split_once('=')
        .ok_or("expected NAME=URL, as in hook=https://example.com/hook")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let named = !name.is_empty() && name.bytes().all(is_plain);
    match (named, url.starts_with("http://") || url.starts_with("https://")) {
        (false, _) => Err("a name has letters, digits, '-', '_' and '.' alone".to_owned()),
        (true, false) => Err("a URL begins with https:// or http://".to_owned()),
        (true, true) => Ok((name.to_owned(), url.to_owned())),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Flatten an image into one ext4 file system and store the chunks that the store does not have
    #[command(
        after_help = "Examples:\n  lambent image push oci:build/image:latest --name scorer\n  lambent image push python:3.12-slim\n  lambent image push docker-archive:model.tar --dry-run"
    )]
    Push(Box<PushArguments>),
    /// List images
    #[command(after_help = "Example:\n  lambent image ls --json")]
    Ls,
    /// Show layers, configuration, sizes, and the share of bytes that only this image has
    #[command(after_help = "Example:\n  lambent image inspect scorer")]
    Inspect(NameArgument),
    /// Read every chunk from the store and check it
    #[command(after_help = "Example:\n  lambent image verify scorer")]
    Verify(NameArgument),
    /// Write the ext4 image to a file
    #[command(after_help = "Example:\n  lambent image export scorer scorer.ext4 && e2fsck -fn scorer.ext4")]
    Export(ExportArguments),
    /// Show what two images share
    #[command(after_help = "Example:\n  lambent image compare scorer:1 scorer:2")]
    Compare(CompareArguments),
    /// Mount an image read-only; what is read is fetched when it is first read
    #[command(
        after_help = "Example:\n  mkdir /mnt/scorer && lambent image mount scorer /mnt/scorer\n\nNeeds root. The image is attached once, however often it is mounted. Options of the daemon are in DIR/worker.toml."
    )]
    Mount(MountArguments),
    /// Unmount a directory, or all mounts of an image
    #[command(after_help = "Example:\n  lambent image umount /mnt/scorer")]
    Umount(MountedArgument),
    /// List mounts
    #[command(after_help = "Example:\n  lambent image mounts --json")]
    Mounts,
    /// Say that the program is ready: what its start touched leads later starts
    #[command(
        after_help = "Example:\n  lambent image ready /mnt/scorer\n\nWithout it, a start's record ends after two minutes, or when the image is unmounted."
    )]
    Ready(MountedArgument),
    /// Show what a mounted image has read, and from where
    #[command(after_help = "Example:\n  lambent image stats /mnt/scorer --json")]
    Stats(MountedArgument),
    /// Show what starts of an image touch: chunks, files, bytes by directory
    #[command(after_help = "Example:\n  lambent image trace scorer")]
    Trace(NameArgument),
    /// Remove an image; its chunks stay until garbage collection
    #[command(after_help = "Example:\n  lambent image rm scorer:1")]
    Rm(NameArgument),
}

#[derive(Debug, Args)]
pub(crate) struct PushArguments {
    /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REPO:TAG], or a registry reference
    pub(crate) source: SourceSpec,
    /// Name in the store [default: from SOURCE]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Platform to choose from an index, as linux/arm64/v8 [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<Platform>,
    /// How data chunks are compressed before they are sealed
    #[arg(long, value_enum, default_value_t = CompressionArgument::Lz4)]
    pub(crate) compression: CompressionArgument,
    /// Who shares chunks with this image: all accounts of the store, or this one alone
    #[arg(long, value_enum, default_value_t = ScopeArgument::Shared)]
    pub(crate) salt_scope: ScopeArgument,
    /// Threads that read and seal [default: as many as the machine has]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Largest sum of unpacked bytes, as 10GiB
    #[arg(long, value_name = "SIZE", default_value = "10GiB")]
    pub(crate) unpacked_max: Size,
    /// Largest number of entries in all layers; memory grows by about 200 bytes with each
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    pub(crate) entries_max: u64,
    /// Registry (HOST[:PORT]) to speak to without TLS; loopback ones always are
    #[arg(long, value_name = "HOST")]
    pub(crate) plain_http: Vec<String>,
    /// Do everything but store: show what would be new
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgument {
    /// The image's name, as `lambent image ls` shows it
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct DaemonArguments {
    /// Serve, as the child of a keeper, whose line is standard input
    #[arg(long)]
    pub(crate) child: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MountArguments {
    /// The image's name, as `lambent image ls` shows it
    pub(crate) name: String,
    /// Directory to mount on
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct MountedArgument {
    /// The image's name, or a directory that it is mounted on
    #[arg(value_name = "NAME|DIR")]
    pub(crate) mounted: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The image's name, as `lambent image ls` shows it
    pub(crate) name: String,
    /// File to write; it appears when it is complete
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// One image
    pub(crate) first: String,
    /// Another image
    pub(crate) second: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CompressionArgument {
    /// Plain bytes
    None,
    /// Fast to open
    Lz4,
    /// Smaller
    Zstd,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum NetworkArgument {
    /// Nothing but themselves
    Off,
    /// Other machines, by address translation
    Nat,
}

impl From<NetworkArgument> for Network {
    fn from(argument: NetworkArgument) -> Self {
        match argument {
            NetworkArgument::Off => Self::Off,
            NetworkArgument::Nat => Self::Outbound,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ScopeArgument {
    /// All accounts
    Shared,
    /// This account alone
    Account,
}
