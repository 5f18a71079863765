//! Targets, states and metrics from plans and reports.

use super::{metrics_text, standing, targets};
use api::{FunctionIdentity, Lease, ProvisionFailure, ProvisionReport, ProvisionTarget};
use control::{ProvisionPart, ProvisionWish, ProvisionedConcurrency};
use std::sync::Arc;

fn identity(version: &str) -> FunctionIdentity {
    FunctionIdentity {
        version: version.to_owned(),
        ..api::example_lease(version).function
    }
}

/// A lease whose revision is its version.
fn lease(version: &str) -> Arc<Lease> {
    Arc::new(Lease {
        function: identity(version),
        ..api::example_lease(version)
    })
}

fn part(version: &str, count: u32) -> ProvisionPart {
    ProvisionPart {
        version: version.to_owned(),
        count,
        lease: Some(lease(version)),
        refusal: None,
    }
}

fn wish(qualifier: &str, parts: Vec<ProvisionPart>, held: Option<ProvisionPart>) -> ProvisionWish {
    ProvisionWish {
        asked: ProvisionedConcurrency {
            qualifier: qualifier.to_owned(),
            requested: parts.iter().map(|part| u64::from(part.count)).sum(),
            modified_ms: 5,
        },
        parts,
        held,
    }
}

fn report(version: &str, ready: u32, failure: Option<ProvisionFailure>) -> ProvisionReport {
    ProvisionReport {
        revision: version.to_owned(),
        function: identity(version),
        wanted: 4,
        asked_ms: 5,
        ready,
        busy: 1,
        in_flight: 2,
        invocations: 3,
        spillovers: 7,
        failure,
    }
}

fn counts(targets: &[ProvisionTarget]) -> Vec<(&str, u32)> {
    let counts = targets
        .iter()
        .map(|target| (target.lease.revision.as_str(), target.count));
    counts.collect()
}

#[test]
fn aliases_of_one_version_add_up_and_what_lingers_does_not() {
    let plan = [
        wish("a", vec![part("1", 2)], None),
        wish("b", vec![part("1", 3)], Some(part("2", 3))),
    ];
    let lingering = |version: &str, count| ProvisionTarget {
        lease: lease(version),
        count,
        asked_ms: 1,
    };
    assert_eq!(counts(&targets(&plan, Vec::new())), [("1", 5), ("2", 3)]);
    let kept = vec![lingering("1", 4), lingering("3", 1)];
    assert_eq!(counts(&targets(&plan, kept)), [("1", 5), ("2", 3), ("3", 1)]);
}

fn check(wish: &ProvisionWish, reports: &[ProvisionReport], expected: (u32, u32, &str, Option<&str>)) {
    let found = standing(wish, reports);
    assert_eq!(
        (found.available, found.allocated, found.status, found.reason.as_deref()),
        expected
    );
}

#[test]
fn states_are_lambdas() {
    let four = wish("1", vec![part("1", 4)], None);
    check(&four, &[], (0, 0, "IN_PROGRESS", None));
    check(&four, &[report("1", 3, None)], (3, 3, "IN_PROGRESS", None));
    check(&four, &[report("1", 4, None)], (4, 4, "READY", None));
    let failure = ProvisionFailure::Init("Runtime.ExitError: exit status 1".to_owned());
    let failed = report("1", 1, Some(failure));
    let reason = "FUNCTION_ERROR_INIT_FAILURE: Runtime.ExitError: exit status 1";
    check(&four, std::slice::from_ref(&failed), (1, 1, "FAILED", Some(reason)));
    let mut asked_again = four.clone();
    asked_again.asked.modified_ms = 6;
    check(&asked_again, &[failed], (1, 1, "IN_PROGRESS", None));
}

#[test]
fn a_moving_alias_is_served_by_what_was_there() {
    let moving = wish("live", vec![part("2", 4)], Some(part("1", 4)));
    let reports = [report("1", 4, None), report("2", 1, None)];
    check(&moving, &reports, (4, 1, "IN_PROGRESS", None));
}

#[test]
fn a_version_that_cannot_run_fails_by_name() {
    let mut refused = part("1", 1);
    (refused.lease, refused.refusal) = (None, Some("the image is gone".to_owned()));
    check(
        &wish("1", vec![refused], None),
        &[],
        (0, 0, "FAILED", Some("the image is gone")),
    );
}

#[test]
fn metrics_name_account_function_and_version() {
    assert_eq!(metrics_text(&[]), "");
    let text = metrics_text(&[report("1", 4, None)]);
    let labels = r#"{account="123456789012",function="name",version="1"}"#;
    for line in [
        format!("lambent_provisioned_environments{labels} 4"),
        format!("lambent_provisioned_concurrency_utilization{labels} 0.25"),
        format!("lambent_provisioned_concurrency_invocations_total{labels} 3"),
        format!("lambent_provisioned_concurrency_spillover_invocations_total{labels} 7"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
