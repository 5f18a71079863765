//! The life of an event source mapping.

/// How far a mapping is. A client's change leads to a state that ends in -ing, and whoever polls to one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSourceState {
    /// It was made, and nobody polls yet.
    Creating,
    /// It was disabled and is to be enabled.
    Enabling,
    /// Events flow.
    Enabled,
    /// It is to be disabled; the last poll may still bring events.
    Disabling,
    /// Nobody polls.
    Disabled,
    /// Its settings were changed, and are not followed yet.
    Updating,
    /// It is to go; the last poll may still bring events.
    Deleting,
}

impl EventSourceState {
    /// As the API has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Enabling => "Enabling",
            Self::Enabled => "Enabled",
            Self::Disabling => "Disabling",
            Self::Disabled => "Disabled",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
        }
    }

    /// What the record says; a text that this program never writes is a change to be followed.
    pub(crate) fn read(text: &str) -> Self {
        match text {
            "Creating" => Self::Creating,
            "Enabling" => Self::Enabling,
            "Enabled" => Self::Enabled,
            "Disabling" => Self::Disabling,
            "Disabled" => Self::Disabled,
            "Deleting" => Self::Deleting,
            _ => Self::Updating,
        }
    }

    /// Whether nothing is to be followed.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Enabled | Self::Disabled)
    }

    /// After a client's change from enabled or not to enabled or not; none while another change is not followed yet.
    pub(crate) fn updated(self, was: bool, is: bool) -> Option<Self> {
        match (self, was, is) {
            (Self::Enabled | Self::Disabled, false, true) => Some(Self::Enabling),
            (Self::Enabled | Self::Disabled, true, false) => Some(Self::Disabling),
            (Self::Enabled | Self::Disabled, _, _) => Some(Self::Updating),
            _ => None,
        }
    }

    /// After a client's removal. One that is being disabled can go: nothing is left to wait for but the same last poll.
    pub(crate) fn deleted(self) -> Option<Self> {
        match self {
            Self::Enabled | Self::Disabled | Self::Disabling => Some(Self::Deleting),
            Self::Creating | Self::Enabling | Self::Updating | Self::Deleting => None,
        }
    }

    /// After a change was followed; none if the mapping is gone.
    pub(crate) fn settled(self, enabled: bool) -> Option<Self> {
        match (self, enabled) {
            (Self::Deleting, _) => None,
            (_, true) => Some(Self::Enabled),
            (_, false) => Some(Self::Disabled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EventSourceState::{self, *};

    const ALL: [EventSourceState; 7] = [Creating, Enabling, Enabled, Disabling, Disabled, Updating, Deleting];

    #[test]
    fn what_is_not_followed_yet_is_not_changed() {
        for state in ALL {
            assert_eq!(EventSourceState::read(state.as_str()), state);
            for (was, is) in [(true, true), (true, false), (false, true), (false, false)] {
                let updated = state.updated(was, is);
                assert_eq!(updated.is_some(), state.is_settled(), "{state:?}");
                assert!(updated.is_none_or(|updated| !updated.is_settled()), "{state:?}");
            }
            assert!(state.deleted().is_none_or(|deleted| deleted == Deleting), "{state:?}");
            assert!(
                state.settled(true).is_none_or(EventSourceState::is_settled),
                "{state:?}"
            );
        }
        assert_eq!(Enabled.updated(true, false), Some(Disabling));
        assert_eq!(Disabled.updated(false, true), Some(Enabling));
        assert_eq!(Enabled.updated(true, true), Some(Updating));
        assert_eq!(Disabling.settled(false), Some(Disabled));
        assert_eq!(Deleting.settled(true), None);
    }
}
