//! The gateway and the parts that it is made from.

use crate::authorization::Caller;
use crate::body::BodyBudget;
use crate::concurrency_limits::ConcurrencyLimits;
use crate::lambda::model::{Model, ModelBroken};
use crate::messaging::Messaging;
use crate::metrics::Metrics;
use crate::micro_batch::Batches;
use crate::response_cache::{ResponseCache, SharedAnswers};
use crate::sigv4::{Claim, SignatureFailure, SigningKeys};
use crate::start_records::StartRecords;
use api::Worker;
use axum::http::request::Parts;
use control::Control;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// What the gateway is made from.
pub struct GatewayParts {
    /// The record.
    pub control: Control,
    /// Who runs functions.
    pub worker: Arc<dyn Worker>,
    /// The services that events are sent to and taken from.
    pub messaging: Messaging,
    /// Such as `us-east-1`: the region of ARNs, and the one that signatures must name.
    pub region: String,
    /// Where answers that functions keep by the tag `lambent:response-cache` lie beside this process's memory.
    pub shared_answers: Option<SharedAnswers>,
    /// What a user tunes.
    pub settings: GatewaySettings,
}

/// What a user tunes. The defaults are AWS Lambda's.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Invocations that one account may have at once. Lambda's default quota is 1,000.
    pub account_concurrency_max: u32,
    /// Waits before the second and the third try of an asynchronous event whose function failed: 1 min, 2 min.
    pub retry_waits: [Duration; 2],
    /// The first wait after a throttle or a system error; it doubles up to `backoff_max`. Lambda: 1 s.
    pub backoff_first: Duration,
    /// The longest wait after a throttle or a system error. Lambda: 5 min.
    pub backoff_max: Duration,
    /// Asynchronous events that run at once. Lambda does not say its figure.
    pub asynchronous_max: usize,
    /// How long a destination that does not take a record of an event is asked again and again, before the record is kept
    /// as a failure. Lambda does not say its figure; this is as long as an event itself may wait.
    pub deliver_for: Duration,
    /// Bytes of answers that all functions with the tag `lambent:response-cache` keep together. 256 MiB: what the
    /// worker's memory tier takes, too.
    pub response_cache_bytes_max: u64,
    /// How often target tracking decides. Application Auto Scaling's metric has one point a minute.
    pub scaling_period: Duration,
    /// How long a stopping server waits for requests under way. Lambda's longest function runs 15 min, but whoever sends
    /// SIGTERM (systemd, Kubernetes) kills much sooner; 25 s is below Kubernetes' 30 s.
    pub drain: Duration,
    /// Milliseconds since 1970.
    pub clock: fn() -> u64,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            account_concurrency_max: 1_000,
            retry_waits: [Duration::from_secs(60), Duration::from_secs(120)],
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            asynchronous_max: 256,
            response_cache_bytes_max: 256 * 1024 * 1024,
            deliver_for: Duration::from_secs(6 * 3600),
            scaling_period: Duration::from_secs(60),
            drain: Duration::from_secs(25),
            clock: now_ms,
        }
    }
}

/// The public server. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<GatewayState>);

/// What all requests share.
pub struct GatewayState {
    pub(crate) control: Control,
    pub(crate) worker: Arc<dyn Worker>,
    pub(crate) messaging: Messaging,
    pub(crate) region: String,
    pub(crate) settings: GatewaySettings,
    pub(crate) model: Model,
    pub(crate) signing_keys: SigningKeys,
    pub(crate) concurrency: ConcurrencyLimits,
    pub(crate) starts: StartRecords,
    pub(crate) metrics: Metrics,
    pub(crate) responses: ResponseCache,
    pub(crate) batches: Batches,
    pub(crate) bodies: BodyBudget,
    /// Invocations that nobody waits for, and what follows them.
    pub(crate) tasks: TaskTracker,
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The embedded table of operations cannot be read: a broken build.
    #[error("the embedded model of the Lambda API is broken; run crates/gateway/model/generate.py")]
    Model(#[from] ModelBroken),
}

impl Gateway {
    /// A gateway of these parts. Starts nothing: [`Gateway::serve`] does.
    ///
    /// # Errors
    /// If the embedded model is broken.
    pub fn new(parts: GatewayParts) -> Result<Self, GatewayError> {
        let starts = StartRecords::new(parts.control.clone());
        Ok(Self(Arc::new(GatewayState {
            model: Model::embedded()?,
            signing_keys: SigningKeys::new(),
            concurrency: ConcurrencyLimits::new(parts.settings.account_concurrency_max),
            metrics: Metrics::new(),
            responses: ResponseCache::new(parts.settings.response_cache_bytes_max).with_shared(parts.shared_answers),
            batches: Batches::default(),
            bodies: BodyBudget::new(),
            tasks: TaskTracker::new(),
            starts,
            control: parts.control,
            worker: parts.worker,
            messaging: parts.messaging,
            region: parts.region,
            settings: parts.settings,
        })))
    }

    /// The holder of an access key, if the secret is the key's. For Basic authentication of the registry.
    pub(crate) fn check_key(&self, id: &str, secret: &str) -> Option<Caller> {
        let key = self.control.access_key(id)?;
        let equal = aws_lc_rs::constant_time::verify_slices_are_equal(key.secret.as_bytes(), secret.as_bytes());
        equal.is_ok().then(|| Caller::of(key))
    }

    /// Who a request says it is from; to be verified with its body.
    pub(crate) fn identify<'a>(&self, parts: &'a Parts, service: &'static str) -> Result<Claim<'a>, SignatureFailure> {
        Claim::identify(parts, service, self.now_ms(), |id| self.control.access_key(id))
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        (self.settings.clock)()
    }
}

impl Deref for Gateway {
    type Target = GatewayState;

    fn deref(&self) -> &GatewayState {
        &self.0
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Gateway")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
