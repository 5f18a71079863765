//! One suite that every provider runs.

use super::account;
use crate::{ErrorKind, KeyError, KeyProvider, WrappedDataKey, WrappedError};

pub(super) async fn conforms(provider: &KeyProvider) {
    keys_come_back_and_differ(provider).await;
    another_account_never_opens(provider).await;
    changed_ciphertexts_never_open(provider).await;
    unknown_forms_are_refused_by_name(provider).await;
    nothing_printed_has_key_bytes(provider).await;
}

async fn keys_come_back_and_differ(provider: &KeyProvider) {
    let mut seen = Vec::new();
    for last in [1, 1, 2] {
        let WrappedDataKey { key, wrapped } = provider.generate(&account(last)).await.unwrap();
        assert_eq!(provider.unwrap(&account(last), &wrapped).await.unwrap(), key);
        assert!(!wrapped.windows(8).any(|window| key.expose().starts_with(window)));
        assert!(
            wrapped.len() < 1024,
            "a manifest has room for a kilobyte: {}",
            wrapped.len()
        );
        assert!(!seen.contains(&key));
        seen.push(key);
    }
}

async fn another_account_never_opens(provider: &KeyProvider) {
    let made = provider.generate(&account(1)).await.unwrap();
    provider.generate(&account(2)).await.unwrap();
    let error = provider.unwrap(&account(2), &made.wrapped).await.unwrap_err();
    assert!(error.to_string().contains("account"), "{error}");
    assert!(
        matches!(
            error,
            KeyError::Wrapped(WrappedError::Refused { .. }) | KeyError::Foreign(_)
        ),
        "{error}"
    );
}

async fn changed_ciphertexts_never_open(provider: &KeyProvider) {
    let made = provider.generate(&account(1)).await.unwrap();
    let mut wrapped = made.wrapped.clone();
    *wrapped.last_mut().unwrap() ^= 1;
    let error = provider.unwrap(&account(1), &wrapped).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadData, "{error}");
}

async fn unknown_forms_are_refused_by_name(provider: &KeyProvider) {
    let made = provider.generate(&account(1)).await.unwrap();
    let other_provider = 3 - made.wrapped[1];
    for (offset, value, expected) in [
        (0, 9, "version 9 is not known here"),
        (1, 9, "provider 9 is not known here"),
        (1, other_provider, "this image was sealed with "),
    ] {
        let mut wrapped = made.wrapped.clone();
        wrapped[offset] = value;
        let error = provider.unwrap(&account(1), &wrapped).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

async fn nothing_printed_has_key_bytes(provider: &KeyProvider) {
    let made = provider.generate(&account(1)).await.unwrap();
    let printed = format!("{provider:?} {:?}", made.key);
    assert!(
        printed.ends_with(" DataKey(secret)") && printed.len() < 300,
        "{printed}"
    );
}
