//! One suite that every provider runs.

use super::account;
use crate::{ErrorKind, KeyError, KeyProvider, WrappedDataKey, WrappedError, WrappingKey};

pub(super) async fn conforms(provider: &KeyProvider) {
    keys_come_back_and_differ(provider).await;
    another_account_never_opens(provider).await;
    changed_ciphertexts_never_open(provider).await;
    unknown_forms_are_refused_by_name(provider).await;
    nothing_printed_has_key_bytes(provider).await;
    a_key_is_wrapped_anew(provider).await;
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
    let other_provider = made.wrapped[1] % 3 + 1;
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

/// Rotation keeps what was wrapped before; what is wrapped afterwards names the newest key.
async fn a_key_is_wrapped_anew(provider: &KeyProvider) {
    let made = provider.generate(&account(1)).await.unwrap();
    provider.rotate(&account(1)).await.unwrap();
    let newest = provider.wrapping_key(&account(1)).await.unwrap();
    assert_eq!(newest, provider.wrapping_key(&account(1)).await.unwrap());
    let wrapped = provider.wrap(&account(1), &made.key).await.unwrap();
    assert_ne!(wrapped, made.wrapped);
    assert_eq!(WrappingKey::of(&wrapped).unwrap(), newest);
    for wrapped in [&wrapped, &made.wrapped] {
        assert_eq!(provider.unwrap(&account(1), wrapped).await.unwrap(), made.key);
    }
    let account = account(1);
    let newest = async |rewrapped| provider.unwrap_newest(&account, rewrapped, &made.wrapped).await;
    assert_eq!(newest(None).await.unwrap(), made.key);
    assert_eq!(newest(Some(&wrapped)).await.unwrap(), made.key);
    // One that is damaged is passed over.
    assert_eq!(newest(Some(b"half".as_slice())).await.unwrap(), made.key);
}
