//! Second questions. Time is paused: it passes when nothing else can happen.

use super::origins::{Late, Way};
use super::*;

/// Enough answers for "late" to have a meaning.
const WARM: u64 = 40;

/// A cache over an origin whose answers take 10 ms each, and then what the test says, and which is known well enough.
async fn warm_cache(hedge_percent: u32, ways: &[Way]) -> (Cache, Arc<Late>, Vec<ChunkAddress>) {
    let (shelf, addresses) = Shelf::filled(WARM + ways.len() as u64, 100);
    let origin = Arc::new(Late::new(shelf, Duration::from_millis(10)));
    let settings = Settings {
        hedge_percent,
        ..Settings::default()
    };
    let cache = Cache::open(settings, Arc::clone(&origin) as Arc<dyn Origin>).unwrap();
    for address in &addresses[..WARM as usize] {
        demand(&cache, *address).await.unwrap();
    }
    assert_eq!(cache.report().origin.hedges, 0, "all alike, and none late");
    origin.push(ways);
    (cache, origin, addresses[WARM as usize..].to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_asked_for_again_and_the_first_good_one_counts() {
    const LATE: Duration = Duration::from_secs(5);
    // What the two questions meet, ms until the chunk is there, and whether the second one's answer was it.
    let cases = [
        ([Way::After(LATE), Way::Usual], 30, 1),
        ([Way::After(Duration::from_millis(25)), Way::After(LATE)], 25, 0),
        ([Way::After(LATE), Way::Garbled], 5000, 0),
        ([Way::After(LATE), Way::Refused], 5000, 0),
    ];
    for (ways, ms, won) in cases {
        let (cache, _, addresses) = warm_cache(100, &ways).await;
        let begin = Instant::now();
        demand(&cache, addresses[0]).await.unwrap();
        assert_eq!(begin.elapsed().as_millis(), ms, "{ways:?}");
        let report = cache.report();
        let hedges = (report.origin.hedges, report.origin.hedges_won);
        assert_eq!(hedges, (1, won), "{ways:?}");
        assert_eq!(
            report.origin.in_flight_requests, 0,
            "the loser's permit is back: {ways:?}"
        );
        let corrupt = u64::from(matches!(ways[1], Way::Garbled));
        assert_eq!(report.tier(Tier::Origin).corrupt, corrupt, "{ways:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_is_slow_as_a_whole_gets_no_more_than_the_budget() {
    let ways = vec![Way::After(Duration::from_secs(1)); 400];
    let (cache, origin, addresses) = warm_cache(5, &ways).await;
    for address in addresses {
        demand(&cache, address).await.unwrap();
    }
    let report = cache.report().origin;
    let first = WARM + 400;
    assert!(report.hedges * 100 <= first * 5, "{report:?}");
    assert!(report.hedges > 0 && report.hedges_spared > 0, "{report:?}");
    assert_eq!(origin.asked(), first + report.hedges);
}

#[tokio::test(start_paused = true)]
async fn a_second_question_waits_for_no_permit() {
    let ways = [Way::After(Duration::from_secs(1)); 2];
    let (shelf, addresses) = Shelf::filled(WARM + 2, 100);
    let origin = Arc::new(Late::new(shelf, Duration::from_millis(10)));
    let settings = Settings {
        hedge_percent: 100,
        origin_requests: 2,
        ..Settings::default()
    };
    let cache = Cache::open(settings, Arc::clone(&origin) as Arc<dyn Origin>).unwrap();
    for address in &addresses[..WARM as usize] {
        demand(&cache, *address).await.unwrap();
    }
    origin.push(&ways);
    let (one, other) = (addresses[WARM as usize], addresses[WARM as usize + 1]);
    let (one, other) = tokio::join!(demand(&cache, one), demand(&cache, other));
    assert!(one.is_ok() && other.is_ok());
    let report = cache.report().origin;
    assert_eq!((report.hedges, report.hedges_spared), (0, 2), "both permits are out");
}

#[tokio::test(start_paused = true)]
async fn an_origin_on_this_machine_is_asked_once() {
    let (shelf, addresses) = Shelf::filled(WARM + 1, 100);
    let origin = Arc::new(Late::new(shelf, Duration::from_millis(10)).on_this_machine());
    let cache = Cache::open(Settings::default(), Arc::clone(&origin) as Arc<dyn Origin>).unwrap();
    for address in &addresses[..WARM as usize] {
        demand(&cache, *address).await.unwrap();
    }
    origin.push(&[Way::After(Duration::from_secs(1))]);
    demand(&cache, addresses[WARM as usize]).await.unwrap();
    assert_eq!(origin.asked(), WARM + 1);
    assert_eq!(cache.report().origin.hedges, 0);
}
