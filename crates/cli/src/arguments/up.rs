//! `lambent up`.

use crate::age::Age;
use crate::file_systems::FileSystemArgument;
use crate::size::Size;
use api::Network;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// Queues and topics that an account's functions may name, beside those of the account's own number: an account or *,
    /// and an ARN with * and ?, as in a policy; may be given several times
    #[arg(long, value_name = "ACCOUNT=ARN", value_parser = message_access)]
    pub(crate) message_access: Vec<(String, String)>,
    /// Waits before the second and the third try of an asynchronous event whose function failed
    #[arg(long, value_name = "AGE,AGE", value_parser = retry_waits, default_value = "1m,2m")]
    pub(crate) retry_waits: [Age; 2],
    /// Ask a destination that does not take a record this long, then keep the record (lambent function failures)
    #[arg(long, value_name = "AGE", default_value = "6h")]
    pub(crate) deliver_for: Age,
    /// Memory for the answers that functions keep by the tag lambent:response-cache, all together
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    pub(crate) response_cache: Size,
    /// Keep these answers in memcached, too: a file that names the servers, as a worker's zone_cache does
    #[arg(long, value_name = "FILE")]
    pub(crate) response_cache_fleet: Option<PathBuf>,
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

/// `AGE,AGE`.
fn retry_waits(text: &str) -> Result<[Age; 2], String> {
    let (first, second) = text.split_once(',').ok_or("expected two ages, as in 1m,2m")?;
    Ok([first.parse()?, second.parse()?])
}

/// `ACCOUNT=ARN`; what each may be is checked where it is used.
fn message_access(text: &str) -> Result<(String, String), String> {
    let expected = "expected ACCOUNT=ARN, as in 000000000000=arn:aws:sqs:*:123456789012:*";
    let (account, resource) = text.split_once('=').ok_or(expected)?;
    Ok((account.to_owned(), resource.to_owned()))
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
