//! The public HTTP server: the Lambda API, function URLs, the registry, CloudWatch Logs reading, STS and metrics on one
//! port.
//!
//! The only crate that authenticates people. It holds nothing durable: what must survive is handed to `control` before
//! it is acknowledged.
//!
//! Read first: [`Gateway`], `lambda::Call`, `lambda::model::Model`.

mod answer;
mod asynchronous;
mod authorization;
mod autoscaling;
mod body;
mod calendar;
mod concurrency_limits;
mod destinations;
mod detached;
mod due;
mod ecr;
mod event_sources;
mod function_urls;
mod gateway;
mod invocation;
mod json_error;
mod json_services;
mod lambda;
mod logs;
mod messaging;
mod metrics;
mod micro_batch;
mod provisioned;
mod query;
mod registry;
mod response_cache;
mod restore_watch;
mod server;
mod sigv4;
mod snapshots;
mod start_records;
mod sts;

pub use crate::gateway::{Gateway, GatewayError, GatewayParts, GatewaySettings};
pub use crate::messaging::{Messaging, MessagingError, MessagingSettings};
pub use crate::response_cache::SharedAnswers;
pub use crate::sigv4::{Authorization, AuthorizationParseError, signed_text};
