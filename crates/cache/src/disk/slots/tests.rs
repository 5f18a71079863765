use super::*;

/// Takes a slot and holds `key` in it.
fn put(slots: &mut Slots<u32>, key: u32) -> u32 {
    let slot = slots.take().unwrap();
    slots.hold(slot, key, 1);
    slot
}

fn put_all(slots: &mut Slots<u32>, keys: std::ops::Range<u32>) {
    for key in keys {
        put(slots, key);
    }
}

#[test]
fn a_scan_does_not_displace_what_is_read() {
    let mut slots = Slots::new(20, 0);
    put_all(&mut slots, 0..18);
    for key in 0..18 {
        assert!(slots.find(&key).is_some());
    }
    put_all(&mut slots, 1000..2000);
    let left = (0..18).filter(|key| slots.contains(key)).count();
    assert_eq!((left, slots.chunks_held()), (18, 20));
}

#[test]
fn one_that_comes_back_soon_stays() {
    let mut slots = Slots::new(20, 0);
    put_all(&mut slots, 0..21);
    assert!(!slots.contains(&0));
    put(&mut slots, 0);
    put_all(&mut slots, 100..110);
    assert!(slots.contains(&0));
}

#[test]
fn slots_are_never_shared_or_lost() {
    let mut slots = Slots::new(7, 3);
    assert!(slots.restore(0, 100, 1));
    assert!(!slots.restore(1, 100, 1), "twice the same chunk");
    slots.free(1);
    assert!(slots.restore(2, 102, 1));
    for key in 0..500 {
        let place = slots.find(&(key / 2));
        if let Some(place) = place.filter(|_| key % 5 == 0) {
            assert!(slots.drop_copy(&(key / 2), place));
            assert!(!slots.drop_copy(&(key / 2), place), "once");
            slots.free(place.slot);
        }
        if !slots.contains(&key) {
            put(&mut slots, key);
        }
        let mut seen: Vec<_> = slots.held.values().map(|held| held.place.slot).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), slots.chunks_held());
        assert!(seen.iter().all(|slot| *slot < 7));
        assert_eq!(slots.small.len() + slots.main.len(), slots.chunks_held());
    }
    assert_eq!(slots.chunks_held(), 7);
}

#[test]
fn a_copy_that_was_replaced_is_not_dropped() {
    let mut slots = Slots::new(1, 0);
    put(&mut slots, 1);
    let place = slots.find(&1).unwrap();
    assert_eq!(slots.take(), Some(0), "its read is used up, and it leaves");
    slots.hold(0, 1, 1);
    assert!(!slots.drop_copy(&1, place));
    assert!(slots.contains(&1));
}
