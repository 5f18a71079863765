//! The quality of snapshots: how long the restores of a version take, beside those of the version before it.

use crate::column::document;
use crate::start_store::StartRecord;
use crate::{Control, ControlError};
use api::ColdStart;
use chunk::Account;
use sqlx::Row;

/// The part of a start that says it was a restore.
const RESTORE: &str = "restore";

/// Restores of a version that are looked at, the newest ones.
const LOOKED_AT_MAX: u32 = 20;

/// Restores of each of two versions before they are compared: one may have met a cold cache.
const COMPARED_MIN: usize = 3;

/// A version is slower from this part of the former's time on, in percent: below it is what one machine's load does.
const SLOWER_PERCENT: u64 = 125;

/// And slower by this, µs: a quarter of 20 ms is nothing that anybody waits for.
const SLOWER_US: u64 = 10_000;

/// A version that restores slower than the one before it. Times are medians, from the request until the runtime is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowerRestores {
    /// The version.
    pub version: u64,
    /// Its time, µs.
    pub median_us: u64,
    /// The newest version before it that was restored often enough.
    pub before: u64,
    /// That one's time, µs.
    pub before_median_us: u64,
}

/// Whether a start was a restore.
#[must_use]
pub fn is_restore(start: &ColdStart) -> bool {
    start.parts.iter().any(|part| part.name == RESTORE)
}

impl Control {
    /// Whether a version's restores are slower than those of the version before it; none if either has too few.
    pub async fn slower_restores(
        &self,
        account: &Account,
        name: &str,
        version: &str,
    ) -> Result<Option<SlowerRestores>, ControlError> {
        let Ok(version) = version.parse::<u64>() else {
            return Ok(None);
        };
        let Some(median_us) = self.restore_median(account, name, version).await? else {
            return Ok(None);
        };
        for before in self.versions_started_before(account, name, version).await? {
            if let Some(before_median_us) = self.restore_median(account, name, before).await? {
                let found = SlowerRestores {
                    version,
                    median_us,
                    before,
                    before_median_us,
                };
                return Ok(Some(found).filter(SlowerRestores::is_slower));
            }
        }
        Ok(None)
    }

    /// Newest first.
    async fn versions_started_before(
        &self,
        account: &Account,
        name: &str,
        version: u64,
    ) -> Result<Vec<u64>, ControlError> {
        let rows = sqlx::query("SELECT DISTINCT version FROM cold_starts WHERE account = $1 AND name = $2")
            .bind(account.as_str())
            .bind(name)
            .fetch_all(self.pool())
            .await?;
        let texts = rows.iter().map(|row| row.try_get::<String, _>("version"));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        let numbers = texts.iter().filter_map(|text| text.parse().ok());
        let mut before: Vec<u64> = numbers.filter(|number| *number < version).collect();
        before.sort_unstable_by(|one, other| other.cmp(one));
        Ok(before)
    }

    async fn restore_median(&self, account: &Account, name: &str, version: u64) -> Result<Option<u64>, ControlError> {
        let rows = sqlx::query(
            "SELECT record FROM cold_starts WHERE account = $1 AND name = $2 AND version = $3
             ORDER BY begin_ms DESC, request_id DESC LIMIT $4",
        )
        .bind(account.as_str())
        .bind(name)
        .bind(version.to_string())
        .bind(i64::from(LOOKED_AT_MAX))
        .fetch_all(self.pool())
        .await?;
        let mut times = Vec::with_capacity(rows.len());
        for row in &rows {
            let start: ColdStart = document(&row.try_get::<String, _>("record")?, "a cold start")?;
            times.extend(is_restore(&start).then_some(start.total_us));
        }
        Ok(median(times))
    }
}

impl SlowerRestores {
    fn is_slower(&self) -> bool {
        let limit = self.before_median_us.saturating_mul(SLOWER_PERCENT) / 100;
        self.median_us > limit && self.median_us - self.before_median_us > SLOWER_US
    }
}

impl StartRecord {
    /// Whether it was a restore.
    #[must_use]
    pub fn is_restore(&self) -> bool {
        is_restore(&self.start)
    }
}

/// None of too few.
fn median(mut times: Vec<u64>) -> Option<u64> {
    if times.len() < COMPARED_MIN {
        return None;
    }
    times.sort_unstable();
    Some(times[times.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_slower_is_not_slower() {
        let check = |median_us, before_median_us, expected: bool| {
            let found = SlowerRestores {
                version: 2,
                median_us,
                before: 1,
                before_median_us,
            };
            assert_eq!(found.is_slower(), expected, "{median_us} after {before_median_us}");
        };
        check(80_000, 80_000, false);
        check(99_000, 80_000, false);
        check(101_000, 80_000, true);
        check(30_000, 21_000, false);
        check(32_000, 21_000, true);
        check(10_000, 80_000, false);
    }

    #[test]
    fn too_few_say_nothing() {
        assert_eq!(median(vec![3, 1]), None);
        assert_eq!(median(vec![9, 1, 3]), Some(3));
    }
}
