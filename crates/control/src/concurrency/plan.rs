//! What is to be there of a function ahead of invocations, and which version an alias serves while it moves.
//!
//! When an alias that asks for environments is given another version, invocations go on to the version before until
//! those of the next one are there: the alias is held. Whoever starts environments lets it go
//! ([`Control::release_alias`]). Holds live in memory: after a restart nothing runs that could be served meanwhile.

use super::ProvisionedConcurrency;
use super::provisioned::all_of_function;
use crate::aliases::AliasRecord;
use crate::function_record::VersionKey;
use crate::index::IndexedFunction;
use crate::snap_start::check_provisioned;
use crate::{Control, ControlError, State};
use api::Lease;
use chunk::Account;
use sqlx::{AnyConnection, Row};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a version or an alias asks for, and what that means now.
#[derive(Clone, Debug)]
pub struct ProvisionWish {
    /// As it was asked for.
    pub asked: ProvisionedConcurrency,
    /// By version; an alias that splits invocations has two.
    pub parts: Vec<ProvisionPart>,
    /// What the alias serves until those are there.
    pub held: Option<ProvisionPart>,
}

/// Environments of one version.
#[derive(Clone, Debug)]
pub struct ProvisionPart {
    /// A number.
    pub version: String,
    /// How many.
    pub count: u32,
    /// None while the version is prepared, or when that failed.
    pub lease: Option<Arc<Lease>>,
    /// Why the version cannot run at all.
    pub refusal: Option<String>,
}

/// Aliases that serve another version than the record names, by account, function and alias.
#[derive(Default)]
pub(crate) struct HeldAliases(Mutex<HashMap<(Account, String), HashMap<String, String>>>);

impl HeldAliases {
    /// Of a function, by alias.
    pub(crate) fn of_function(&self, account: &Account, name: &str) -> HashMap<String, String> {
        let held = self.lock();
        if held.is_empty() {
            return HashMap::new();
        }
        held.get(&(account.clone(), name.to_owned()))
            .cloned()
            .unwrap_or_default()
    }

    /// From one version to the next. One that is held stays at the version that runs.
    fn hold(&self, key: (&Account, &str), alias: &AliasRecord, before: &str) {
        let mut held = self.lock();
        let of_function = held.entry((key.0.clone(), key.1.to_owned())).or_default();
        let serving = of_function
            .entry(alias.name.clone())
            .or_insert_with(|| before.to_owned());
        if *serving == alias.version {
            of_function.remove(&alias.name);
        }
    }

    fn release(&self, (account, name): (&Account, &str), alias: &str) -> bool {
        let mut held = self.lock();
        let key = (account.clone(), name.to_owned());
        let Some(of_function) = held.get_mut(&key) else {
            return false;
        };
        let was_held = of_function.remove(alias).is_some();
        if of_function.is_empty() {
            held.remove(&key);
        }
        was_held
    }

    fn forget(&self, account: &Account, name: &str) {
        self.lock().remove(&(account.clone(), name.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Account, String), HashMap<String, String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// All that a function asks for; nothing of a deleted function.
    pub async fn provision_plan(&self, account: &Account, name: &str) -> Result<Vec<ProvisionWish>, ControlError> {
        let Some(function) = self.indexed(account, name).await? else {
            self.inner.held.forget(account, name);
            return Ok(Vec::new());
        };
        // Judged by what is held now: an alias that an update is about to move is held before its commit, and the index
        // may be from before that.
        for (alias, version) in self.inner.held.of_function(account, name) {
            let stays = function.wishes.iter().any(|wish| wish.qualifier == *alias)
                && function.aliases.contains_key(&*alias)
                && function.versions.contains_key(&*version);
            if !stays {
                self.inner.held.release((account, name), &alias);
            }
        }
        Ok(function.wishes.iter().map(|wish| function.wish(wish)).collect())
    }

    /// Functions that ask for environments ahead of invocations: their owners and names.
    pub async fn provisioned_functions(&self) -> Result<Vec<(Account, String)>, ControlError> {
        let rows = sqlx::query("SELECT DISTINCT account, name FROM provisioned_concurrency ORDER BY account, name")
            .fetch_all(self.pool())
            .await?;
        let mut functions = Vec::with_capacity(rows.len());
        for row in rows {
            let account: String = row.try_get("account")?;
            // What does not read as an account was not written by this program.
            if let Ok(account) = account.parse() {
                functions.push((account, row.try_get("name")?));
            }
        }
        Ok(functions)
    }

    /// Lets an alias serve the version that the record names.
    pub fn release_alias(&self, account: &Account, name: &str, alias: &str) {
        if self.inner.held.release((account, name), alias) {
            self.function_changed(account, name);
        }
    }

    /// Holds an alias that is about to be given another version at the one before, if it asks for environments. Before
    /// the commit: no invocation sees the new version without them.
    pub(crate) async fn hold_alias(
        &self,
        connection: &mut AnyConnection,
        key: (&Account, &str),
        alias: &AliasRecord,
        version_before: &str,
    ) -> Result<(), ControlError> {
        if alias.version == version_before {
            return Ok(());
        }
        let wishes = all_of_function(connection, key.0, key.1).await?;
        if wishes.iter().any(|wish| wish.qualifier == alias.name) {
            let number = alias.version.parse().unwrap_or(0);
            let version = VersionKey {
                account: key.0,
                name: key.1,
                number,
            };
            if let Some(version) = version.read(self, connection).await? {
                check_provisioned(&version)?;
            }
            self.inner.held.hold(key, alias, version_before);
        }
        Ok(())
    }
}

impl IndexedFunction {
    /// How many environments a version is to have ahead of invocations.
    pub(crate) fn provisioned(&self, version: &str) -> u32 {
        // Most functions ask for none.
        let wishes = self.wishes.iter();
        let counts = wishes.map(|wish| {
            let parts = self.shares(wish);
            let counts = parts
                .into_iter()
                .filter(|(of, _)| of == version)
                .map(|(_, count)| count);
            let held = self.held.get(&wish.qualifier).filter(|held| *held == version);
            counts.sum::<u32>() + held.map_or(0, |_| count(wish.requested))
        });
        counts.fold(0, u32::saturating_add)
    }

    fn wish(&self, wish: &ProvisionedConcurrency) -> ProvisionWish {
        let parts = self.shares(wish).into_iter();
        let held = self.held.get(&wish.qualifier);
        ProvisionWish {
            asked: wish.clone(),
            parts: parts.map(|(version, count)| self.part(version, count)).collect(),
            held: held.map(|version| self.part(version.clone(), count(wish.requested))),
        }
    }

    fn shares(&self, wish: &ProvisionedConcurrency) -> Vec<(String, u32)> {
        let requested = count(wish.requested);
        match self.aliases.get(&wish.qualifier) {
            Some(alias) => shares(requested, &alias.version, alias.routing.as_ref()),
            None => shares(requested, &wish.qualifier, None),
        }
    }

    fn part(&self, version: String, count: u32) -> ProvisionPart {
        let found = self.versions.get(&version);
        let failed = found.filter(|found| found.lifecycle.state == State::Failed);
        let refusal = failed.map(|found| {
            let reason = found.lifecycle.state_reason.as_ref();
            reason.map_or_else(|| "the version is Failed".to_owned(), |reason| reason.text.clone())
        });
        ProvisionPart {
            version,
            count,
            lease: found
                .filter(|found| found.lifecycle.state == State::Active)
                .and_then(|found| found.lease.clone()),
            refusal,
        }
    }
}

/// How many environments each version of an alias gets: by weight, where there are two, at least one of each.
fn shares(requested: u32, version: &str, routing: Option<&(String, f64)>) -> Vec<(String, u32)> {
    let Some((other, weight)) = routing.filter(|(_, weight)| *weight > 0.0) else {
        return vec![(version.to_owned(), requested)];
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a weight is from 0 to 1"
    )]
    let theirs = ((f64::from(requested) * weight).round() as u32).clamp(1, requested.max(1));
    let mut shares = vec![
        (version.to_owned(), requested - theirs.min(requested)),
        (other.clone(), theirs),
    ];
    shares.retain(|(_, count)| *count > 0);
    shares
}

/// Beyond any account's limit, which is a number of 32 bits, nothing is accepted.
fn count(requested: u64) -> u32 {
    u32::try_from(requested).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::shares;

    fn check(requested: u32, weight: Option<f64>, expected: &[(&str, u32)]) {
        let routing = weight.map(|weight| ("2".to_owned(), weight));
        let found = shares(requested, "1", routing.as_ref());
        let found: Vec<(&str, u32)> = found
            .iter()
            .map(|(version, count)| (version.as_str(), *count))
            .collect();
        assert_eq!(found, expected, "{requested} with {weight:?}");
    }

    #[test]
    fn weights_divide_environments_and_lose_none() {
        check(10, None, &[("1", 10)]);
        check(10, Some(0.0), &[("1", 10)]);
        check(10, Some(0.25), &[("1", 7), ("2", 3)]);
        check(10, Some(0.001), &[("1", 9), ("2", 1)]);
        check(10, Some(1.0), &[("2", 10)]);
        check(1, Some(0.1), &[("2", 1)]);
    }
}
