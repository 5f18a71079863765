//! The store and the keys elsewhere: S3 and KMS over HTTP, as moto plays them.

use crate::judges::{fsck, hash};
use crate::lambent::{Lambent, corpus};
use crate::servers::Moto;

pub(crate) fn with_credentials(lambent: &mut Lambent) {
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ] {
        lambent.variables.push((name.to_owned(), value.to_owned()));
    }
}

#[test]
fn an_image_goes_to_s3_under_a_key_of_kms_and_comes_back() {
    let moto = Moto::start();
    moto.create_bucket("images");
    let mut remote = Lambent::new();
    with_credentials(&mut remote);
    let url = moto.url();
    let store = format!("s3://images/some/prefix?endpoint={url}&region=us-east-1&allow_http=true");
    let key = moto.create_key();
    remote.options.extend(
        [
            "--store",
            &store,
            "--kms-key",
            &key,
            "--kms-endpoint",
            &url,
            "--kms-region",
            "us-east-1",
        ]
        .map(str::to_owned),
    );
    let first = remote.push(&corpus("base"), "base");
    assert!(first["chunks_new"].as_u64().unwrap() > 0);
    assert_eq!(remote.push(&corpus("base"), "again")["chunks_new"], 0);
    remote.assert_whole("base");
    assert!(!remote.store().exists(), "nothing is kept on this machine");
    assert!(
        !remote.path("data/keyring.json").exists(),
        "no keyring where KMS has the key"
    );

    let exported = remote.export("base");
    fsck(&exported);
    let local = Lambent::new();
    local.push(&corpus("base"), "base");
    assert_eq!(
        hash(&exported),
        hash(&local.export("base")),
        "the store changes no byte"
    );

    let other = moto.create_key();
    let last = remote.options.iter().position(|word| *word == key).unwrap();
    remote.options[last] = other;
    remote.fails(&["verify", "base"]);
    assert_eq!(remote.names(), ["again", "base"], "names need no key");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let mut lambent = Lambent::new();
    with_credentials(&mut lambent);
    lambent.options.extend(
        [
            "--store",
            "s3://b?endpoint=http://127.0.0.1:1&region=us-east-1&allow_http=true",
        ]
        .map(str::to_owned),
    );
    let message = lambent.fails(&["ls"]);
    assert!(message.contains("127.0.0.1:1"), "{message}");
}
