use super::*;
use std::os::unix::fs::PermissionsExt;

fn account(last: u8) -> Account {
    format!("12345678901{last}").parse().unwrap()
}

fn folder_with_keyring() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.json");
    update(&path, |keys| {
        keys.insert(account(1), AccountKeys::of(DataKey::from_bytes([7; KEY_BYTES])));
        Ok(())
    })
    .unwrap();
    (folder, path)
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_file_is_as_documented() {
    let (_folder, path) = folder_with_keyring();
    let text = std::fs::read_to_string(&path).unwrap();
    let key = STANDARD.encode([7; KEY_BYTES]);
    assert_eq!(
        text,
        format!("{{\n  \"version\": 1,\n  \"accounts\": {{\n    \"123456789011\": \"{key}\"\n  }}\n}}\n")
    );
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    let keys = read(&path).unwrap().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[&account(1)], AccountKeys::of(DataKey::from_bytes([7; KEY_BYTES])));
}

#[test]
fn wider_permissions_are_refused() {
    let (_folder, path) = folder_with_keyring();
    for mode in [0o640, 0o604, 0o660, 0o601, 0o610, 0o620, 0o602, 0o777] {
        chmod(&path, mode);
        for error in [read(&path).unwrap_err(), update(&path, |_| Ok(())).unwrap_err()] {
            let expected = format!("run chmod 600 {}", path.display());
            assert!(error.to_string().ends_with(&expected), "{error}");
        }
    }
    for mode in [0o600, 0o400, 0o700] {
        chmod(&path, mode);
        assert!(read(&path).unwrap().is_some());
    }
}

#[test]
fn only_plain_files_are_read() {
    let (folder, path) = folder_with_keyring();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let dangling = folder.path().join("dangling");
    std::os::unix::fs::symlink(folder.path().join("nothing"), &dangling).unwrap();
    for path in [link.as_path(), dangling.as_path(), folder.path()] {
        let error = read(path).unwrap_err();
        assert!(matches!(error, KeyringError::NotAFile { .. }), "{error}");
    }
    assert!(read(&folder.path().join("absent")).unwrap().is_none());
}

#[test]
fn other_contents_are_refused_by_name() {
    let (_folder, path) = folder_with_keyring();
    let good = std::fs::read_to_string(&path).unwrap();
    let cases = [
        (
            good.replace("\"version\": 1", "\"version\": 3"),
            "has version 3 (this build reads version 2 and older)",
        ),
        (
            good.replace("\"version\": 1", "\"version\": 1, \"extra\": 1"),
            "corrupt: line 2",
        ),
        (good.replace("123456789011", "12345678901"), "a name is not an account"),
        (
            good.replace("BwcHBwcH", ""),
            "the key of account 123456789011 is not 32 bytes",
        ),
        (
            good.replace("BwcHBwcH", "!wcHBwcH"),
            "the key of account 123456789011 is not 32 bytes",
        ),
        (String::new(), "corrupt: line 1"),
        ("x".repeat(FILE_BYTES_MAX as usize + 1), "has more than 1048576 bytes"),
    ];
    for (text, expected) in cases {
        std::fs::write(&path, &text).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("BwcH"), "{error}");
    }
}

#[test]
fn what_a_killed_writer_leaves_is_in_nobodys_way() {
    let (_folder, path) = folder_with_keyring();
    std::fs::write(with_suffix(&path, ".new"), "half").unwrap();
    let keys = update(&path, |keys| {
        keys.insert(account(2), AccountKeys::of(DataKey::from_bytes([8; KEY_BYTES])));
        Ok(())
    });
    assert_eq!(keys.unwrap().len(), 2);
    assert_eq!(read(&path).unwrap().unwrap().len(), 2);
    assert!(!with_suffix(&path, ".new").exists());
}

#[test]
fn several_keys_or_a_revoked_one_make_version_2() {
    let (_folder, path) = folder_with_keyring();
    update(&path, |keys| {
        let own = keys.get_mut(&account(1)).unwrap();
        own.keys.insert(0, DataKey::from_bytes([9; KEY_BYTES]));
        own.revoked = true;
        Ok(())
    })
    .unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let [new, old] = [[9; KEY_BYTES], [7; KEY_BYTES]].map(|bytes| STANDARD.encode(bytes));
    let expected = serde_json::json!({
        "version": 2,
        "accounts": { "123456789011": { "keys": [new, old], "revoked": true } },
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
    let own = &read(&path).unwrap().unwrap()[&account(1)];
    assert_eq!((own.keys.len(), own.revoked), (2, true));
    for (bad, expected) in [
        (text.replace("\"revoked\": true", "\"revoked\": 1"), "corrupt: line"),
        (
            format!(
                "{{\"version\":2,\"accounts\":{{\"{}\":{{\"keys\":[],\"revoked\":false}}}}}}",
                account(1)
            ),
            "has 0 keys",
        ),
    ] {
        std::fs::write(&path, bad).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
