//! One authenticated request.

use super::error::RegistryError;
use crate::Gateway;
use axum::http::HeaderMap;
use chunk::Account;
use control::Packages;
use control::packages::Repositories;
use std::collections::HashMap;

/// What every handler gets. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) account: Account,
    pub(super) packages: Packages,
}

impl Caller {
    pub(super) fn new(gateway: &Gateway, account: Account) -> Self {
        Self {
            account,
            packages: gateway.control.packages().clone(),
        }
    }

    pub(super) fn repositories(&self) -> &Repositories {
        self.packages.repositories()
    }
}

/// Entries of a list where the client names no number, and the most it gets.
const PAGE_MAX: usize = 1_000;

/// The part of a list that a query asks for.
pub(super) fn page_of(query: &HashMap<String, String>) -> Result<(usize, Option<String>), RegistryError> {
    let count = match query.get("n") {
        None => PAGE_MAX,
        Some(text) => text.parse::<usize>().map_err(|_| {
            RegistryError::new(
                axum::http::StatusCode::BAD_REQUEST,
                "PAGINATION_NUMBER_INVALID",
                "n must be a whole number from 0 on",
            )
        })?,
    };
    Ok((count.min(PAGE_MAX), query.get("last").cloned()))
}

/// The query's pairs; of a key that stands twice the last.
pub(super) fn query_of(query: Option<&str>) -> HashMap<String, String> {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .into_owned()
        .collect()
}

/// A header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
