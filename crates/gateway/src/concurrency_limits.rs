//! How many invocations an account and a function may have at once.
//!
//! As in Lambda: a function with reserved concurrency has that many to itself and no more; all others share what the
//! account has left. What is provisioned for a version is taken from the account beforehand, so as many invocations of
//! it take nothing from the others; only those beyond do.

use chunk::Account;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Functions whose counters stay in memory at zero. Beyond that all zeros are dropped.
const IDLE_MAX: usize = 4096;

/// Lambda keeps that many of an account's slots from being reserved; up to there nobody needs to ask what is reserved.
const UNRESERVED_MIN: u32 = 100;

/// How long an answer to "what is not reserved?" is used. It is asked only above [`UNRESERVED_MIN`].
const SHARED_FRESH: Duration = Duration::from_secs(1);

/// Counters of what runs now.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimits {
    account_max: u32,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    /// Invocations by function's ARN.
    functions: HashMap<Box<str>, u32>,
    /// Invocations of versions that have environments of their own ahead, by the lease's revision.
    provisioned: HashMap<Box<str>, u32>,
    /// Invocations of functions without a reservation, but for those in the line above.
    unreserved: HashMap<Account, u32>,
    /// What functions without a reservation may use together, and when that was asked.
    shared: HashMap<Account, (u32, Instant)>,
}

/// What decides about one more invocation.
pub(crate) struct Question<'a> {
    /// The function's owner.
    pub(crate) account: &'a Account,
    /// The function, without a qualifier.
    pub(crate) arn: &'a str,
    /// What the function has to itself.
    pub(crate) reserved: Option<u32>,
    /// What is provisioned for the version, by its lease's revision; `None` of most versions.
    pub(crate) provisioned: Option<(&'a str, u32)>,
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Throttle {
    /// The function's own limit is reached.
    Function,
    /// What functions without a reservation share is used up.
    Account,
    /// So many run that what is reserved matters: see [`ConcurrencyLimits::learn`], then ask again.
    AskShared,
}

/// One running invocation; over when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    running: Arc<Mutex<Running>>,
    arn: Box<str>,
    counted: Counted,
}

/// What a slot counts against beside its function.
#[derive(Debug)]
enum Counted {
    /// Nothing: the function has a reservation.
    Reserved,
    /// What is provisioned for a revision.
    Provisioned(Box<str>),
    /// What the account's functions share.
    Unreserved(Account),
}

impl ConcurrencyLimits {
    pub(crate) fn new(account_max: u32) -> Self {
        Self {
            account_max,
            running: Arc::default(),
        }
    }

    /// Takes a slot, or says which limit is reached.
    pub(crate) fn enter(&self, asked: &Question<'_>) -> Result<Slot, Throttle> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = match (asked.reserved, asked.provisioned) {
            (Some(reserved), _) => {
                let own = running.functions.get(asked.arn).copied().unwrap_or(0);
                if own >= reserved {
                    return Err(Throttle::Function);
                }
                Counted::Reserved
            }
            (None, Some((revision, provisioned))) if running.enter_provisioned(revision, provisioned) => {
                Counted::Provisioned(revision.into())
            }
            (None, _) => {
                self.enter_shared(&mut running, asked.account)?;
                Counted::Unreserved(asked.account.clone())
            }
        };
        running.count(asked.arn);
        Ok(Slot {
            running: Arc::clone(&self.running),
            arn: asked.arn.into(),
            counted,
        })
    }

    fn enter_shared(&self, running: &mut Running, account: &Account) -> Result<(), Throttle> {
        let used = running.unreserved.get(account).copied().unwrap_or(0);
        let fresh = |(_, at): &&(u32, Instant)| at.elapsed() < SHARED_FRESH;
        let shared = match running.shared.get(account).filter(fresh) {
            Some((shared, _)) => *shared,
            None if used < UNRESERVED_MIN => UNRESERVED_MIN,
            None => return Err(Throttle::AskShared),
        };
        if used >= shared.min(self.account_max) {
            return Err(Throttle::Account);
        }
        match running.unreserved.get_mut(account) {
            Some(used) => *used += 1,
            None => {
                running.unreserved.insert(account.clone(), 1);
            }
        }
        Ok(())
    }

    /// Remembers what functions without a reservation may use together.
    pub(crate) fn learn(&self, account: &Account, shared: u32) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.shared.insert(account.clone(), (shared, Instant::now()));
    }
}

impl Running {
    /// Takes one of the slots that are provisioned for a revision, if one is free.
    fn enter_provisioned(&mut self, revision: &str, provisioned: u32) -> bool {
        match self.provisioned.get_mut(revision) {
            Some(used) if *used < provisioned => *used += 1,
            None if provisioned > 0 => {
                self.provisioned.insert(revision.into(), 1);
            }
            _ => return false,
        }
        true
    }

    fn leave_provisioned(&mut self, revision: &str) {
        if let Some(used) = self.provisioned.get_mut(revision) {
            *used = used.saturating_sub(1);
            if *used == 0 {
                self.provisioned.remove(revision);
            }
        }
    }

    fn count(&mut self, arn: &str) {
        if let Some(count) = self.functions.get_mut(arn) {
            *count += 1;
            return;
        }
        if self.functions.len() >= IDLE_MAX {
            self.functions.retain(|_, count| *count > 0);
        }
        self.functions.insert(arn.into(), 1);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.functions.get_mut(&self.arn) {
            *count = count.saturating_sub(1);
        }
        match &self.counted {
            Counted::Reserved => {}
            Counted::Provisioned(revision) => running.leave_provisioned(revision),
            Counted::Unreserved(account) => {
                if let Some(count) = running.unreserved.get_mut(account) {
                    *count = count.saturating_sub(1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        "123456789012".parse().unwrap()
    }

    /// Learns what is not asked again however long the test's thread does not run.
    fn learn(limits: &ConcurrencyLimits, shared: u32) {
        limits.learn(&account(), shared);
        let mut running = limits.running.lock().unwrap();
        for (_, at) in running.shared.values_mut() {
            *at += Duration::from_secs(24 * 3600);
        }
    }

    fn enter(limits: &ConcurrencyLimits, arn: &str, reserved: Option<u32>) -> Result<Slot, Throttle> {
        limits.enter(&Question {
            account: &account(),
            arn,
            reserved,
            provisioned: None,
        })
    }

    #[test]
    fn what_is_provisioned_takes_nothing_from_others() {
        let limits = ConcurrencyLimits::new(1000);
        learn(&limits, 1);
        let enter_ahead = || {
            limits.enter(&Question {
                account: &account(),
                arn: "a",
                reserved: None,
                provisioned: Some(("revision", 2)),
            })
        };
        let ahead = [enter_ahead().unwrap(), enter_ahead().unwrap()];
        let beyond = enter_ahead().unwrap();
        assert_eq!(enter(&limits, "b", None).err(), Some(Throttle::Account));
        assert_eq!(enter_ahead().err(), Some(Throttle::Account));
        drop(beyond);
        assert!(enter(&limits, "b", None).is_ok());
        drop(ahead);
        assert!(limits.running.lock().unwrap().provisioned.is_empty());
    }

    #[test]
    fn a_reservation_is_a_limit_and_a_guarantee() {
        let limits = ConcurrencyLimits::new(1000);
        learn(&limits, 2);
        let first = enter(&limits, "a", Some(1)).unwrap();
        assert_eq!(enter(&limits, "a", Some(1)).err(), Some(Throttle::Function));
        let _others = [enter(&limits, "b", None).unwrap(), enter(&limits, "c", None).unwrap()];
        assert_eq!(enter(&limits, "d", None).err(), Some(Throttle::Account));
        drop(first);
        assert!(enter(&limits, "a", Some(1)).is_ok(), "its own slot stays its own");
    }

    #[test]
    fn none_reserved_means_none_may_run() {
        let limits = ConcurrencyLimits::new(3);
        assert_eq!(enter(&limits, "a", Some(0)).err(), Some(Throttle::Function));
    }

    #[test]
    fn slots_come_back() {
        let limits = ConcurrencyLimits::new(1);
        for _ in 0..1000 {
            drop(enter(&limits, "a", None).unwrap());
        }
        let _one = enter(&limits, "a", None).unwrap();
        assert_eq!(enter(&limits, "b", None).err(), Some(Throttle::Account));
    }

    #[test]
    fn what_is_reserved_is_asked_only_when_it_matters() {
        let limits = ConcurrencyLimits::new(1000);
        let enter_many = |count: u32| {
            (0..count)
                .map(|_| enter(&limits, "a", None))
                .collect::<Result<Vec<_>, _>>()
        };
        let _first = enter_many(UNRESERVED_MIN).unwrap();
        assert_eq!(enter(&limits, "a", None).err(), Some(Throttle::AskShared));
        learn(&limits, 900);
        assert!(enter_many(800).is_ok());
        assert_eq!(enter_many(801).err(), Some(Throttle::Account));
    }

    #[test]
    fn idle_counters_do_not_pile_up() {
        let limits = ConcurrencyLimits::new(10);
        for index in 0..3 * IDLE_MAX {
            drop(enter(&limits, &format!("function-{index}"), None).unwrap());
        }
        assert!(limits.running.lock().unwrap().functions.len() <= IDLE_MAX);
    }
}
