//! Decisions by tables and by stories.

use super::{Choice, Demand, EnvironmentId, Limits, Next, Patience, Pool, Shortage};

type TestPool = Pool<u64, &'static str>;

fn pool(environments_max: usize, memory_mb_max: u64) -> TestPool {
    Pool::new(Limits {
        environments_max,
        memory_mb_max,
        starts_max: usize::MAX,
    })
}

fn demand(revision: &str, patience: Patience) -> Demand<'_> {
    Demand {
        revision,
        arn: &revision[..1],
        memory_mb: 100,
        patience,
    }
}

fn start(pool: &mut TestPool, revision: &str) -> EnvironmentId {
    match pool.choose(demand(revision, Patience::None), "first") {
        Choice::Start { id, .. } => {
            pool.introduce(id, id.0);
            pool.serving(id);
            id
        }
        other => panic!("not started: {other:?}"),
    }
}

fn idle(pool: &mut TestPool, revision: &str) -> EnvironmentId {
    let id = start(pool, revision);
    pool.settling(id);
    assert_eq!(pool.release(id), Next::Rest);
    id
}

#[test]
fn the_one_used_last_serves_first() {
    let mut pool = pool(10, 10_000);
    let ids = [start(&mut pool, "a1"), start(&mut pool, "a1"), start(&mut pool, "a1")];
    for id in [ids[1], ids[2], ids[0]] {
        pool.release(id);
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        match pool.choose(demand("a1", Patience::Some), "next") {
            Choice::Warm(handle, _) => order.push(handle),
            other => panic!("not warm: {other:?}"),
        }
    }
    assert_eq!(order, [ids[0].0, ids[2].0, ids[1].0]);
}

#[test]
fn all_busy_starts_another_at_once() {
    let mut pool = pool(10, 10_000);
    start(&mut pool, "a1");
    let choice = pool.choose(demand("a1", Patience::Some), "next");
    assert!(matches!(choice, Choice::Start { .. }), "{choice:?}");
    assert_eq!(pool.counts().starting, 1);
}

#[test]
fn one_waits_for_each_that_has_answered() {
    let mut pool = pool(10, 10_000);
    let id = start(&mut pool, "a1");
    pool.settling(id);
    let choice = pool.choose(demand("a1", Patience::Some), "next");
    assert!(matches!(choice, Choice::Wait(_)), "{choice:?}");
    let choice = pool.choose(demand("a1", Patience::Some), "after");
    assert!(matches!(choice, Choice::Start { .. }), "{choice:?}");
    assert_eq!(pool.release(id), Next::Serve("next"));
    assert_eq!(pool.counts().busy, 1);
}

#[test]
fn who_gives_up_waiting_is_served_once() {
    let mut pool = pool(10, 10_000);
    let id = start(&mut pool, "a1");
    pool.settling(id);
    let Choice::Wait(wait) = pool.choose(demand("a1", Patience::Some), "next") else {
        panic!("it does not wait");
    };
    assert_eq!(pool.give_up_waiting("a1", wait), Some("next"));
    assert_eq!(pool.give_up_waiting("a1", wait), None);
    assert_eq!(pool.release(id), Next::Rest);
}

#[test]
fn idle_ones_of_others_make_room_oldest_first() {
    let mut pool = pool(2, 10_000);
    let old = idle(&mut pool, "a1");
    idle(&mut pool, "b1");
    match pool.choose(demand("c1", Patience::Some), "next") {
        Choice::Start { evicted, .. } => assert_eq!(evicted, [old.0]),
        other => panic!("not started: {other:?}"),
    }
    assert!(!pool.leave_if_idle(old));
}

#[test]
fn no_room_evicts_nobody() {
    let mut pool = pool(10, 250);
    start(&mut pool, "a1");
    idle(&mut pool, "b1");
    let demand = Demand {
        memory_mb: 200,
        ..demand("c1", Patience::Some)
    };
    let shortage = Shortage::Memory {
        needed: 200,
        used: 100,
        max: 250,
    };
    assert_eq!(pool.choose(demand, "next"), Choice::Full("next", shortage));
    assert_eq!(pool.counts().idle, 1);
}

#[test]
fn too_many_environments_are_refused() {
    let mut pool = pool(1, 10_000);
    start(&mut pool, "a1");
    let choice = pool.choose(demand("a1", Patience::Some), "next");
    assert_eq!(choice, Choice::Full("next", Shortage::Environments { max: 1 }));
}

#[test]
fn retiring_ends_idle_now_and_busy_later() {
    let mut pool = pool(10, 10_000);
    let (busy, resting, other) = (start(&mut pool, "a1"), idle(&mut pool, "a1"), idle(&mut pool, "b1"));
    let kept = idle(&mut pool, "a2");
    assert_eq!(pool.retire("a", &["a2".to_owned()]), [resting.0]);
    assert_eq!(pool.release(busy), Next::Stop);
    assert_eq!(pool.counts().idle, 2);
    assert!(pool.leave_if_idle(other) && pool.leave_if_idle(kept));
}

#[test]
fn an_old_lease_works_once_more_and_leaves_nothing() {
    let mut pool = pool(10, 10_000);
    let old = idle(&mut pool, "a1");
    assert_eq!(pool.retire("a", &["a2".to_owned()]), [old.0]);
    pool.remove(old);
    let again = start(&mut pool, "a1");
    assert_eq!(pool.release(again), Next::Stop);
    pool.remove(again);
    assert!(pool.is_empty() && pool.revisions.is_empty());
}

#[test]
fn memory_comes_back_when_one_leaves() {
    let mut pool = pool(10, 100);
    let id = idle(&mut pool, "a1");
    assert!(pool.leave_if_idle(id));
    let next = start(&mut pool, "b1");
    pool.remove(id);
    pool.remove(next);
    assert_eq!((pool.memory_mb, pool.count), (0, 0));
}

#[test]
fn a_closed_pool_takes_nothing() {
    let mut pool = pool(10, 10_000);
    let (busy, resting) = (start(&mut pool, "a1"), idle(&mut pool, "a1"));
    assert_eq!(pool.close(), [resting.0]);
    assert_eq!(
        pool.choose(demand("a1", Patience::Some), "next"),
        Choice::Closed("next")
    );
    assert_eq!(pool.release(busy), Next::Stop);
}
