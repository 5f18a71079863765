//! Tries a throttled batch again.

use super::feed::Feed;
use super::pace::Verdict;
use crate::GatewaySettings;
use crate::due::backoff;
use crate::lambda::ApiError;
use tokio::time::Instant;
use tracing::debug;

/// Whether an invocation had no room.
pub(super) fn is_throttle(error: &ApiError) -> bool {
    error.code == "TooManyRequestsException"
}

/// Tries; again while it is throttled, and the messages that came at `since` stay out of sight for longer than the wait:
/// giving them back at once would count against the queue's limit of receives. They are given back all the same when the
/// poller is told to stop, since a mapping that is disabled must not invoke hours later, and when others need the room.
pub(super) async fn patiently<T, F>(
    settings: &GatewaySettings,
    feed: &Feed,
    since: Instant,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut tries = 0;
    loop {
        let error = match attempt().await {
            Err(error) if is_throttle(&error) => error,
            other => return other,
        };
        tries += 1;
        if tries == 1 {
            // Not when the batch is over, which may be hours hence: the poller would go on at its old pace.
            feed.pace.apply(Verdict::Throttled);
        }
        let wait = backoff(settings.backoff_first, settings.backoff_max, tries);
        if since.elapsed() + wait > feed.patience() {
            return Err(error);
        }
        debug!(
            function = feed.source.function,
            "a batch is throttled, trying again after {wait:?}"
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = feed.stops.any() => return Err(error),
            () = feed.room.wanted() => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_sources::tests::feed;
    use std::cell::Cell;
    use std::time::Duration;

    /// Of a queue with a visibility timeout of twelve hours; waits are an hour. Gives how many tries there were when it was
    /// given up, by what `meanwhile` did when the first one had failed.
    async fn tries_until(feed: &Feed, meanwhile: impl Future<Output = ()>) -> u32 {
        let settings = GatewaySettings {
            backoff_first: Duration::from_secs(3600),
            backoff_max: Duration::from_secs(3600),
            ..GatewaySettings::default()
        };
        let tries = Cell::new(0);
        let attempt = || {
            tries.set(tries.get() + 1);
            async { Err::<(), _>(ApiError::new("TooManyRequestsException", "Rate Exceeded.")) }
        };
        let trying = patiently(&settings, feed, Instant::now(), attempt);
        // It ends at once, or not for an hour.
        let both = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(trying, meanwhile) });
        let (tried, ()) = both.await.expect("a throttled batch goes on");
        assert!(is_throttle(&tried.unwrap_err()));
        tries.get()
    }

    #[tokio::test]
    async fn a_throttled_batch_ends_with_its_mapping_and_with_the_server() {
        let changed = feed();
        assert_eq!(
            tries_until(&changed, async { changed.stops.after_a_poll.cancel() }).await,
            1
        );
        let ending = feed();
        assert_eq!(tries_until(&ending, async { ending.stops.at_once.cancel() }).await, 1);
        // One that was retired before is tried once, as what the last poll brings is.
        assert_eq!(tries_until(&ending, async {}).await, 1);
    }

    #[tokio::test]
    async fn a_throttled_batch_makes_room_for_others() {
        let feed = feed();
        let all = feed.room.take(usize::MAX).await;
        let mut waiter = std::pin::pin!(feed.room.take(1));
        assert!(futures::poll!(waiter.as_mut()).is_pending());
        assert_eq!(tries_until(&feed, async {}).await, 1);
        drop(all);
    }

    #[tokio::test]
    async fn the_pace_falls_with_the_first_throttle() {
        let feed = feed();
        let before = feed.pace.limit();
        let seen = async {
            while feed.pace.limit() == before {
                tokio::task::yield_now().await;
            }
            feed.stops.at_once.cancel();
        };
        tries_until(&feed, seen).await;
        assert_eq!((feed.pace.limit(), feed.pace.failures()), (before / 2, 1));
    }

    #[tokio::test]
    async fn half_of_the_time_is_the_functions() {
        let mut feed = feed();
        feed.visibility = Duration::from_secs(7_199);
        assert_eq!(tries_until(&feed, async {}).await, 1);
    }
}
