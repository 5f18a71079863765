//! Production traffic: what is asked for ahead, at once and later.

pub(super) mod asynchronous;
pub(super) mod micro_batch;
pub(super) mod provisioned;
pub(super) mod response_cache;
