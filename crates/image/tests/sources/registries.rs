//! A real registry, open, with passwords and with tokens, over good networks and bad ones.

use crate::proxy::{Faults, Proxy};
use crate::sample::{Sample, flip_a_bit, sha256};
use crate::servers::{Access, PASSWORD, Registry, USER};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::source::OpenOptions;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

const GZIP: [&str; 3] = ["--dest-compress", "--dest-compress-format", "gzip"];
const ZSTD: [&str; 3] = ["--dest-compress", "--dest-compress-format", "zstd"];

fn layout(sample: &Sample) -> String {
    format!("oci:{}:latest", sample.path("layout"))
}

/// Options with docker's configuration file for `host`.
fn logged_in(sample: &Sample, host: &str, password: &str) -> OpenOptions {
    let login = STANDARD.encode(format!("{USER}:{password}"));
    let path = sample.path("config.json");
    fs::write(&path, format!(r#"{{"auths": {{"{host}": {{"auth": "{login}"}}}}}}"#)).unwrap();
    let mut options = sample.options();
    options.docker_config = Some(path.into());
    options
}

#[test]
fn an_open_registry_gives_the_image_by_tag_and_by_digest() {
    let sample = Sample::new();
    let (registry, _) = Registry::start(sample.directory.path(), &Access::Open);
    let cases: [(&[&str], &str); 4] = [
        (&GZIP, "gzip:1"),
        (&ZSTD, "team/zstd:1"),
        (&["--format", "v2s2"], "v2s2:1"),
        (&["--preserve-digests"], "plain:1"),
    ];
    for (options, name) in cases {
        registry.push(&layout(&sample), options, name);
        let source = format!("{}/{name}", registry.host());
        let by_tag = sample.check(&source, &sample.options());
        assert!(by_tag.layers.iter().all(|layer| layer.digest.is_some()));
        let digest = by_tag.manifest_digest.unwrap();
        let (repository, _) = source.rsplit_once(':').unwrap();
        let by_digest = sample.check(&format!("docker://{repository}@{digest}"), &sample.options());
        assert_eq!(by_digest.manifest_digest, Some(digest));
    }
}

#[test]
fn an_index_of_a_registry_gives_the_wanted_platform() {
    let sample = Sample::of_two_platforms();
    let (registry, _) = Registry::start(sample.directory.path(), &Access::Open);
    registry.push(&layout(&sample), &["--all"], "multi:1");
    let source = format!("{}/multi:1", registry.host());
    sample.check(&source, &sample.options());
    let mut options = sample.options();
    options.platform = Some("linux/arm64".parse().unwrap());
    assert_eq!(sample.open(&source, &options).unwrap().layers.len(), 1);
}

#[test]
fn passwords_open_a_registry_and_wrong_ones_are_told() {
    for access in [Access::Password, Access::Token] {
        let sample = Sample::new();
        let (registry, _token_server) = Registry::start(sample.directory.path(), &access);
        registry.push(&layout(&sample), &GZIP, "a/b:1");
        let host = registry.host();
        let source = format!("{host}/a/b:1");
        sample.check(&source, &logged_in(&sample, &host, PASSWORD));

        let failure = sample.failure(&source, &logged_in(&sample, &host, "wrong horse"));
        assert!(
            failure.contains("config.json are wrong, or give no access to a/b:1"),
            "{failure}"
        );
        assert!(failure.contains(&format!("`docker login {host}`")), "{failure}");
        assert!(!failure.contains("horse"), "{failure}");

        let failure = sample.failure(&source, &sample.options());
        assert!(
            failure.contains(&format!("{host}: a/b:1 does not exist, or needs a login")),
            "{failure}"
        );
    }
}

#[test]
fn what_a_registry_does_not_have_is_named() {
    let sample = Sample::new();
    let (registry, _) = Registry::start(sample.directory.path(), &Access::Open);
    registry.push(&layout(&sample), &GZIP, "a:1");
    let host = registry.host();
    for name in ["a:2", "b:1"] {
        let failure = sample.failure(&format!("{host}/{name}"), &sample.options());
        assert_eq!(failure, format!("{host}: there is no {name}: check repository and tag"));
    }
}

#[test]
fn an_unreachable_registry_is_named() {
    let sample = Sample::new();
    // Bound and not accepting: nobody else can take the port, and closing it refuses connections.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let failure = sample.failure(&format!("{host}/a:1"), &sample.options());
    assert!(
        failure.starts_with(&format!("{host}: cannot be reached: ")),
        "{failure}"
    );
    assert!(failure.contains("refused"), "{failure}");
}

#[test]
fn a_rate_limit_is_told_after_some_tries() {
    let sample = Sample::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    // Ends with the first connection that says so.
    let server = thread::spawn(move || {
        let mut limited = 0;
        for mut stream in listener.incoming().map(Result::unwrap) {
            let mut request = [0; 2048];
            let read = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..read]);
            if request.starts_with("END") {
                return limited;
            }
            let status = if request.contains("/manifests/") {
                limited += 1;
                "429 Too Many Requests"
            } else {
                "200 OK"
            };
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            .unwrap();
        }
        limited
    });
    let failure = sample.failure(&format!("{host}/a:1"), &sample.options());
    std::net::TcpStream::connect(&host).unwrap().write_all(b"END").unwrap();
    assert_eq!(server.join().unwrap(), 5);
    assert!(
        failure.contains("limits the rate of requests: wait some minutes, or log in"),
        "{failure}"
    );
}

#[test]
fn a_blob_is_resumed_where_the_connection_broke() {
    let sample = Sample::new();
    let (registry, _) = Registry::start(sample.directory.path(), &Access::Open);
    registry.push(&layout(&sample), &GZIP, "a:1");
    let faults = Faults {
        cut_after: 300_000,
        cuts: usize::MAX,
        hide_ranges: false,
    };
    let proxy = Proxy::start(registry.port(), faults);
    sample.check(&format!("{}/a:1", proxy.host()), &sample.options());
    let resumed = proxy.resumed_at();
    assert!(
        proxy.connections() >= 7,
        "2 MB in pieces of 0.3 MB took {} connections",
        proxy.connections()
    );
    assert!(
        resumed.len() >= 6 && resumed.windows(2).all(|pair| pair[0] < pair[1]),
        "{resumed:?}"
    );
}

#[test]
fn a_server_without_ranges_is_read_again_from_the_start() {
    let sample = Sample::new();
    let (registry, _) = Registry::start(sample.directory.path(), &Access::Open);
    registry.push(&layout(&sample), &ZSTD, "a:1");
    let faults = Faults {
        cut_after: 400_000,
        cuts: 3,
        hide_ranges: true,
    };
    let proxy = Proxy::start(registry.port(), faults);
    sample.check(&format!("{}/a:1", proxy.host()), &sample.options());
    assert!(proxy.connections() > 3 && !proxy.resumed_at().is_empty());
}

#[test]
fn a_blob_that_never_gets_on_is_given_up() {
    let sample = Sample::new();
    let (registry, _) = Registry::start(sample.directory.path(), &Access::Open);
    registry.push(&layout(&sample), &GZIP, "a:1");
    let faults = Faults {
        cut_after: 400_000,
        cuts: usize::MAX,
        hide_ranges: true,
    };
    let proxy = Proxy::start(registry.port(), faults);
    let failure = sample.failure(&format!("{}/a:1", proxy.host()), &sample.options());
    assert!(
        failure.contains("the connection broke") && failure.contains("trying again did not help"),
        "{failure}"
    );
}

#[test]
fn damaged_blobs_of_a_registry_are_refused() {
    let sample = Sample::new();
    let (registry, _) = Registry::start(sample.directory.path(), &Access::Open);
    registry.push(&layout(&sample), &["--preserve-digests"], "a:1");
    let source = format!("{}/a:1", registry.host());
    let digest = sha256(&sample.layers[1]);
    let blob = registry.blob(&digest);
    flip_a_bit(&blob);
    let failure = sample.failure(&source, &sample.options());
    assert!(
        failure.contains(&format!(
            "layer 2 of 3 ({digest}) of {source} is corrupt: its bytes hash to"
        )),
        "{failure}"
    );

    let file = fs::OpenOptions::new().write(true).open(&blob).unwrap();
    file.set_len(1_000_000).unwrap();
    let failure = sample.failure(&source, &sample.options());
    assert!(
        failure.contains(&format!("blob {digest} has 1000000 bytes, not")),
        "{failure}"
    );

    fs::remove_file(&blob).unwrap();
    let failure = sample.failure(&source, &sample.options());
    assert!(failure.contains(&format!("has no blob {digest}")), "{failure}");
}
