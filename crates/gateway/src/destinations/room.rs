//! How many deliveries are under way, in all and to each target, so that one that is dead or slow holds up no other.
//!
//! A target has a few places; one whose last delivery failed has a single one until a delivery is taken. So of [`MAX`]
//! places a dead endpoint holds eight for one timeout, and one from then on.

use super::Target;
use crate::due::take_room;
use crate::messaging::SendError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Deliveries under way at once. Each holds its body, at most some 7 MiB, and mostly waits for another server.
const MAX: usize = 64;
/// To one target at once: an eighth of all. At 10 ms for a call these are 800 a second.
const TARGET_MAX: u32 = 8;
/// To a target whose last delivery failed.
const FAILING_TARGET_MAX: u32 = 1;
/// Failing targets that are remembered while nothing is under way to them; beyond it they are forgotten, and get
/// [`TARGET_MAX`] places once more.
const REMEMBERED_MAX: usize = 4_096;

/// Places for deliveries.
pub(super) struct Room {
    all: Arc<Semaphore>,
    targets: Mutex<HashMap<String, Load>>,
    /// Rung when there is room again.
    bell: Arc<Notify>,
}

/// What is known of a target.
#[derive(Debug, Default)]
struct Load {
    under_way: u32,
    /// Of the last delivery that ended.
    failure: Option<SendError>,
}

/// The right to deliver once to one target. Dropped, it is free again.
pub(super) struct Place {
    room: Arc<Room>,
    key: String,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new(bell: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(MAX)),
            targets: Mutex::default(),
            bell,
        })
    }

    /// Waits until there is room at all, and gives all that there is.
    pub(super) async fn free(&self) -> Vec<OwnedSemaphorePermit> {
        take_room(&self.all, MAX).await
    }

    /// How many deliveries to each of these targets may begin, so many in all; those that come first get theirs first.
    pub(super) fn shares(&self, targets: Vec<String>, free: usize) -> Vec<(String, u32)> {
        let loads = self.lock();
        // Several ARNs may be one endpoint.
        let mut given: HashMap<String, u32> = HashMap::new();
        let mut free = u32::try_from(free).unwrap_or(u32::MAX);
        let mut shares = Vec::new();
        for target in targets {
            let key = Target::endpoint(&target);
            let given = given.entry(key.to_owned()).or_default();
            let share = loads
                .get(key)
                .map_or(TARGET_MAX, Load::room)
                .saturating_sub(*given)
                .min(free);
            *given += share;
            free -= share;
            if share > 0 {
                shares.push((target, share));
            }
        }
        shares
    }

    /// Takes a place. Only whoever was given a share does.
    pub(super) fn enter(self: &Arc<Self>, target: &str, permit: OwnedSemaphorePermit) -> Place {
        let key = Target::endpoint(target).to_owned();
        self.lock().entry(key.clone()).or_default().under_way += 1;
        Place {
            room: Arc::clone(self),
            key,
            _permit: permit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Load>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    fn room(&self) -> u32 {
        let max = if self.failure.is_some() {
            FAILING_TARGET_MAX
        } else {
            TARGET_MAX
        };
        max.saturating_sub(self.under_way)
    }
}

impl Place {
    /// What the target said the last time, if it was no answer.
    pub(super) fn failure(&self) -> Option<SendError> {
        self.room.lock().get(&self.key)?.failure.clone()
    }

    /// Notes how a delivery went. A message that nobody could take says nothing against its target.
    pub(super) fn note(&self, delivered: &Result<(), SendError>) {
        if let Some(load) = self.room.lock().get_mut(&self.key) {
            load.failure = delivered.as_ref().err().filter(|error| !error.is_final).cloned();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut loads = self.room.lock();
        if let Some(load) = loads.get_mut(&self.key) {
            load.under_way -= 1;
            if load.under_way == 0 && load.failure.is_none() {
                loads.remove(&self.key);
            }
        }
        if loads.len() > REMEMBERED_MAX + MAX {
            loads.retain(|_, load| load.under_way > 0);
        }
        drop(loads);
        self.room.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> Arc<Room> {
        Room::new(Arc::default())
    }

    fn shares(room: &Room, targets: &[&str], free: usize) -> Vec<(String, u32)> {
        room.shares(targets.iter().map(|target| (*target).to_owned()).collect(), free)
    }

    fn shared(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
        expected
            .iter()
            .map(|(target, share)| ((*target).to_owned(), *share))
            .collect()
    }

    fn failure() -> Result<(), SendError> {
        Err(SendError::new("try", "it is down"))
    }

    #[tokio::test]
    async fn a_target_gets_its_share_and_no_more() {
        let room = room();
        assert_eq!(
            shares(&room, &["slow", "quick"], 64),
            shared(&[("slow", 8), ("quick", 8)])
        );
        assert_eq!(
            shares(&room, &["slow", "quick"], 10),
            shared(&[("slow", 8), ("quick", 2)])
        );
        let mut permits = room.free().await;
        let places: Vec<Place> = permits.drain(..8).map(|permit| room.enter("slow", permit)).collect();
        assert_eq!(shares(&room, &["slow", "quick"], 56), shared(&[("quick", 8)]));
        drop(places);
        assert_eq!(shares(&room, &["slow"], 64), shared(&[("slow", 8)]));
        room.bell.notified().await;
    }

    #[tokio::test]
    async fn a_target_that_fails_is_tried_by_one_until_it_takes_one() {
        let room = room();
        let mut permits = room.free().await;
        let mut enter = |target: &str| room.enter(target, permits.pop().unwrap());
        let (first, second) = (enter("t"), enter("t"));
        first.note(&failure());
        drop(first);
        assert_eq!(shares(&room, &["t"], 64), [], "one is still under way");
        assert_eq!(second.failure().unwrap().reason, "it is down");
        drop(second);
        assert_eq!(shares(&room, &["t"], 64), shared(&[("t", 1)]));
        let third = enter("t");
        third.note(&Ok(()));
        drop(third);
        assert_eq!(shares(&room, &["t"], 64), shared(&[("t", 8)]));
        assert!(room.lock().is_empty());
        let fourth = enter("t");
        fourth.note(&failure().map_err(SendError::for_ever));
        assert!(fourth.failure().is_none(), "it was the message");
    }

    #[tokio::test]
    async fn arns_of_one_endpoint_share_its_places() {
        let hook = |account: &str| format!("arn:aws:events:us-east-1:{account}:api-destination/hook");
        let (one, other) = (hook("111122223333"), hook("444455556666"));
        assert_eq!(shares(&room(), &[&one, &other], 64), shared(&[(&one, 8)]));
    }

    #[tokio::test]
    async fn targets_that_failed_long_ago_are_forgotten() {
        let room = room();
        for number in 0..REMEMBERED_MAX + MAX + 1 {
            let permit = room.free().await.remove(0);
            let place = room.enter(&format!("t{number}"), permit);
            place.note(&failure());
        }
        assert!(room.lock().is_empty());
    }
}
