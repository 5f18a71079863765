//! The services that events are sent to and taken from: SQS and SNS by AWS's SDK, and HTTP endpoints that the operator
//! has named.
//!
//! All accounts share the operator's credentials, as they come by AWS's ordinary chain (`access` says who may name what);
//! nothing is asked of the chain before the first message. A region's client is made when its first queue or topic is named.

mod access;
mod error;
mod http;
mod queue;
mod topic;

pub(crate) use error::SendError;
pub(crate) use http::HttpMessage;
pub(crate) use queue::{Message, QueueArn, Receive};

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One lost SYN costs 1 s and two cost 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// One try of one call: longer than the longest poll, 20 s.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// With the SDK's two retries.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(65);
/// Queues whose URL is remembered; beyond it all are forgotten and asked for again.
const QUEUE_URLS_MAX: usize = 4_096;
/// Regions whose clients are kept: more than AWS has. Tenants name regions, also such as do not exist.
const REGIONS_MAX: usize = 64;

/// What the operator tunes.
#[derive(Clone, Default)]
pub struct MessagingSettings {
    /// SQS elsewhere than AWS's.
    pub sqs_endpoint: Option<String>,
    /// SNS elsewhere than AWS's.
    pub sns_endpoint: Option<String>,
    /// URLs of HTTP endpoints by the names that functions use: `arn:aws:events:REGION:ACCOUNT:api-destination/NAME`. They
    /// may hold secrets, so they are never shown.
    pub http_destinations: BTreeMap<String, String>,
    /// Queues and topics that an account's functions may name beside those of its own number: an account or `*`, and an
    /// ARN whose parts may have `*` and `?`.
    pub message_access: Vec<(String, String)>,
}

/// Why messages cannot be sent at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessagingError {
    /// The HTTP client cannot be made.
    #[error("cannot prepare HTTPS: {0}")]
    Https(#[source] reqwest::Error),
    /// A URL is none.
    #[error("the URL of the HTTP destination {name} is not one: {source}")]
    Url {
        /// The destination's name.
        name: String,
        /// What is wrong.
        source: url::ParseError,
    },
    /// Whoever may name queues and topics cannot be read.
    #[error("cannot use the message access {grant}: {reason}")]
    Access {
        /// As it was given: `ACCOUNT=ARN`.
        grant: String,
        /// What is wrong.
        reason: String,
    },
}

/// Clients of all services. Cheap to clone.
#[derive(Clone)]
pub struct Messaging(Arc<State>);

struct State {
    shared: SdkConfig,
    sqs_endpoint: Option<String>,
    sns_endpoint: Option<String>,
    queues: Mutex<HashMap<String, aws_sdk_sqs::Client>>,
    topics: Mutex<HashMap<String, aws_sdk_sns::Client>>,
    queue_urls: Mutex<HashMap<String, String>>,
    http: reqwest::Client,
    http_destinations: HashMap<String, url::Url>,
    grants: Vec<access::Grant>,
}

impl Messaging {
    /// Reads where credentials come from; sends nothing.
    ///
    /// # Errors
    /// An HTTP destination's URL is none, message access cannot be read, or the TLS of this machine cannot be used.
    pub async fn connect(region: &str, settings: MessagingSettings) -> Result<Self, MessagingError> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let shared = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .timeout_config(timeouts)
            .region(Region::new(region.to_owned()))
            .load()
            .await;
        let destinations = settings.http_destinations.into_iter().map(|(name, text)| {
            let url = text.parse();
            url.map(|url| (name.clone(), url))
                .map_err(|source| MessagingError::Url { name, source })
        });
        let access = &settings.message_access;
        let grants = access
            .iter()
            .map(|(account, resource)| access::Grant::parse(account, resource));
        Ok(Self(Arc::new(State {
            shared,
            sqs_endpoint: settings.sqs_endpoint,
            sns_endpoint: settings.sns_endpoint,
            queues: Mutex::default(),
            topics: Mutex::default(),
            queue_urls: Mutex::default(),
            http: http::client().map_err(MessagingError::Https)?,
            http_destinations: destinations.collect::<Result<_, _>>()?,
            grants: grants.collect::<Result<_, _>>()?,
        })))
    }

    /// Whether the operator has named an HTTP destination so.
    pub(crate) fn has_http_destination(&self, name: &str) -> bool {
        self.0.http_destinations.contains_key(name)
    }

    fn queue_client(&self, region: &str) -> aws_sdk_sqs::Client {
        let mut clients = lock(&self.0.queues);
        make_room(&mut clients, region);
        let client = clients.entry(region.to_owned()).or_insert_with(|| {
            let mut config = aws_sdk_sqs::config::Builder::from(&self.0.shared);
            config.set_region(Some(Region::new(region.to_owned())));
            if let Some(endpoint) = &self.0.sqs_endpoint {
                config.set_endpoint_url(Some(endpoint.clone()));
            }
            aws_sdk_sqs::Client::from_conf(config.build())
        });
        client.clone()
    }

    fn topic_client(&self, region: &str) -> aws_sdk_sns::Client {
        let mut clients = lock(&self.0.topics);
        make_room(&mut clients, region);
        let client = clients.entry(region.to_owned()).or_insert_with(|| {
            let mut config = aws_sdk_sns::config::Builder::from(&self.0.shared);
            config.set_region(Some(Region::new(region.to_owned())));
            if let Some(endpoint) = &self.0.sns_endpoint {
                config.set_endpoint_url(Some(endpoint.clone()));
            }
            aws_sdk_sns::Client::from_conf(config.build())
        });
        client.clone()
    }

    fn known_queue_url(&self, arn: &str) -> Option<String> {
        lock(&self.0.queue_urls).get(arn).cloned()
    }

    fn learn_queue_url(&self, arn: &str, url: &str) {
        let mut urls = lock(&self.0.queue_urls);
        if urls.len() >= QUEUE_URLS_MAX {
            urls.clear();
        }
        urls.insert(arn.to_owned(), url.to_owned());
    }

    fn forget_queue_url(&self, arn: &str) {
        lock(&self.0.queue_urls).remove(arn);
    }
}

/// Forgets all clients rather than keep one for every region that anybody has ever named.
fn make_room<T>(clients: &mut HashMap<String, T>, region: &str) {
    if clients.len() >= REGIONS_MAX && !clients.contains_key(region) {
        clients.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Messaging {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Messaging")
            .field("sqs_endpoint", &self.0.sqs_endpoint)
            .field("sns_endpoint", &self.0.sns_endpoint)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MessagingSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MessagingSettings")
            .field("sqs_endpoint", &self.sqs_endpoint)
            .field("sns_endpoint", &self.sns_endpoint)
            .field("http_destinations", &self.http_destinations.keys())
            .field("message_access", &self.message_access)
            .finish()
    }
}
