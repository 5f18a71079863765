//! The record: accounts, access keys, functions, their versions, aliases and settings, and what a worker needs in
//! order to run them.
//!
//! This crate is the only writer of the database. It never runs a function, never speaks HTTP and never decides who
//! may call. Whether a caller may do what it asks is settled before it comes here; which version an invocation runs
//! is a pure function of the record and of a number that the caller draws.
//!
//! Read first: [`Control`], [`FunctionRecord`], [`Resolved`].

// Records (engineer 4).
mod access_keys;
mod accounts;
mod aliases;
mod arn;
mod capacity_provider;
mod code;
mod code_token;
mod configuration;
mod database;
mod error;
mod file_systems;
mod function_record;
mod functions;
mod index;
mod key_policy;
mod lease;
mod page;
mod prepare;
mod reclaim;
mod snap_start;
mod states;
mod validation;
mod versions;

#[cfg(test)]
mod record_tests;

// Packages (engineer 7).
pub mod packages;

// Slices (engineer 5): one line for each module, in alphabetical order, and their `pub use` lines at the end.
mod autoscaling;
mod column;
mod concurrency;
mod deliveries;
mod event_invoke;
mod event_sources;
mod events;
mod function_settings;
mod function_urls;
mod layers;
mod log_store;
mod policies;
mod policy_statement;
mod qualified_name;
mod qualified_table;
mod restores;
#[cfg(test)]
mod setting_tests;
mod shared_secrets;
mod start_store;
mod tags;
mod traffic_tags;
mod url_index;

pub use access_keys::{AccessKey, KeyStatus, Secret};
pub use accounts::AccountRecord;
pub use aliases::{AliasChange, AliasRecord};
pub use capacity_provider::CapacityConfig;
pub use code::{CodeRecord, CodeSource};
pub use configuration::{
    Configuration, FileSystemReference, ImageConfig, LayerReference, LoggingConfig, LoggingSettings, PackageType,
    Settings, Variables, VpcConfig,
};
pub use error::ControlError;
pub use function_record::FunctionRecord;
pub use functions::{CodeUpdate, FunctionList, NewFunction};
pub use lease::{FunctionChange, Resolved};
pub use page::{Page, PageRequest};
pub use snap_start::{Optimization, SnapshotEnd, SnapshotFacts, SnapshotWish};
pub use states::{LastUpdate, Lifecycle, Reason, State};
pub use versions::PublishRequest;

pub use autoscaling::{
    SCALABLE_TARGETS_MAX, ScalableResource, ScalableTarget, ScalableTargetChange, ScalingActivity, ScalingPlan,
    ScalingPolicy, ScalingSuspended, ScheduledAction,
};
pub use concurrency::{ProvisionPart, ProvisionWish, ProvisionedConcurrency, UNRESERVED_CONCURRENCY_MIN};
pub use deliveries::{
    DeliveryKind, FAILED_BODY_BYTES_MAX, FAILED_DELIVERIES_MAX, FailedDelivery, NewDelivery, QueuedDelivery,
};
pub use event_invoke::{Destinations, EventInvokeChange, EventInvokeConfig};
pub use event_sources::{
    EVENT_SOURCES_MAX, EventSource, EventSourceFilter, EventSourceSettings, EventSourceState, NewEventSource,
};
pub use events::{NewEvent, QUEUED_BYTES_MAX, QUEUED_EVENTS_MAX, QueuedEvent};
pub use function_settings::{AccountUsage, RuntimeManagement};
pub use function_urls::{Cors, FunctionUrl, FunctionUrlChange};
pub use key_policy::{Decision, KEY_POLICY_CHARACTERS_MAX, KeyPolicy, KeyPolicyError};
pub use layers::{LAYERS_MAX, LayerDescription, LayerFilter, LayerName, LayerVersion};
pub use log_store::{LogGroup, LogGroupName, LogLine, LogPosition, LogRead, LogScan, LogStream, StreamList};
pub use policies::{PolicyRecord, PolicyTarget};
pub use policy_statement::{Condition, NewPermission, PolicyQuestion, Principal, PrincipalInvalid, Statement};
pub use qualified_name::QualifiedName;
pub use restores::{SlowerRestores, is_restore};
pub use start_store::{STARTS_MAX, StartRecord};
pub use tags::{TAG_KEY_CHARACTERS_MAX, TAG_VALUE_CHARACTERS_MAX, TAGS_MAX};
pub use traffic_tags::{Batching, ResponseCaching, Traffic};

pub use packages::{PackageError, Packages, PackagesParts, PreparedImage, RuntimeBase, ZipCode};

use chunk::Account;
use std::fmt;
use std::sync::Arc;
use tokio::sync::broadcast;

/// The record. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

/// What a [`Control`] is made from.
pub struct ControlParts {
    /// `sqlite:///path/file.db`, or a PostgreSQL URL.
    pub database: String,
    /// The region that ARNs name.
    pub region: String,
    /// Where code is kept and made into devices.
    pub packages: Packages,
    /// What functions reach.
    pub network: api::Network,
    /// Milliseconds since 1970.
    pub clock: fn() -> u64,
}

struct Inner {
    database: database::Database,
    region: String,
    packages: Packages,
    network: api::Network,
    clock: fn() -> u64,
    keys: access_keys::KeyCache,
    index: index::FunctionIndex,
    urls: url_index::UrlIndex,
    changes: broadcast::Sender<FunctionChange>,
    preparing: prepare::Preparing,
    link_key: aws_lc_rs::hmac::Key,
    file_systems: std::sync::OnceLock<std::collections::BTreeSet<String>>,
    event_bell: events::EventBell,
    held: concurrency::HeldAliases,
    scaling_bell: Arc<tokio::sync::Notify>,
    event_writer: events::writer::EventWriter,
    delivery_bell: Arc<tokio::sync::Notify>,
    event_source_bell: Arc<tokio::sync::Notify>,
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Control")
            .field("region", &self.inner.region)
            .finish_non_exhaustive()
    }
}

/// Changes that a slow listener may fall behind by before it is told that it missed some; it then looks at every
/// function again.
const CHANGES_MAX: usize = 1024;

impl Control {
    /// Opens the record and makes its tables if there are none. Whoever runs functions then calls
    /// [`Control::resume_preparations`]; a tool that looks and leaves does not.
    ///
    /// Errors: the database cannot be opened, or a newer Lambent wrote it.
    pub async fn open(parts: ControlParts) -> Result<Self, ControlError> {
        let database = database::Database::open(&parts.database).await?;
        let (event_writer, event_writes) = events::writer::EventWriter::new();
        let inner = Inner {
            database,
            region: parts.region,
            packages: parts.packages,
            network: parts.network,
            clock: parts.clock,
            keys: access_keys::KeyCache::default(),
            index: index::FunctionIndex::default(),
            urls: url_index::UrlIndex::default(),
            changes: broadcast::channel(CHANGES_MAX).0,
            preparing: prepare::Preparing::default(),
            event_bell: events::EventBell::default(),
            held: concurrency::HeldAliases::default(),
            scaling_bell: Arc::default(),
            event_writer,
            delivery_bell: Arc::default(),
            event_source_bell: Arc::default(),
            link_key: code_token::draw_key(),
            file_systems: std::sync::OnceLock::new(),
        };
        let control = Self { inner: Arc::new(inner) };
        control.refresh_keys().await?;
        // Ends with the record: it holds no strong reference.
        tokio::spawn(access_keys::watch(Arc::downgrade(&control.inner)));
        tokio::spawn(events::writer::write_all(Arc::downgrade(&control.inner), event_writes));
        Ok(control)
    }

    /// The region that ARNs name.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.inner.region
    }

    /// Where code is kept.
    #[must_use]
    pub fn packages(&self) -> &Packages {
        &self.inner.packages
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.inner.clock)()
    }

    /// Tells of each function whose environments may have to end. A listener that lags must look at every function.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<FunctionChange> {
        self.inner.changes.subscribe()
    }

    /// For reading, and for writes of one statement. Writes of several go through [`Control::write`].
    pub(crate) fn pool(&self) -> &sqlx::AnyPool {
        self.inner.database.pool()
    }

    /// Begins a transaction that writes; on SQLite there is one at a time. Nothing happens unless it is committed.
    pub(crate) async fn write(&self) -> Result<database::WriteTransaction, ControlError> {
        self.inner.database.write().await
    }

    /// Must follow every write, of whatever area, that changes what [`Control::resolve`] answers for a function:
    /// code, configuration, versions, aliases, reserved concurrency. Call it after the commit.
    pub(crate) fn function_changed(&self, account: &Account, name: &str) {
        self.inner.index.forget(account, name);
        self.urls_changed(account, name);
        let change = FunctionChange {
            account: account.clone(),
            name: name.to_owned(),
            arn: self.function_arn(account, name),
        };
        // Nobody listening is not an error: a tool that only administers has no environments.
        let _ = self.inner.changes.send(change);
    }
}
