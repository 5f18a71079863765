use super::*;
use futures::FutureExt;

fn permits() -> Permits {
    Permits::new(Amount {
        requests: 4,
        bytes: 400,
    })
}

#[test]
fn demand_goes_first_and_prefetch_has_its_part() {
    let permits = permits();
    let mut prefetches: Vec<_> = (0..6)
        .map(|_| Box::pin(permits.acquire(Urgency::Prefetch, 1)))
        .collect();
    let granted: Vec<_> = prefetches.iter_mut().filter_map(|wait| wait.now_or_never()).collect();
    assert_eq!(granted.len(), 3, "three quarters");
    let demand = permits.acquire(Urgency::Demand, 1).now_or_never().unwrap();
    let mut waiting = Box::pin(permits.acquire(Urgency::Demand, 1));
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(permits.usage().waiting_demands, 1);
    assert_eq!(permits.usage().waiting_prefetches, 3);
    drop(granted);
    assert!(
        (&mut waiting).now_or_never().is_some(),
        "before the prefetches that came earlier"
    );
    drop(demand);
}

#[test]
fn bytes_bound_too_and_nobody_is_overtaken() {
    let permits = permits();
    let large = permits.acquire(Urgency::Demand, 1000).now_or_never().unwrap();
    assert_eq!(permits.usage().in_flight.bytes, 200, "more than fits counts as half");
    let second = permits.acquire(Urgency::Demand, 150).now_or_never().unwrap();
    let mut third = Box::pin(permits.acquire(Urgency::Demand, 100));
    assert!((&mut third).now_or_never().is_none());
    let mut small = Box::pin(permits.acquire(Urgency::Demand, 1));
    assert!((&mut small).now_or_never().is_none(), "would fit, but stands behind");
    drop(large);
    assert!((&mut third).now_or_never().is_some());
    assert!((&mut small).now_or_never().is_some());
    drop(second);
}

#[test]
fn who_may_as_well_do_without_overtakes_nobody() {
    let permits = permits();
    let first = permits.try_acquire(Urgency::Prefetch, 300).unwrap();
    assert!(
        permits.try_acquire(Urgency::Prefetch, 150).is_none(),
        "prefetches have their part"
    );
    let second = permits.try_acquire(Urgency::Demand, 150).unwrap();
    let mut waiting = Box::pin(permits.acquire(Urgency::Demand, 100));
    assert!((&mut waiting).now_or_never().is_none());
    assert!(permits.try_acquire(Urgency::Demand, 1).is_none(), "would fit");
    assert!(permits.try_acquire(Urgency::Prefetch, 1).is_none(), "would fit");
    drop(first);
    let third = (&mut waiting).now_or_never().unwrap();
    drop((second, third));
    assert_eq!(permits.usage(), Usage::default());
}

#[test]
fn what_is_given_up_comes_back() {
    let permits = permits();
    let held: Vec<_> = (0..4)
        .map(|_| permits.acquire(Urgency::Demand, 1).now_or_never().unwrap())
        .collect();
    // Thousands give up in the queue, and one that was granted a permit without looking.
    for _ in 0..10_000 {
        assert!(permits.acquire(Urgency::Demand, 1).now_or_never().is_none());
    }
    let mut blind = Box::pin(permits.acquire(Urgency::Demand, 1));
    assert!((&mut blind).now_or_never().is_none());
    drop(held);
    assert_eq!(permits.usage().in_flight.requests, 1);
    drop(blind);
    assert_eq!(permits.usage(), Usage::default());
    assert!(permits.lock().demands.is_empty());
}
