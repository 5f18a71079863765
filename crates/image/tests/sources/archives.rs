//! Layouts and archives as skopeo writes them.

use crate::sample::Sample;
use crate::servers::skopeo;
use std::fs;
use std::process::Command;

fn copy(sample: &Sample, options: &[&str], to: &str) {
    let from = format!("oci:{}:latest", sample.path("layout"));
    skopeo(&[&["copy"], options, &[&from, to]].concat());
}

#[test]
fn a_layout_of_plain_layers_is_read_in_place() {
    let sample = Sample::new();
    let image = sample.check(&format!("oci:{}", sample.path("layout")), &sample.options());
    assert_eq!(image.platform.to_string(), "linux/amd64");
    let layers = sample.unpack(&image).unwrap();
    assert!(layers.iter().all(|layer| !layer.is_verified()));
}

#[test]
fn what_skopeo_copies_is_read_the_same() {
    let sample = Sample::new();
    let gzip = ["--dest-compress", "--dest-compress-format", "gzip"];
    let zstd = ["--dest-compress", "--dest-compress-format", "zstd"];
    let cases: [(&[&str], &str, &str); 6] = [
        (&gzip, "oci:{}gzip:tag", "oci:{}gzip"),
        (&zstd, "oci:{}zstd:tag", "oci:{}zstd:tag"),
        (&[], "oci-archive:{}oci.tar:tag", "oci-archive:{}oci.tar:tag"),
        (
            &[],
            "docker-archive:{}docker.tar:python:3.12",
            "docker-archive:{}docker.tar:python:3.12",
        ),
        (&[], "docker-archive:{}unnamed.tar", "docker-archive:{}unnamed.tar"),
        (
            &["--format", "v2s2"],
            "oci-archive:{}v2.tar:tag",
            "oci-archive:{}v2.tar",
        ),
    ];
    for (options, to, source) in cases {
        copy(&sample, options, &to.replace("{}", &sample.path("")));
        sample.check(&source.replace("{}", &sample.path("")), &sample.options());
    }
}

#[test]
fn compressed_archives_are_read_the_same() {
    let sample = Sample::new();
    copy(
        &sample,
        &[],
        &format!("docker-archive:{}:a/b:c", sample.path("docker.tar")),
    );
    copy(&sample, &[], &format!("oci-archive:{}", sample.path("oci.tar")));
    for name in ["docker.tar", "oci.tar"] {
        let status = Command::new("gzip")
            .args(["--fast", &sample.path(name)])
            .status()
            .unwrap();
        assert!(status.success());
    }
    sample.check(
        &format!("docker-archive:{}", sample.path("docker.tar.gz")),
        &sample.options(),
    );
    sample.check(&format!("oci-archive:{}", sample.path("oci.tar.gz")), &sample.options());
}

#[test]
fn a_platform_is_chosen_from_an_index() {
    let sample = Sample::of_two_platforms();
    let source = format!("oci:{}", sample.path("layout"));
    sample.check(&source, &sample.options());
    let mut options = sample.options();
    options.platform = Some("linux/arm64".parse().unwrap());
    assert_eq!(sample.open(&source, &options).unwrap().layers.len(), 1);
    options.platform = Some("linux/s390x".parse().unwrap());
    let failure = sample.failure(&source, &options);
    assert!(
        failure.contains("nothing for linux/s390x; it has: linux/amd64, linux/arm64"),
        "{failure}"
    );
}

#[test]
fn an_image_for_another_machine_is_refused_early() {
    let sample = Sample::new();
    let mut options = sample.options();
    options.platform = Some("linux/arm64".parse().unwrap());
    let failure = sample.failure(&format!("oci:{}", sample.path("layout")), &options);
    assert!(
        failure.contains("nothing for linux/arm64; it has: linux/amd64"),
        "{failure}"
    );
}

#[test]
fn archives_that_are_cut_or_wrong_say_so() {
    let sample = Sample::new();
    let docker = sample.path("docker.tar");
    copy(&sample, &[], &format!("docker-archive:{docker}:python:3.12"));
    let failure = sample.failure(&format!("docker-archive:{docker}:python:3.13"), &sample.options());
    assert!(
        failure.contains("has no such image; it has: docker.io/library/python:3.12"),
        "{failure}"
    );
    let failure = sample.failure(&format!("oci-archive:{docker}"), &sample.options());
    assert!(
        failure.contains("is not an OCI image layout: it has no oci-layout"),
        "{failure}"
    );

    let whole = fs::read(&docker).unwrap();
    fs::write(&docker, &whole[..1_000_000]).unwrap();
    let failure = sample.failure(&format!("docker-archive:{docker}"), &sample.options());
    assert!(
        failure.contains("docker.tar is not an image archive: it is cut short at 1000000 bytes"),
        "{failure}"
    );

    let mut damaged = whole;
    damaged[1_000_000] ^= 1;
    fs::write(&docker, damaged).unwrap();
    let failure = sample.failure(&format!("docker-archive:{docker}"), &sample.options());
    assert!(
        failure.contains("layer 2 of 3") && failure.contains("is corrupt: its bytes hash to"),
        "{failure}"
    );
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let sample = Sample::new();
    for source in [
        "oci:/nonexistent",
        "oci-archive:/nonexistent",
        "docker-archive:/nonexistent",
    ] {
        let failure = sample.failure(source, &sample.options());
        assert!(failure.contains("cannot read /nonexistent: No such file"), "{failure}");
    }
}
