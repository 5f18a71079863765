//! Why Vault did not do what it was asked.

use super::VaultSettings;
use crate::ErrorKind;
use std::error::Error;
use std::fmt;

/// Why a call to Vault failed, as far as it decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultFault {
    /// What Vault was to be asked with cannot be used.
    Settings,
    /// No connection, or no answer in time.
    Unreachable,
    /// No token, or one that Vault does not take.
    NoCredentials,
    /// The token is good, and its policies forbid this.
    AccessDenied,
    /// No key of this name.
    UnknownKey,
    /// The key exists, and this version of it is not to be used any more.
    UnusableKey,
    /// Vault is sealed, overloaded or broken.
    Unavailable,
    /// Vault refuses for another reason.
    Refused,
}

impl VaultFault {
    pub(crate) const fn kind(self) -> ErrorKind {
        match self {
            Self::Unreachable | Self::Unavailable => ErrorKind::Retry,
            Self::Settings
            | Self::NoCredentials
            | Self::AccessDenied
            | Self::UnknownKey
            | Self::UnusableKey
            | Self::Refused => ErrorKind::FixRequest,
        }
    }

    /// See [`crate::KeyError::is_refusal`].
    pub(crate) const fn is_refusal(self) -> bool {
        matches!(self, Self::AccessDenied | Self::UnknownKey | Self::UnusableKey)
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Settings => "the settings cannot be used",
            Self::Unreachable => "Vault does not answer; check --vault-address and the network",
            Self::NoCredentials => "Vault does not take the token; check --vault-token-file",
            Self::AccessDenied => "access denied; the token's policies must allow update on this path",
            Self::UnknownKey => "there is no such key; check --vault-key, the mount and the namespace",
            Self::UnusableKey => "this version of the key is disabled; lower min_decryption_version to read with it",
            Self::Unavailable => "Vault is sealed, overloaded or failing; try again later",
            Self::Refused => "Vault refuses",
        }
    }
}

/// A call to Vault that did not succeed, after retries.
#[derive(Debug)]
pub struct VaultError {
    action: &'static str,
    key: String,
    address: String,
    cause: Cause,
}

/// What happened, before it is known what for.
#[derive(Debug)]
pub(super) struct Cause {
    pub(super) fault: VaultFault,
    /// In Vault's words, or the system's.
    pub(super) reason: String,
    /// The ciphertext is not one of this key, context and associated data.
    is_bad_ciphertext: bool,
}

impl Cause {
    pub(super) fn new(fault: VaultFault, reason: impl Into<String>) -> Self {
        Self {
            fault,
            reason: reason.into(),
            is_bad_ciphertext: false,
        }
    }

    /// Reads a status of 400 or more, but 403, with its messages. Statuses:
    /// <https://developer.hashicorp.com/vault/api-docs#http-status-codes>; texts: `sdk/helper/keysutil/policy.go`.
    pub(super) fn of_answer(status: u16, messages: &str) -> Self {
        let says = |text: &str| messages.contains(text);
        let fault = match status {
            // A replica that has not heard of the newest version yet.
            400 if says("version is too new") => VaultFault::Unavailable,
            400 if says("encryption key not found") => VaultFault::UnknownKey,
            400 if says("disallowed by policy") => VaultFault::UnusableKey,
            412 | 429 | 500..=599 => VaultFault::Unavailable,
            _ => VaultFault::Refused,
        };
        let is_bad = says("invalid ciphertext") || says("message authentication failed");
        Self {
            fault,
            reason: format!("status {status}: {messages}"),
            is_bad_ciphertext: status == 400 && fault == VaultFault::Refused && is_bad,
        }
    }
}

impl VaultError {
    pub(super) fn new(action: &'static str, settings: &VaultSettings, cause: Cause) -> Self {
        Self {
            action,
            key: settings.key.clone(),
            address: settings.address.clone(),
            cause,
        }
    }

    pub(super) fn settings(settings: &VaultSettings, reason: impl Into<String>) -> Self {
        Self::new("wrap data keys", settings, Cause::new(VaultFault::Settings, reason))
    }

    /// What the failure means.
    #[must_use]
    pub const fn fault(&self) -> VaultFault {
        self.cause.fault
    }

    pub(super) const fn is_bad_ciphertext(&self) -> bool {
        self.cause.is_bad_ciphertext
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            action,
            key,
            address,
            cause,
        } = self;
        let (hint, reason) = (cause.fault.hint(), &cause.reason);
        write!(
            formatter,
            "cannot {action} with Vault's transit key {key} at {address}: {hint} ({reason})"
        )
    }
}

impl Error for VaultError {}
