//! The public HTTP server: the Lambda API, function URLs, the registry, CloudWatch Logs reading, STS and metrics on one
//! port.
//!
//! The only crate that authenticates people. It holds nothing durable: what must survive is handed to `control` before
//! it is acknowledged.
//!
//! Read first: [`Gateway`], `lambda::Call`, `lambda::model::Model`.

mod answer;
mod asynchronous;
mod body;
mod calendar;
mod concurrency_limits;
mod detached;
mod ecr;
mod function_urls;
mod gateway;
mod invocation;
mod json_error;
mod json_services;
mod lambda;
mod logs;
mod metrics;
mod query;
mod registry;
mod server;
mod sigv4;
mod start_records;
mod sts;

pub use crate::gateway::{Gateway, GatewayError, GatewayParts, GatewaySettings};
pub use crate::sigv4::{Authorization, AuthorizationParseError, signed_text};
