//! How far a wish for environments is, in Lambda's words.

use api::ProvisionReport;
use control::{ProvisionPart, ProvisionWish};

/// What GetProvisionedConcurrencyConfig says beside what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Environments that serve the version or alias now.
    pub(crate) available: u32,
    /// Environments that are there of what was asked for; other than available while an alias moves.
    pub(crate) allocated: u32,
    /// `IN_PROGRESS`, `READY` or `FAILED`.
    pub(crate) status: &'static str,
    /// What failed.
    pub(crate) reason: Option<String>,
}

impl Default for Standing {
    /// Of a wish that nothing has been done about yet.
    fn default() -> Self {
        Self {
            available: 0,
            allocated: 0,
            status: "IN_PROGRESS",
            reason: None,
        }
    }
}

/// From a wish and from what the worker says of its revisions.
pub(crate) fn standing(wish: &ProvisionWish, reports: &[ProvisionReport]) -> Standing {
    let allocated = wish.parts.iter().map(|part| ready(part, reports)).sum();
    let wanted: u32 = wish.parts.iter().map(|part| part.count).sum();
    let available = wish.held.as_ref().map_or(allocated, |held| ready(held, reports));
    let reason = wish.parts.iter().find_map(|part| failure(wish, part, reports));
    let (status, reason) = match reason {
        _ if allocated >= wanted => ("READY", None),
        Some(reason) => ("FAILED", Some(reason)),
        None => ("IN_PROGRESS", None),
    };
    Standing {
        available,
        allocated,
        status,
        reason,
    }
}

fn report<'a>(part: &ProvisionPart, reports: &'a [ProvisionReport]) -> Option<&'a ProvisionReport> {
    let lease = part.lease.as_ref()?;
    reports.iter().find(|report| report.revision == lease.revision)
}

fn ready(part: &ProvisionPart, reports: &[ProvisionReport]) -> u32 {
    report(part, reports).map_or(0, |report| report.ready.min(part.count))
}

fn failure(wish: &ProvisionWish, part: &ProvisionPart, reports: &[ProvisionReport]) -> Option<String> {
    if let Some(refusal) = &part.refusal {
        return Some(refusal.clone());
    }
    let report = report(part, reports)?;
    // What an earlier wish met is not this one's.
    let is_current = report.asked_ms >= wish.asked.modified_ms;
    report.failure.as_ref().filter(|_| is_current).map(ToString::to_string)
}
