//! Mappings and feeds for the tests of the parts.

use super::feed::{Feed, SharedPace, Stops};
use super::room::Room;
use crate::messaging::QueueArn;
use control::{EventSource, EventSourceSettings, EventSourceState};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A mapping that was changed once.
pub(super) fn source(state: EventSourceState, enabled: bool) -> EventSource {
    EventSource {
        id: "id".to_owned(),
        account: "123456789012".parse().unwrap(),
        function: "f".to_owned(),
        qualifier: None,
        source: "arn:aws:sqs:us-east-1:123456789012:q".to_owned(),
        state,
        settings: EventSourceSettings {
            enabled,
            batch_messages_max: 10,
            window_s: 0,
            concurrency_max: None,
            reports_failures: false,
            filters: Vec::new(),
            tags: BTreeMap::new(),
        },
        modified_ms: 0,
        writes: 2,
    }
}

/// Of a queue that keeps messages out of sight for twelve hours.
pub(super) fn feed() -> Feed {
    let source = source(EventSourceState::Enabled, true);
    Feed {
        queue: QueueArn::parse(&source.source).unwrap(),
        source,
        patterns: Vec::new(),
        visibility: Duration::from_secs(12 * 3600),
        stops: Stops {
            at_once: CancellationToken::new(),
            after_a_poll: CancellationToken::new(),
        },
        room: Room::default(),
        pace: SharedPace::new(None),
    }
}
