//! Targets by stories.

use super::super::{Choice, Demand, EnvironmentId, Limits, Next, Patience, Pool};
use super::{DEATHS_TO_FAIL, Death, Fresh, LIVED_WELL, PAUSE_FIRST, PAUSE_MAX, STARTING_MAX, pause_after};
use crate::functions::test_lease;
use api::{Initialization, ProvisionFailure, ProvisionReport, ProvisionTarget};
use std::sync::Arc;
use std::time::Duration;

type TestPool = Pool<u64, &'static str>;

const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:name";

fn pool(environments_max: usize) -> TestPool {
    Pool::new(Limits {
        environments_max,
        memory_mb_max: u64::MAX,
        starts_max: usize::MAX,
    })
}

fn target(revision: &str, count: u32) -> ProvisionTarget {
    ProvisionTarget {
        lease: Arc::new(test_lease::lease(revision)),
        count,
        asked_ms: 1,
    }
}

/// Sets the targets and introduces what is started for them.
fn set(pool: &mut TestPool, targets: &[(&str, u32)]) -> Vec<EnvironmentId> {
    let targets = targets.iter().map(|(revision, count)| target(revision, *count));
    pool.set_targets(ARN, targets.collect());
    begin(pool)
}

fn begin(pool: &mut TestPool) -> Vec<EnvironmentId> {
    let fresh = pool.replenish();
    let introduce = |Fresh { id, lease, .. }: &Fresh<u64>| {
        assert_eq!(lease.initialization, Initialization::Provisioned);
        pool.introduce(*id, id.0);
        *id
    };
    fresh.iter().map(introduce).collect()
}

/// All are up and idle.
fn bring_up(pool: &mut TestPool, ids: &[EnvironmentId]) {
    for id in ids {
        assert_eq!(pool.release(*id), Next::Rest);
    }
}

fn demand(revision: &str) -> Demand<'_> {
    Demand {
        revision,
        arn: ARN,
        memory_mb: 128,
        patience: Patience::Some,
    }
}

fn report(pool: &TestPool) -> ProvisionReport {
    let mut reports = pool.provisioned(Some(ARN));
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

fn warm(pool: &mut TestPool, revision: &str) -> EnvironmentId {
    match pool.choose(demand(revision), "event") {
        Choice::Warm(handle, _) => EnvironmentId(handle),
        other => panic!("not warm: {other:?}"),
    }
}

#[test]
fn what_is_missing_is_started_some_at_a_time() {
    let mut pool = pool(100);
    let first = set(&mut pool, &[("one", 10)]);
    assert_eq!(first.len(), STARTING_MAX);
    assert!(begin(&mut pool).is_empty());
    bring_up(&mut pool, &first);
    let rest = begin(&mut pool);
    assert_eq!(rest.len(), 10 - STARTING_MAX);
    bring_up(&mut pool, &rest);
    assert!(begin(&mut pool).is_empty());
    assert_eq!((report(&pool).ready, report(&pool).wanted), (10, 10));
}

#[test]
fn they_serve_first_and_others_only_when_all_are_busy() {
    let mut pool = pool(10);
    let Choice::Start { id: other, .. } = pool.choose(demand("one"), "event") else {
        panic!("not started");
    };
    pool.introduce(other, other.0);
    let ids = set(&mut pool, &[("one", 1)]);
    bring_up(&mut pool, &ids);
    assert_eq!(pool.release(other), Next::Rest);
    assert_eq!(warm(&mut pool, "one"), ids[0]);
    assert_eq!(warm(&mut pool, "one"), other);
    assert!(matches!(pool.choose(demand("one"), "event"), Choice::Start { .. }));
    let said = report(&pool);
    assert_eq!((said.invocations, said.spillovers), (1, 2));
    assert_eq!((said.busy, said.in_flight), (1, 3));
}

#[test]
fn one_that_has_just_answered_is_waited_for() {
    let mut pool = pool(10);
    let ids = set(&mut pool, &[("one", 1)]);
    bring_up(&mut pool, &ids);
    warm(&mut pool, "one");
    pool.settling(ids[0]);
    assert!(matches!(pool.choose(demand("one"), "event"), Choice::Wait(_)));
    assert_eq!(pool.release(ids[0]), Next::Serve("event"));
    assert_eq!((report(&pool).invocations, report(&pool).spillovers), (2, 0));
}

#[test]
fn they_make_place_for_nobody_and_others_make_place_for_them() {
    let mut pool = pool(2);
    let ids = set(&mut pool, &[("one", 1)]);
    bring_up(&mut pool, &ids);
    let Choice::Start { id: other, .. } = pool.choose(demand("two"), "event") else {
        panic!("not started");
    };
    pool.introduce(other, other.0);
    assert!(matches!(pool.choose(demand("three"), "event"), Choice::Full(..)));
    assert_eq!(pool.release(other), Next::Rest);
    pool.set_targets(ARN, vec![target("one", 2)]);
    let fresh = pool.replenish();
    assert_eq!(fresh.len(), 1);
    assert_eq!(fresh[0].evicted, [other.0]);
}

#[test]
fn no_room_is_said_and_tried_again() {
    let mut pool = pool(1);
    let Choice::Start { id: other, .. } = pool.choose(demand("two"), "event") else {
        panic!("not started");
    };
    assert!(set(&mut pool, &[("one", 1)]).is_empty());
    assert!(matches!(report(&pool).failure, Some(ProvisionFailure::NoRoom(_))));
    pool.remove(other);
    let ids = begin(&mut pool);
    assert_eq!(report(&pool).failure, None);
    bring_up(&mut pool, &ids);
    assert_eq!(report(&pool).ready, 1);
}

#[test]
fn a_lower_target_ends_idle_ones_now_and_busy_ones_later() {
    let mut pool = pool(10);
    let ids = set(&mut pool, &[("one", 3)]);
    bring_up(&mut pool, &ids);
    let busy = [warm(&mut pool, "one"), warm(&mut pool, "one")];
    let ended = pool.set_targets(ARN, vec![target("one", 1)]);
    assert_eq!(ended, [ids[0].0]);
    assert_eq!(pool.release(busy[0]), Next::Stop);
    assert_eq!(pool.release(busy[1]), Next::Rest);
    assert_eq!(pool.set_targets(ARN, Vec::new()), [busy[1].0]);
    assert!(pool.provisioned(None).is_empty() && !pool.has_targets());
    ids.iter().for_each(|id| pool.remove(*id));
    assert!(pool.is_empty() && pool.revisions.is_empty());
}

#[test]
fn targets_of_other_functions_stay() {
    let mut pool = pool(10);
    let ids = set(&mut pool, &[("one", 1)]);
    bring_up(&mut pool, &ids);
    assert!(pool.set_targets("arn:other", Vec::new()).is_empty());
    assert_eq!(report(&pool).ready, 1);
}

fn die(pool: &mut TestPool, id: EnvironmentId, lived: Option<Duration>) -> Option<Duration> {
    pool.leave(id);
    let pause = pool.died(id, Death { lived, why: "it broke" });
    pool.remove(id);
    pause.map(|pause| pause.time)
}

#[test]
fn the_dead_are_replaced_at_once_and_later_when_they_die_again() {
    let mut pool = pool(10);
    let soon = Some(Duration::from_secs(1));
    let mut id = set(&mut pool, &[("one", 1)])[0];
    for (lived, expected) in [(soon, None), (Some(LIVED_WELL), None)] {
        bring_up(&mut pool, &[id]);
        assert_eq!(die(&mut pool, id, lived), expected);
        id = begin(&mut pool)[0];
    }
    bring_up(&mut pool, &[id]);
    assert_eq!(die(&mut pool, id, soon), Some(2 * PAUSE_FIRST));
    assert!(begin(&mut pool).is_empty(), "it is paused");
    assert_eq!(report(&pool).failure, None);
}

#[test]
fn a_crash_of_a_handler_is_no_failure_of_the_start_however_often() {
    let mut pool = pool(10);
    let soon = Some(Duration::from_millis(1));
    let mut id = set(&mut pool, &[("one", 1)])[0];
    for _ in 0..3 * DEATHS_TO_FAIL {
        bring_up(&mut pool, &[id]);
        assert_eq!(warm(&mut pool, "one"), id);
        assert_eq!(die(&mut pool, id, soon), None);
        assert_eq!(report(&pool).failure, None);
        id = begin(&mut pool)[0];
    }
    // The same for an event that waited for it.
    bring_up(&mut pool, &[id]);
    warm(&mut pool, "one");
    pool.settling(id);
    assert!(matches!(pool.choose(demand("one"), "event"), Choice::Wait(_)));
    assert_eq!(pool.release(id), Next::Serve("event"));
    assert_eq!(die(&mut pool, id, soon), None);
    assert_eq!((begin(&mut pool).len(), report(&pool).failure), (1, None));
}

#[test]
fn who_dies_again_and_again_without_an_event_fails_by_name() {
    let mut pool = pool(10);
    let mut id = set(&mut pool, &[("one", 1)])[0];
    for death in 1..=DEATHS_TO_FAIL {
        bring_up(&mut pool, &[id]);
        pool.leave(id);
        let (lived, why) = (Some(Duration::from_millis(1)), "it broke");
        if let Some(pause) = pool.died(id, Death { lived, why }) {
            pool.end_pause(&pause);
        }
        pool.remove(id);
        let expected = (death == DEATHS_TO_FAIL).then(|| ProvisionFailure::Init(why.to_owned()));
        assert_eq!(report(&pool).failure, expected, "{death}");
        id = begin(&mut pool)[0];
    }
}

#[test]
fn who_does_not_come_up_fails_by_name_until_one_does() {
    let mut pool = pool(10);
    let ids = set(&mut pool, &[("one", 2)]);
    pool.leave(ids[0]);
    let death = Death {
        lived: None,
        why: "exit status 1",
    };
    let pause = pool
        .died(ids[0], death)
        .expect("the first failure to come up is paused for");
    assert_eq!(pause.time, PAUSE_FIRST);
    assert_eq!(pool.died(ids[1], death), None, "they fail together");
    assert_eq!(
        report(&pool).failure,
        Some(ProvisionFailure::Init("exit status 1".to_owned()))
    );
    ids.iter().for_each(|id| pool.remove(*id));
    pool.end_pause(&pause);
    let again = begin(&mut pool);
    assert_eq!(again.len(), 2);
    bring_up(&mut pool, &again);
    assert_eq!(report(&pool).failure, None);
}

#[test]
fn asking_anew_forgets_failures_and_pauses() {
    let mut pool = pool(10);
    let id = set(&mut pool, &[("one", 1)])[0];
    assert!(die(&mut pool, id, None).is_some());
    assert!(set(&mut pool, &[("one", 1)]).is_empty(), "nothing was asked anew");
    let asked = ProvisionTarget {
        asked_ms: 2,
        ..target("one", 1)
    };
    pool.set_targets(ARN, vec![asked]);
    assert_eq!(report(&pool).failure, None);
    assert_eq!(begin(&mut pool).len(), 1);
}

#[test]
fn a_retired_revision_is_not_started_again() {
    let mut pool = pool(10);
    let ids = set(&mut pool, &[("one", 1)]);
    bring_up(&mut pool, &ids);
    assert_eq!(pool.retire(ARN, &[]), [ids[0].0]);
    pool.remove(ids[0]);
    assert!(begin(&mut pool).is_empty());
}

#[test]
fn a_closed_pool_starts_nothing() {
    let mut pool = pool(10);
    pool.close();
    assert!(set(&mut pool, &[("one", 1)]).is_empty());
}

#[test]
fn changes_are_counted() {
    let mut pool = pool(10);
    let mut last = pool.changes();
    let mut changed = |pool: &TestPool| std::mem::replace(&mut last, pool.changes()) != pool.changes();
    let ids = set(&mut pool, &[("one", 1)]);
    assert!(changed(&pool));
    assert!(set(&mut pool, &[("one", 1)]).is_empty());
    assert!(!changed(&pool), "what is asked for once more is no news");
    bring_up(&mut pool, &ids);
    assert!(changed(&pool));
    warm(&mut pool, "one");
    pool.release(ids[0]);
    assert!(!changed(&pool), "events are no news");
    pool.leave(ids[0]);
    assert!(changed(&pool));
}

#[test]
fn pauses_double_up_to_a_limit() {
    let seconds = [1, 2, 3, 9, 10, 100].map(|failures| pause_after(failures).as_secs());
    assert_eq!(seconds, [1, 2, 4, 256, PAUSE_MAX.as_secs(), PAUSE_MAX.as_secs()]);
}
