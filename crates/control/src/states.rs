//! The states that waiters poll.
//!
//! ```text
//! created ──> Pending ──prepared──> Active ──update──> Active, InProgress ──prepared──> Active, Successful
//!                │                                             └──────failed──> Active, Failed: the code before it runs on
//!                └──failed──> Failed ──update──> Pending
//! ```

use serde::{Deserialize, Serialize};

/// Whether a version can be invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Its code is being prepared for the first time.
    Pending,
    /// It can.
    Active,
    /// Its code could not be prepared.
    Failed,
}

/// How the last change went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastUpdate {
    /// It is what invocations run.
    Successful,
    /// Invocations run what was before it.
    InProgress,
    /// It cannot be; invocations run what was before it.
    Failed,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// One of the model's codes, such as `InvalidImage`.
    pub code: String,
    /// For people.
    pub text: String,
}

/// State and last update of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Whether it can be invoked.
    pub state: State,
    /// Why it is not Active.
    pub state_reason: Option<Reason>,
    /// How the last change went.
    pub last_update: LastUpdate,
    /// Why it is not Successful.
    pub last_update_reason: Option<Reason>,
}

/// What happens to a version.
#[derive(Clone, Debug)]
pub(crate) enum StateEvent {
    UpdateBegan,
    Prepared,
    /// The code is prepared, and what remains is the snapshot.
    SnapshotAwaited,
    PreparationFailed(Reason),
}

impl State {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Active => "Active",
            Self::Failed => "Failed",
        }
    }
}

impl LastUpdate {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Successful => "Successful",
            Self::InProgress => "InProgress",
            Self::Failed => "Failed",
        }
    }
}

impl Lifecycle {
    /// Of a version whose code has yet to be prepared.
    pub(crate) fn created() -> Self {
        Self {
            state: State::Pending,
            state_reason: Some(creating()),
            last_update: LastUpdate::InProgress,
            last_update_reason: Some(creating()),
        }
    }

    /// Of a version whose code is prepared.
    pub(crate) fn active() -> Self {
        Self {
            state: State::Active,
            state_reason: None,
            last_update: LastUpdate::Successful,
            last_update_reason: None,
        }
    }

    /// Whether somebody is, or should be, preparing it.
    #[must_use]
    pub fn is_preparing(&self) -> bool {
        self.last_update == LastUpdate::InProgress
    }

    pub(crate) fn apply(self, event: StateEvent) -> Self {
        match (self.state, event) {
            (_, StateEvent::Prepared) => Self::active(),
            (_, StateEvent::SnapshotAwaited) => self,
            (State::Pending | State::Failed, StateEvent::UpdateBegan) => Self::created(),
            (State::Active, StateEvent::UpdateBegan) => Self {
                last_update: LastUpdate::InProgress,
                last_update_reason: Some(creating()),
                ..self
            },
            (State::Pending | State::Failed, StateEvent::PreparationFailed(reason)) => Self {
                state: State::Failed,
                state_reason: Some(reason.clone()),
                last_update: LastUpdate::Failed,
                last_update_reason: Some(reason),
            },
            (State::Active, StateEvent::PreparationFailed(reason)) => Self {
                last_update: LastUpdate::Failed,
                last_update_reason: Some(reason),
                ..self
            },
        }
    }
}

/// What Lambda says while it prepares, for updates too.
fn creating() -> Reason {
    Reason {
        code: "Creating".to_owned(),
        text: "The function is being created.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> StateEvent {
        StateEvent::PreparationFailed(Reason {
            code: "InvalidImage".into(),
            text: "no".into(),
        })
    }

    fn check(events: Vec<StateEvent>, state: State, last_update: LastUpdate) {
        let named = format!("{events:?}");
        let end = events.into_iter().fold(Lifecycle::created(), Lifecycle::apply);
        assert_eq!((end.state, end.last_update), (state, last_update), "{named}");
        assert_eq!(end.state_reason.is_none(), end.state == State::Active, "{named}");
        assert_eq!(
            end.last_update_reason.is_none(),
            end.last_update == LastUpdate::Successful,
            "{named}"
        );
    }

    #[test]
    fn lives() {
        use StateEvent::{Prepared, SnapshotAwaited, UpdateBegan};
        check(vec![], State::Pending, LastUpdate::InProgress);
        check(vec![Prepared], State::Active, LastUpdate::Successful);
        check(vec![broken()], State::Failed, LastUpdate::Failed);
        check(vec![SnapshotAwaited], State::Pending, LastUpdate::InProgress);
        check(vec![SnapshotAwaited, Prepared], State::Active, LastUpdate::Successful);
        check(vec![SnapshotAwaited, broken()], State::Failed, LastUpdate::Failed);
        check(vec![Prepared, UpdateBegan], State::Active, LastUpdate::InProgress);
        check(vec![Prepared, UpdateBegan, broken()], State::Active, LastUpdate::Failed);
        check(
            vec![Prepared, UpdateBegan, broken(), UpdateBegan, Prepared],
            State::Active,
            LastUpdate::Successful,
        );
        check(vec![broken(), UpdateBegan], State::Pending, LastUpdate::InProgress);
        check(
            vec![broken(), UpdateBegan, Prepared],
            State::Active,
            LastUpdate::Successful,
        );
    }
}
