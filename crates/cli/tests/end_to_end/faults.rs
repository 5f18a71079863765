//! A machine that says no: full disk, no permission, no registry, no login.

use crate::judges::Mounted;
use crate::lambent::{Lambent, corpus, failure, files};
use crate::layout::{Layer, Layout};
use crate::servers::{PASSWORD, Registry, USER, docker_login};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

fn small_image(lambent: &Lambent) -> Layout {
    Layout::write(
        &lambent.path("layout"),
        &[Layer::of("mkdir d; echo text >d/f; tar -cf layer.tar d")],
    )
}

#[test]
fn a_full_disk_is_named_and_holds_no_image() {
    ["base", "base-gzip"].into_iter().for_each(check_full_disk);
}

fn check_full_disk(name: &str) {
    let mut lambent = Lambent::new();
    let disk = Mounted::small(24 << 20);
    let data = disk.path().join("data");
    lambent.options = vec!["--data".to_owned(), data.display().to_string()];
    let message = lambent.fails(&["push", &corpus(name)]);
    assert!(message.contains("No space left on device"), "{message}");
    assert!(message.contains(data.to_str().unwrap()), "{message}");
    assert!(lambent.names().is_empty());
    // Chunks that got there are kept for the next push, unless that has no room because of them.
    assert!(files(&data.join("store/images")).is_empty());
}

#[test]
fn what_may_not_be_read_or_written_is_named() {
    let lambent = Lambent::new();
    let layout = small_image(&lambent);
    let push = |lambent: &Lambent| {
        // Root without its capabilities is bound by permissions as anyone is.
        let command = lambent.command(&["push", &layout.source()]);
        let mut limited = Command::new("setpriv");
        limited
            .args(["--bounding-set=-all", "--inh-caps=-all", "--"])
            .arg(command.get_program())
            .args(command.get_args());
        failure(&limited.output().unwrap())
    };
    fs::set_permissions(&layout.layers[0], Permissions::from_mode(0o000)).unwrap();
    let message = push(&lambent);
    let layer = layout.layers[0].file_name().unwrap().to_str().unwrap();
    assert!(
        message.contains("Permission denied") && message.contains(layer),
        "{message}"
    );
    fs::set_permissions(&layout.layers[0], Permissions::from_mode(0o600)).unwrap();

    let mut closed = Lambent::new();
    let directory = closed.path("closed");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o500)).unwrap();
    closed.options = vec!["--data".to_owned(), directory.join("data").display().to_string()];
    let message = push(&closed);
    assert!(
        message.contains("Permission denied") && message.contains("closed/data"),
        "{message}"
    );
}

#[test]
fn a_keyring_that_others_may_read_is_refused() {
    let lambent = Lambent::new();
    let layout = small_image(&lambent);
    lambent.push(&layout.source(), "image");
    fs::set_permissions(lambent.path("data/keyring.json"), Permissions::from_mode(0o640)).unwrap();
    let message = lambent.fails(&["inspect", "image"]);
    assert!(message.contains("keyring.json"), "{message}");
}

#[test]
fn a_registry_wants_the_right_password() {
    let mut lambent = Lambent::new();
    let layout = small_image(&lambent);
    let registry = Registry::with_password(&lambent.path(""));
    registry.fill(&layout.source(), "image:latest");
    let source = format!("{}/image:latest", registry.host());
    let message = lambent.fails(&["push", &source]);
    assert!(
        message.contains("login") && message.contains(&registry.host()),
        "{message}"
    );
    for (password, is_right) in [("not-this-one", false), (PASSWORD, true)] {
        let config = docker_login(&lambent.path("docker"), &registry.host(), USER, password);
        lambent.variables = vec![("DOCKER_CONFIG".to_owned(), config)];
        if is_right {
            lambent.push(&source, "image");
            lambent.assert_whole("image");
        } else {
            let message = lambent.fails(&["push", &source]);
            assert!(
                message.contains(&registry.host()) && !message.contains(password),
                "{message}"
            );
            assert!(lambent.names().is_empty());
        }
    }
}

#[test]
fn an_image_that_does_not_exist_is_named() {
    let lambent = Lambent::new();
    for command in [
        &["inspect", "none"][..],
        &["verify", "none"],
        &["export", "none", "/tmp/none"],
        &["compare", "none", "none"],
        &["rm", "none"],
    ] {
        let message = lambent.fails(command);
        assert!(
            message.contains("`none`") && message.contains("does not exist"),
            "{message}"
        );
    }
}
