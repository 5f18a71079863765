//! The Lambda API, 2015-03-31: from an authenticated request to a handler and back, driven by the model of botocore.
//!
//! `model` holds the table of operations and shapes; `route` finds the operation; `input` gathers the members into one
//! JSON object; `validation` checks it; `operations` names the handler; `output` puts the answer on the wire. Handlers
//! live in one file for each area and know nothing of HTTP. The three operations that invoke do not pass through
//! `operations`: their bodies are opaque bytes and their path is hot.

mod aliases;
mod call;
mod concurrency;
pub(crate) mod date;
mod dispatch;
mod errors;
mod event_invoke;
mod event_source_mappings;
pub(crate) mod function_name;
mod function_settings;
mod function_urls;
mod functions;
mod input;
pub(crate) mod invoke;
mod invoke_async;
mod layers;
pub(crate) mod model;
mod operations;
mod output;
mod policies;
mod response_stream;
mod route;
mod tags;
mod validation;
mod versions;

pub(crate) use call::{ApiError, Call};
pub(crate) use dispatch::serve;
