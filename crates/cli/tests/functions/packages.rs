//! Where code comes from, and what becomes of it: npm, S3, a registry with a login; blobs that nothing names any more.

use crate::endpoint::{Endpoint, cache};
use crate::servers::{ObjectStore, PASSWORD, Registry, USER};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

#[test]
fn a_node_directory_becomes_a_function() {
    let endpoint = Endpoint::start();
    let base = format!("oci:{}", cache().join("corpus/node-runtime").display());
    let said = endpoint.lambent(&["runtime", "add", "nodejs20.x", &base]);
    assert!(
        said.contains("/usr/local/bin/node /usr/local/lib/node_modules/aws-lambda-ric"),
        "{said}"
    );
    let project = endpoint.path("shouter");
    fs::create_dir(&project).unwrap();
    // A dependency that a handler cannot do without, and one of development that shall not be in the zip.
    let package = r#"{"type": "module", "dependencies": {"ms": "2.1.3"}, "devDependencies": {"isarray": "2.0.5"}}"#;
    fs::write(project.join("package.json"), package).unwrap();
    let source = "import { existsSync } from 'node:fs';\nimport ms from 'ms';\n\n\
                  export const handler = async (event) => {\n  console.log('asked for', event.time);\n  \
                  return [process.env.GREETING, ms(event.time), existsSync('/var/task/node_modules/isarray')];\n};\n";
    fs::write(project.join("index.mjs"), source).unwrap();
    let project = project.display().to_string();
    let said = endpoint.lambent(&["deploy", &project, "--env", "GREETING=hello", "--timeout", "30"]);
    assert!(said.contains("shouter is ready: nodejs20.x, index.handler"), "{said}");
    let answer = endpoint.lambent(&["invoke", "shouter", r#"{"time": "2 days"}"#]);
    assert_eq!(answer.trim(), r#"["hello",172800000,false]"#);
    assert!(endpoint.logged("shouter", "asked for 2 days"));
    endpoint.lambent(&["rm", "shouter"]);
}

#[test]
fn code_comes_from_s3() {
    let store = ObjectStore::start();
    let endpoint = Endpoint::start_with(|up| {
        up.args(["--s3-endpoint", &store.url()])
            .env("AWS_ACCESS_KEY_ID", &store.key)
            .env("AWS_SECRET_ACCESS_KEY", &store.secret);
    });
    let variables = [
        ("S3_URL", store.url()),
        ("S3_KEY", store.key.clone()),
        ("S3_SECRET", store.secret.clone()),
    ];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    endpoint.boto3_with("s3", &variables);
    // The same objects, asked for with a secret that is not the key's.
    let denied = Endpoint::start_with(|up| {
        up.args(["--s3-endpoint", &store.url()])
            .env("AWS_ACCESS_KEY_ID", &store.key)
            .env("AWS_SECRET_ACCESS_KEY", "not-the-secret");
    });
    denied.boto3("s3_denied");
}

#[test]
fn an_image_comes_from_a_registry_that_wants_a_login() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let registry = Registry::with_password(directory.path());
    let docker = directory.path().join("docker");
    fs::create_dir(&docker).unwrap();
    let endpoint = Endpoint::start_with(|up| {
        up.env("DOCKER_CONFIG", &docker);
    });
    let docker = docker.display().to_string();
    let host = registry.host();
    endpoint.boto3_with(
        "registries",
        &[
            ("REGISTRY", host.as_str()),
            ("REGISTRY_USER", USER),
            ("REGISTRY_PASSWORD", PASSWORD),
            ("DOCKER_CONFIG", docker.as_str()),
        ],
    );
}

#[test]
fn blobs_that_nothing_names_are_freed_and_no_others_though_it_crashes() {
    let mut endpoint = Endpoint::start();
    endpoint.boto3("before_reclaim");
    let (blobs, notes) = (
        endpoint.data().join("packages/blobs/sha256"),
        endpoint.data().join("packages/blobs/unnamed"),
    );
    let kept = files(&blobs).len() - 1;
    // Each start looks for what has no name; the first notes it, and it goes when the note is a day old.
    endpoint.crash_and_start();
    let noted = until("a note", || Some(files(&notes)).filter(|notes| !notes.is_empty()));
    assert_eq!(noted.len(), 1, "{noted:?}");
    let file = fs::File::open(&noted[0]).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(25 * 3600))
        .unwrap();
    endpoint.crash_and_start();
    until("the blob is freed", || files(&notes).is_empty().then_some(()));
    assert_eq!(files(&blobs).len(), kept);
    endpoint.boto3("after_reclaim");
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Looks again and again until there is something to see.
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}
