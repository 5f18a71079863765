//! An ImageUri as a stranger writes it, and the names of which it and the registry's paths are made.

#![no_main]

use control::packages::repositories::{ManifestReference, RepositoryName, Tag};
use control::packages::{ImagePlace, OwnRegistry};
use image::source::spec::SourceSpec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let hosts = ["127.0.0.1:9000".to_owned(), "lambent.example".to_owned()];
    let own = OwnRegistry {
        hosts: &hosts,
        region: "us-east-1",
    };
    let account = "123456789012".parse().expect("twelve digits are an account");
    match own.place(&account, text) {
        Ok(ImagePlace::BuiltIn { repository, reference }) => {
            check_file_name(&repository.as_str().replace('/', "@"));
            assert_eq!(reference.to_string().parse(), Ok(reference));
        }
        // Never a file of this machine.
        Ok(ImagePlace::Remote(spec)) => {
            assert!(matches!(spec, SourceSpec::Registry(_)), "{spec}");
            assert_eq!(format!("docker://{spec}").parse().ok(), Some(spec));
        }
        Err(error) => assert!(!error.message.is_empty()),
    }
    if let Ok(name) = text.parse::<RepositoryName>() {
        check_file_name(&name.as_str().replace('/', "@"));
    }
    if let Ok(tag) = text.parse::<Tag>() {
        check_file_name(tag.as_str());
        assert_eq!(text.parse(), Ok(ManifestReference::Tag(tag)));
    }
});

/// What a name of a stranger becomes on our disk is one file name.
fn check_file_name(name: &str) {
    assert!((1..=255).contains(&name.len()) && !name.starts_with('.'), "{name:?}");
    assert!(!name.contains(['/', '\0', '\\']), "{name:?}");
}
