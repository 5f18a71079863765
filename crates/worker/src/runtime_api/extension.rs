//! One extension: what it does, and what it may do next.

use super::machine::Notice;
use super::refusal::Refusal;

/// What an extension does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtensionState {
    /// External, and has not registered yet.
    Expected,
    /// Registered; has not asked for an event yet.
    Registered,
    /// Waits for an event.
    Polling,
    /// Has asked for an event and hung up before there was one.
    Away,
    /// An event waits for its next `next`.
    Queued(Notice),
    /// Works on an event.
    Running(Notice),
    /// Reported that it cannot initialise.
    InitFailed,
    /// Reported that it fails.
    ExitFailed,
}

/// What an extension wants to hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscriptions {
    /// `INVOKE`.
    pub(crate) invoke: bool,
    /// `SHUTDOWN`; external extensions alone.
    pub(crate) shutdown: bool,
}

/// Which error an extension reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// `/extension/init/error`.
    Init,
    /// `/extension/exit/error`.
    Exit,
}

#[derive(Clone, Debug)]
pub(super) struct Extension {
    pub(super) name: String,
    pub(super) external: bool,
    pub(super) state: ExtensionState,
    pub(super) events: Subscriptions,
    pub(super) error_type: Option<String>,
}

impl ExtensionState {
    /// As in log lines and in the messages of refusals.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Expected => "Started",
            Self::Registered => "Registered",
            Self::Polling | Self::Away | Self::Queued(_) => "Ready",
            Self::Running(_) => "Running",
            Self::InitFailed => "InitError",
            Self::ExitFailed => "ExitError",
        }
    }

    /// Whether it has nothing to do until the next event.
    pub(super) fn is_at_rest(self) -> bool {
        matches!(self, Self::Polling | Self::Away)
    }
}

impl Failure {
    /// Lambda's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Init => "Extension.InitError",
            Self::Exit => "Extension.ExitError",
        }
    }
}

impl Extension {
    pub(super) fn expected(name: String) -> Self {
        Self {
            name,
            external: true,
            state: ExtensionState::Expected,
            events: Subscriptions::default(),
            error_type: None,
        }
    }

    pub(super) fn internal(name: &str, events: Subscriptions) -> Self {
        Self {
            name: name.to_owned(),
            external: false,
            state: ExtensionState::Registered,
            events,
            error_type: None,
        }
    }

    /// Asks for an event; whether there is one.
    pub(super) fn poll(&mut self) -> Result<bool, Refusal> {
        use ExtensionState::{Away, Polling, Queued, Registered, Running};
        let (state, take) = match self.state {
            Registered | Away | Running(_) => (Polling, false),
            Queued(notice) => (Running(notice), true),
            _ => return Err(self.refuse("Ready")),
        };
        self.state = state;
        Ok(take)
    }

    /// An event comes up; whether it goes to a waiting poll.
    pub(super) fn notify(&mut self, notice: Notice) -> bool {
        use ExtensionState::{Away, Polling, Queued, Registered, Running};
        let (state, give) = match self.state {
            Polling => (Running(notice), true),
            Registered | Away | Queued(_) | Running(_) => (Queued(notice), false),
            other => (other, false),
        };
        self.state = state;
        give
    }

    /// Reports an error. The same error twice is no news, and is accepted.
    pub(super) fn fail(&mut self, failure: Failure, error_type: &str) -> Result<bool, Refusal> {
        use ExtensionState::{Away, ExitFailed, InitFailed, Polling, Queued, Registered, Running};
        let state = match (failure, self.state) {
            (Failure::Init, InitFailed) | (Failure::Exit, ExitFailed) => return Ok(false),
            (Failure::Init, Registered) => InitFailed,
            (Failure::Exit, Registered | Polling | Away | Queued(_) | Running(_)) => ExitFailed,
            (Failure::Init, _) => return Err(self.refuse("InitError")),
            (Failure::Exit, _) => return Err(self.refuse("ExitError")),
        };
        self.state = state;
        self.error_type = Some(error_type.to_owned());
        Ok(true)
    }

    pub(super) fn refuse(&self, to: &'static str) -> Refusal {
        Refusal::ExtensionTransition {
            name: self.name.clone(),
            from: self.state.name(),
            to,
        }
    }
}
