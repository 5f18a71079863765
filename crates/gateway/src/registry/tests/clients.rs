//! skopeo and buildah, as Debian ships them.

use super::server::{Registry, login, run, sample_layout, succeed};
use crate::authorization::Caller;
use control::KeyPolicy;
use control::packages::Blob;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// All files of a layout's blobs: the name, and what it should be.
fn blobs(layout: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let pairs = entries.map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, Blob::of(&fs::read(&path).unwrap()).hex().to_owned())
    });
    pairs.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_pushes_pulls_mounts_lists_and_deletes() {
    let registry = Registry::start().await;
    let (layout, back) = (sample_layout(), tempfile::tempdir().unwrap());
    let source = format!("oci:{}:latest", layout.path().display());
    let target = format!("oci:{}:latest", back.path().display());
    let credentials = registry.credentials();
    let (first, second) = (registry.image("team/app:1"), registry.image("team/other:1"));

    // Without --preserve-digests skopeo compresses the layers on their way.
    let exact = ["copy", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds"];
    succeed("skopeo", &[&exact[..], &[&credentials, &source, &first]].concat()).await;
    let pull = [
        "copy",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--src-creds",
        &credentials,
        &first,
        &target,
    ];
    succeed("skopeo", &pull).await;
    let pulled = blobs(back.path());
    assert_eq!(pulled, blobs(layout.path()));
    assert!(pulled.iter().all(|(name, digest)| name == digest));

    let login = [
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--src-creds",
        &credentials,
        "--dest-creds",
    ];
    let across = [&["copy"], &login[..], &[&credentials, &first, &second]].concat();
    succeed("skopeo", &across).await;
    let again = [
        "copy",
        "--format",
        "v2s2",
        "--dest-tls-verify=false",
        "--dest-creds",
        &credentials,
        &source,
        &second,
    ];
    succeed("skopeo", &again).await;
    let digest = [
        "inspect",
        "--format",
        "{{.Digest}}",
        "--tls-verify=false",
        "--creds",
        &credentials,
    ];
    let schema2 = succeed("skopeo", &[&digest[..], &[&second]].concat()).await;
    let oci = succeed("skopeo", &[&digest[..], &[&first]].concat()).await;
    assert_ne!(schema2, oci);

    let repository = registry.image("team/app");
    let tags = ["list-tags", "--tls-verify=false", "--creds", &credentials, &repository];
    assert!(succeed("skopeo", &tags).await.contains("\"1\""));

    // The push has begun to make the device, or has made it: a function waits for it or finds it.
    let packages = registry.gateway.control.packages();
    let architecture = if cfg!(target_arch = "x86_64") {
        "x86_64"
    } else {
        "arm64"
    };
    let uri = format!("{}/team/app:1", registry.address);
    let prepared = packages
        .prepare_image(&registry.key.account, &uri, architecture)
        .await
        .unwrap();
    assert_eq!(
        (prepared.digest.as_str(), prepared.entrypoint[0].as_str()),
        (oci.trim(), "/app")
    );

    let delete = ["delete", "--tls-verify=false", "--creds", &credentials, &first];
    succeed("skopeo", &delete).await;
    let gone = run("skopeo", &pull).await;
    assert!(!gone.status.success());
    assert!(
        String::from_utf8_lossy(&gone.stderr).contains("manifest unknown"),
        "{gone:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_pushed_is_made_into_a_device_without_being_asked_for() {
    let registry = Registry::start().await;
    let layout = sample_layout();
    let (source, target) = (
        format!("oci:{}:latest", layout.path().display()),
        registry.image("app:1"),
    );
    let push = [
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        &registry.credentials(),
        &source,
        &target,
    ];
    succeed("skopeo", &push).await;
    let records = registry.directory.path().join("store");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds(&records, "lambda-image-") {
        assert!(std::time::Instant::now() < deadline, "no device was made");
        tokio::task::yield_now().await;
    }
}

/// Whether any path below a directory has this in it.
fn holds(directory: &Path, text: &str) -> bool {
    let Ok(entries) = fs::read_dir(directory) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        path.to_string_lossy().contains(text) || holds(&path, text)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_is_refused_without_the_right_password_and_let_in_with_a_token() {
    let registry = Registry::start().await;
    let layout = sample_layout();
    let (source, target) = (
        format!("oci:{}:latest", layout.path().display()),
        registry.image("app:1"),
    );
    let wrong = format!("{}:wrong", registry.key.id);
    for credentials in [wrong.as_str(), "nobody:nothing", "AWS:123456789012.9999999999999.00"] {
        let push = [
            "copy",
            "--dest-tls-verify=false",
            "--dest-creds",
            credentials,
            &source,
            &target,
        ];
        let refused = run("skopeo", &push).await;
        assert!(!refused.status.success(), "{credentials}");
        let message = String::from_utf8_lossy(&refused.stderr).to_lowercase();
        assert!(
            message.contains("unauthorized") || message.contains("invalid username"),
            "{message}"
        );
    }
    let answer = crate::ecr::ecr(
        &registry.gateway,
        &Caller::of(registry.key.clone()),
        "GetAuthorizationToken",
        b"{}",
        "host:1",
    )
    .await;
    let answer = answer.unwrap();
    let data = &answer["authorizationData"][0];
    assert_eq!(data["proxyEndpoint"], "http://host:1");
    let token = base64_text(data["authorizationToken"].as_str().unwrap());
    let push = [
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        &token,
        &source,
        &target,
    ];
    succeed("skopeo", &push).await;
    // Another account neither sees the repository nor gets its blobs.
    let stranger = login(&registry.stranger().await);
    let inspect = ["inspect", "--tls-verify=false", "--creds", &stranger, &target];
    assert!(!run("skopeo", &inspect).await.status.success());
}

fn base64_text(text: &str) -> String {
    use base64::Engine;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn buildah_builds_pushes_and_pulls() {
    let registry = Registry::start().await;
    let work = tempfile::tempdir().unwrap();
    fs::write(
        work.path().join("Dockerfile"),
        "FROM scratch\nCOPY app /app\nENTRYPOINT [\"/app\"]\n",
    )
    .unwrap();
    fs::write(work.path().join("app"), "program").unwrap();
    let at = |name: &str| work.path().join(name).display().to_string();
    let (root, run_root, context) = (at("root"), at("run"), at("."));
    // Its own storage, which needs no mounts and goes away with the directory.
    let storage = ["--storage-driver", "vfs", "--root", &root, "--runroot", &run_root];
    let buildah = |arguments: &[&str]| {
        let arguments: Vec<String> = storage.iter().chain(arguments).map(|text| (*text).to_owned()).collect();
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            succeed("buildah", &arguments).await
        }
    };
    let (credentials, target) = (registry.credentials(), registry.image("built/app:latest"));
    buildah(&["build", "--isolation", "chroot", "--tag", "app", &context]).await;
    buildah(&["push", "--tls-verify=false", "--creds", &credentials, "app", &target]).await;
    let pulled = buildah(&["pull", "--tls-verify=false", "--creds", &credentials, &target]).await;
    let built = buildah(&["images", "--no-trunc", "--quiet", "localhost/app"]).await;
    assert!(built.contains(pulled.trim()), "{built} {pulled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_key_pushes_and_pulls_where_its_policy_says_also_by_its_token() {
    let registry = Registry::start().await;
    let layout = sample_layout();
    let source = format!("oci:{}:latest", layout.path().display());
    let policy = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "ecr:*", "Resource": "arn:aws:ecr:*:*:repository/team/*"},
        {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
        {"Effect": "Deny", "Action": "ecr:PutImage", "Resource": "arn:aws:ecr:*:*:repository/team/fixed"}]}"#;
    let policy = KeyPolicy::parse(policy).unwrap();
    let control = &registry.gateway.control;
    let key = control
        .create_limited_key(&registry.key.account, Some(policy))
        .await
        .unwrap();
    let caller = Caller::of(key.clone());
    let answer = crate::ecr::ecr(&registry.gateway, &caller, "GetAuthorizationToken", b"{}", "host:1").await;
    let token = base64_text(
        answer.unwrap()["authorizationData"][0]["authorizationToken"]
            .as_str()
            .unwrap(),
    );
    for credentials in [login(&key), token.clone()] {
        let push = async |name: &str| {
            let target = registry.image(name);
            let words = [
                "copy",
                "--dest-tls-verify=false",
                "--dest-creds",
                &credentials,
                &source,
                &target,
            ];
            run("skopeo", &words).await
        };
        let pushed = push("team/app:1").await;
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
        for name in ["other/app:1", "team/fixed:1"] {
            let refused = push(name).await;
            assert!(!refused.status.success(), "{name}");
            let message = String::from_utf8_lossy(&refused.stderr);
            // A HEAD has no body that could say more.
            assert!(message.contains("denied") || message.contains("403"), "{message}");
        }
    }
    control.revoke_access_key(&key.id).await.unwrap();
    let target = registry.image("team/app:1");
    let inspect = ["inspect", "--tls-verify=false", "--creds", &token, &target];
    assert!(
        !run("skopeo", &inspect).await.status.success(),
        "the token outlived its key"
    );
}
