//! Packages against a real store and a real keyring; devices are exported and read with e2fsprogs.

use super::*;
use repositories::StoredManifest;
use serde_json::json;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use store::{AwsOptions, Settings, StoreLocation};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{DateTime, ZipWriter};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

struct Fixture {
    packages: Packages,
    account: Account,
    directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let location = StoreLocation::Directory(at("store"));
        let parts = PackagesParts {
            store: Store::open(&location, Settings::default(), &AwsOptions::default()).unwrap(),
            keys: KeyProvider::Local(keys::Keyring::open_or_create(at("keyring.json")).unwrap()),
            runtime: tokio::runtime::Handle::current(),
            directory: at("packages"),
            scratch_directory: at("scratch"),
            region: "us-east-1".to_owned(),
            registry_hosts: vec!["127.0.0.1:9000".to_owned()],
            docker_config: None,
            plain_http: Vec::new(),
            s3: None,
        };
        Self {
            packages: Packages::new(parts),
            account: "123456789012".parse().unwrap(),
            directory,
        }
    }

    async fn zip(&self, entries: &[Entry<'_>]) -> ZipCode {
        self.packages
            .put_zip(&self.account, zip_of(entries).into())
            .await
            .unwrap()
    }

    /// Exports a device, checks its file system and copies its content to a directory.
    async fn dump(&self, address: &api::ImageAddress) -> TempDir {
        let target = tempfile::tempdir().unwrap();
        let device = self.directory.path().join("device");
        let (name, to) = (address.name.clone(), device.clone());
        let account = address.account.clone();
        self.packages
            .blocking(move |packages| {
                let progress = std::sync::atomic::AtomicU64::new(0);
                let exported = packages.images(&account).export(&name, &to, &progress);
                exported
                    .map(drop)
                    .map_err(|error| PackageError::internal(error.to_string()))
            })
            .await
            .unwrap();
        run(Command::new("e2fsck").args(["-fn"]).arg(&device));
        let request = format!("rdump / {}", target.path().display());
        run(Command::new("debugfs").arg("-R").arg(request).arg(&device));
        target
    }

    fn upload(&self, repository: &str, bytes: &[u8]) -> serde_json::Value {
        let repositories = self.packages.repositories();
        let (name, blob) = (repository.parse().unwrap(), Blob::of(bytes));
        let id = repositories.start_upload(&self.account, &name).unwrap();
        let mut upload = repositories.open_upload(&self.account, &name, &id).unwrap();
        upload.write(bytes).unwrap();
        repositories
            .finish_upload(&self.account, &name, (upload, &blob))
            .unwrap();
        json!({ "digest": blob.to_string(), "size": bytes.len() })
    }

    /// Pushes an image of one layer to the built-in registry.
    fn push(&self, repository: &str, layer: &[u8], config: &serde_json::Value) -> StoredManifest {
        let stored = self.upload(repository, layer);
        self.push_stored(
            repository,
            layer,
            (stored, "application/vnd.oci.image.layer.v1.tar"),
            config,
        )
    }

    /// The same with the layer as it is stored.
    fn push_stored(
        &self,
        repository: &str,
        layer: &[u8],
        (mut stored, media_type): (serde_json::Value, &str),
        config: &serde_json::Value,
    ) -> StoredManifest {
        let mut config = config.clone();
        config["os"] = json!("linux");
        config["rootfs"] = json!({ "type": "layers", "diff_ids": [Blob::of(layer).to_string()] });
        let mut config = self.upload(repository, config.to_string().as_bytes());
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        stored["mediaType"] = json!(media_type);
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [stored] }).to_string();
        let (name, tag) = (repository.parse().unwrap(), "latest".parse().unwrap());
        let target = (&self.account, &name);
        let stored = self
            .packages
            .repositories()
            .put_manifest(target, &tag, (IMAGE, manifest.as_bytes()));
        stored.unwrap()
    }
}

/// What goes into a zip.
enum Entry<'a> {
    File(&'a str, &'a str, u32),
    Link(&'a str, &'a str),
}

fn zip_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let time = DateTime::from_date_and_time(2021, 3, 4, 5, 6, 8).unwrap();
    let options = SimpleFileOptions::default().last_modified_time(time);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for entry in entries {
        match entry {
            Entry::File(name, content, mode) => {
                writer.start_file(*name, options.unix_permissions(*mode)).unwrap();
                writer.write_all(content.as_bytes()).unwrap();
            }
            Entry::Link(name, target) => writer.add_symlink(*name, *target, options).unwrap(),
        }
    }
    writer.finish().unwrap().into_inner()
}

fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn read(root: &TempDir, path: &str) -> String {
    fs::read_to_string(root.path().join(path)).unwrap()
}

fn host_architecture() -> (&'static str, &'static str) {
    if cfg!(target_arch = "x86_64") {
        ("x86_64", "amd64")
    } else {
        ("arm64", "arm64")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_and_layers_become_one_device_once() {
    let fixture = Fixture::new();
    let code = [
        Entry::File("app.py", "code", 0o600),
        Entry::File("bin/tool", "tool", 0o700),
        Entry::Link("current", "../opt/lib/both"),
    ];
    let code = fixture.zip(&code).await;
    let lower = fixture
        .zip(&[
            Entry::File("lib/both", "lower", 0o644),
            Entry::File("lib/lower", "l", 0o644),
        ])
        .await;
    let upper = fixture
        .zip(&[
            Entry::File("lib/both", "upper", 0o644),
            Entry::File("extensions/x", "x", 0o755),
        ])
        .await;
    let layers = [lower.clone(), upper.clone()];
    let prepare = |layers: Vec<ZipCode>| {
        let (packages, account, code) = (fixture.packages.clone(), fixture.account.clone(), code.clone());
        async move { packages.prepare_zip(&account, &code, &layers).await.unwrap() }
    };
    let many = futures_of(4, || prepare(layers.to_vec())).await;
    // A push seals under a fresh key, so two of them would have two manifests.
    assert!(many.iter().all(|address| *address == many[0]));
    assert_eq!(prepare(layers.to_vec()).await, many[0]);
    assert_ne!(prepare(vec![upper, lower]).await.name, many[0].name);

    let root = fixture.dump(&many[0]).await;
    assert_eq!(read(&root, "task/app.py"), "code");
    assert_eq!(read(&root, "opt/lib/both"), "upper");
    assert_eq!(read(&root, "opt/lib/lower"), "l");
    let link = fs::read_link(root.path().join("task/current")).unwrap();
    assert_eq!(link, Path::new("../opt/lib/both"));
    for (path, mode) in [
        ("task/app.py", 0o644),
        ("task/bin/tool", 0o755),
        ("opt/extensions/x", 0o755),
        ("task", 0o755),
    ] {
        let metadata = fs::metadata(root.path().join(path)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{path}");
        assert_eq!((metadata.uid(), metadata.gid()), (0, 0), "{path}");
    }
    assert_eq!(
        fs::metadata(root.path().join("task/app.py")).unwrap().mtime(),
        1_614_834_368
    );
}

async fn futures_of<T, F>(count: usize, make: impl Fn() -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(make())).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn zips_come_back_and_bad_ones_are_refused() {
    let fixture = Fixture::new();
    let bytes = zip_of(&[Entry::File("a", "b", 0o644)]);
    let code = fixture
        .packages
        .put_zip(&fixture.account, bytes.clone().into())
        .await
        .unwrap();
    assert_eq!(code.bytes, bytes.len() as u64);
    assert_eq!(
        fixture.packages.zip_bytes(&fixture.account, &code).await.unwrap(),
        bytes
    );
    let unknown = ZipCode {
        sha256_base64: Blob::of(b"other").base64(),
        bytes: 5,
    };
    for code in [
        unknown,
        ZipCode {
            sha256_base64: "../../x".to_owned(),
            bytes: 0,
        },
    ] {
        let error = fixture.packages.zip_bytes(&fixture.account, &code).await.unwrap_err();
        assert!(error.message.contains("is missing"), "{error}");
    }
    let refused = fixture
        .packages
        .put_zip(&fixture.account, Bytes::from_static(b"no zip"))
        .await
        .unwrap_err();
    assert!(refused.is_request());
    assert_eq!(
        refused.message,
        "Could not unzip uploaded file. Please check your file, then try to upload again."
    );
    let s3 = fixture
        .packages
        .put_zip_from_s3(&fixture.account, "bucket", "key", None)
        .await
        .unwrap_err();
    assert!(s3.message.contains("no access to S3"), "{s3}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bootstrap_is_the_codes_or_a_layers() {
    let fixture = Fixture::new();
    let with = fixture.zip(&[Entry::File("bootstrap", "x", 0o755)]).await;
    let without = fixture.zip(&[Entry::File("a", "x", 0o755)]).await;
    let find = |code: &ZipCode, layers: &[ZipCode]| {
        let (packages, account) = (fixture.packages.clone(), fixture.account.clone());
        let (code, layers) = (code.clone(), layers.to_vec());
        async move { packages.bootstrap(&account, &code, &layers).await.unwrap() }
    };
    assert_eq!(find(&with, &[]).await, "/var/task/bootstrap");
    assert_eq!(find(&without, std::slice::from_ref(&with)).await, "/opt/bootstrap");
    assert_eq!(find(&with, std::slice::from_ref(&with)).await, "/var/task/bootstrap");
    assert_eq!(
        find(&without, std::slice::from_ref(&without)).await,
        "/var/task/bootstrap"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_image_becomes_a_root_once_and_keeps_what_it_has() {
    let fixture = Fixture::new();
    let layer = tar_of(&[("app", "program"), ("etc/hosts", "10.0.0.1 mine\n")]);
    let (architecture, processor) = host_architecture();
    let config = json!({
        "architecture": processor,
        "config": {
            "Entrypoint": ["/app"], "Cmd": ["one", "two"], "WorkingDir": "/work", "User": "1000",
            "Env": ["PATH=/bin", "EMPTY=", "A=b=c"],
        },
    });
    let stored = fixture.push("team/scorer", &layer, &config);
    let uri = "localhost:9000/team/scorer:latest";
    let packages = &fixture.packages;
    let digest = packages
        .resolve_image(&fixture.account, uri, architecture)
        .await
        .unwrap();
    assert_eq!(digest, stored.blob.to_string());
    let prepared = packages
        .prepare_image(&fixture.account, uri, architecture)
        .await
        .unwrap();
    assert_eq!(prepared.entrypoint, ["/app"]);
    assert_eq!(prepared.command, ["one", "two"]);
    assert_eq!(
        (prepared.working_directory.as_str(), prepared.user.as_str()),
        ("/work", "1000")
    );
    let environment = [("PATH", "/bin"), ("EMPTY", ""), ("A", "b=c")];
    assert_eq!(
        prepared.environment,
        environment.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(
        (prepared.architecture.as_str(), &prepared.digest),
        (architecture, &digest)
    );
    for uri in [
        format!("127.0.0.1:9000/team/scorer@{digest}"),
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/scorer".to_owned(),
    ] {
        let again = packages
            .prepare_image(&fixture.account, &uri, architecture)
            .await
            .unwrap();
        assert_eq!(again, prepared, "{uri}");
    }
    let root = fixture.dump(&prepared.address).await;
    assert_eq!(read(&root, "app"), "program");
    assert_eq!(read(&root, "etc/hosts"), "10.0.0.1 mine\n");
    assert!(read(&root, "etc/passwd").contains("sbx_user1051:x:993:990"));
    for directory in ["dev", "proc", "sys", "opt", "var/task", "var/runtime"] {
        assert!(root.path().join(directory).is_dir(), "{directory}");
    }
    // `rdump` loses the sticky bit.
    let stat = run(Command::new("debugfs")
        .args(["-R", "stat /tmp"])
        .arg(fixture.directory.path().join("device")));
    assert!(stat.contains("Mode:  01777"), "{stat}");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_cannot_be_used_say_why() {
    let fixture = Fixture::new();
    let (architecture, processor) = host_architecture();
    let other = if architecture == "x86_64" { "arm64" } else { "x86_64" };
    fixture.push("mine", &tar_of(&[("app", "x")]), &json!({ "architecture": processor }));
    fixture.push(
        "broken",
        b"this is no tar stream, but it has the right digest",
        &json!({ "architecture": processor }),
    );
    let check = |account: &str, uri: &str, architecture: &str, (code, text): (&'static str, &'static str)| {
        let (packages, account): (_, Account) = (fixture.packages.clone(), account.parse().unwrap());
        let (uri, architecture) = (uri.to_owned(), architecture.to_owned());
        async move {
            let error = packages.prepare_image(&account, &uri, &architecture).await.unwrap_err();
            assert_eq!(error.reason_code, code, "{error}");
            assert!(error.message.contains(text), "{error}");
        }
    };
    let mine = "123456789012";
    let gone = (
        PackageError::INVALID_PARAMETER,
        "does not exist. Provide a valid source image.",
    );
    check(
        mine,
        "localhost:9000/mine:latest",
        other,
        ("InvalidImage", "does not match"),
    )
    .await;
    check(mine, "localhost:9000/mine:other", architecture, gone).await;
    check(mine, "localhost:9000/nothing:latest", architecture, gone).await;
    check("210987654321", "localhost:9000/mine:latest", architecture, gone).await;
    check(
        mine,
        "localhost:9000/broken:latest",
        architecture,
        ("InvalidImage", "layer 2"),
    )
    .await;
    check(
        mine,
        "localhost:9000/mine:latest",
        "riscv",
        (PackageError::INVALID_PARAMETER, "riscv"),
    )
    .await;
    let foreign = "210987654321.dkr.ecr.us-east-1.amazonaws.com/mine:latest";
    check(
        mine,
        foreign,
        architecture,
        ("ImageAccessDenied", "does not have permission"),
    )
    .await;
    // Port 1 of the loopback: nothing listens.
    check(
        mine,
        "127.0.0.1:1/x:1",
        architecture,
        ("InvalidParameterValueException", "cannot be reached"),
    )
    .await;
    let prepared = fixture
        .packages
        .prepare_image(&fixture.account, "localhost:9000/mine", architecture)
        .await
        .unwrap();
    assert_eq!((prepared.entrypoint, prepared.command), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn runtimes_are_added_used_listed_and_removed() {
    let fixture = Fixture::new();
    let packages = &fixture.packages;
    let (account, other): (_, Account) = (&fixture.account, "210987654321".parse().unwrap());
    let missing = packages.runtime(account, "python3.11").await.unwrap_err();
    assert_eq!(missing.reason_code, "InvalidRuntime");
    assert!(
        missing.message.contains("lambent runtime add python3.11 SOURCE"),
        "{missing}"
    );

    let provided = packages.runtime(account, "provided.al2023").await.unwrap();
    assert_eq!(provided.arguments, ["/var/task/bootstrap"]);
    assert_eq!(packages.runtime(&other, "provided.al2").await.unwrap(), provided);
    let root = fixture.dump(&provided.address).await;
    assert!(read(&root, "etc/hosts").contains("sandbox.localdomain"));
    assert!(root.path().join("var/task").is_dir());

    let (_, processor) = host_architecture();
    let python = tar_of(&[
        ("usr/local/bin/python3", "python"),
        (
            "usr/local/lib/python3.11/site-packages/awslambdaric/__main__.py",
            "client",
        ),
    ]);
    let layout = layout_of(
        &python,
        &json!({
            "architecture": processor, "os": "linux", "config": { "Env": ["PATH=/usr/local/bin:/usr/bin", "LANG=C.UTF-8"] },
        }),
    );
    let spec: SourceSpec = format!("oci:{}", layout.path().display()).parse().unwrap();
    let added = packages.add_runtime("python3.11", spec.clone()).await.unwrap();
    assert_eq!(added.arguments, ["/usr/local/bin/python3", "-m", "awslambdaric"]);
    let base = packages.runtime(&other, "python3.11").await.unwrap();
    assert_eq!((&base.address, &base.arguments), (&added.image, &added.arguments));
    assert_eq!(base.environment[1], ("LANG".to_owned(), "C.UTF-8".to_owned()));
    assert_eq!(
        packages.add_runtime("python3.11", spec.clone()).await.unwrap().image,
        added.image
    );
    assert_eq!(packages.runtimes().await.unwrap().len(), 1);
    let node = packages.add_runtime("nodejs22.x", spec.clone()).await.unwrap_err();
    assert!(node.message.contains("no node on its PATH"), "{node}");
    let name = packages.add_runtime("../x", spec).await.unwrap_err();
    assert!(name.is_request(), "{name}");
    assert!(packages.remove_runtime("python3.11").await.unwrap());
    assert!(!packages.remove_runtime("python3.11").await.unwrap());
    assert_eq!(packages.runtimes().await.unwrap(), []);
    let root = fixture.dump(&base.address).await;
    assert_eq!(read(&root, "usr/local/bin/python3"), "python");
    assert!(root.path().join("var/task").is_dir());
}

/// An image layout of one layer.
fn layout_of(layer: &[u8], config: &serde_json::Value) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
    let store = |media_type: &str, bytes: &[u8]| {
        let blob = Blob::of(bytes);
        fs::write(directory.path().join("blobs/sha256").join(blob.hex()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": blob.to_string(), "size": bytes.len() })
    };
    let mut config = config.clone();
    config["rootfs"] = json!({ "type": "layers", "diff_ids": [Blob::of(layer).to_string()] });
    let config = store(
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    );
    let layer = store("application/vnd.oci.image.layer.v1.tar", layer);
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    let manifest = store(IMAGE, manifest.to_string().as_bytes());
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(directory.path().join("index.json"), index.to_string()).unwrap();
    fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    directory
}

/// An S3 of one object, `code/a.zip` in `bucket`: answers requests until the test ends, and counts those signed.
fn serve_s3(zip: Vec<u8>) -> (String, Arc<std::sync::atomic::AtomicU32>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let signed: Arc<std::sync::atomic::AtomicU32> = Arc::default();
    let counted = Arc::clone(&signed);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && std::io::Read::read(&mut stream, &mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            if head
                .to_lowercase()
                .contains("authorization: aws4-hmac-sha256 credential=akia/")
            {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            let (status, body) = match head.split(' ').nth(1).unwrap() {
                "/bucket/code/a.zip" | "/bucket/code/a.zip?versionId=v1" => ("200 OK", zip.clone()),
                path if path.starts_with("/secret/") => {
                    ("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>".to_vec())
                }
                _ => ("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"1\"\r\n\
                 Last-Modified: Thu, 04 Mar 2021 05:06:08 GMT\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.into_bytes(), body].concat()).unwrap();
        }
    });
    (endpoint, signed)
}

#[tokio::test(flavor = "multi_thread")]
async fn code_comes_from_s3_or_lambdas_sentence_does() {
    let zip = zip_of(&[Entry::File("a", "b", 0o644)]);
    let (endpoint, signed) = serve_s3(zip.clone());
    let access = S3Access {
        endpoint: Some(endpoint),
        region: "us-east-1".to_owned(),
        credentials: Some(S3Credentials {
            access_key_id: "AKIA".to_owned(),
            secret_access_key: "secret".to_owned().into(),
            session_token: None,
        }),
    };
    assert!(!format!("{access:?}").contains("secret"));
    for version in [None, Some("v1")] {
        let fetched = objects::fetch(Some(&access), "bucket", "code/a.zip", version).await;
        assert_eq!(fetched.unwrap(), zip);
    }
    assert_eq!(signed.load(std::sync::atomic::Ordering::Relaxed), 2);
    for (bucket, key, expected) in [
        ("bucket", "code/b.zip", "S3 Error Code: NoSuchKey."),
        ("secret", "code/a.zip", "S3 Error Code: AccessDenied."),
    ] {
        let error = objects::fetch(Some(&access), bucket, key, None).await.unwrap_err();
        assert!(error.is_request() && error.message.contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_of_compressed_layers_lie_under_the_base_layer_as_they_were() {
    let fixture = Fixture::new();
    let (architecture, processor) = host_architecture();
    // Several chunks of bytes that differ from each other: such files are sealed while the layer is unpacked.
    let text: String = (0..400_000).map(|number| format!("{number} ")).collect();
    let layer = tar_of(&[("large", &text), ("small", "small")]);
    let plain = fixture.directory.path().join("layer");
    fs::write(&plain, &layer).unwrap();
    let gzip = Command::new("gzip")
        .args(["--stdout", "--no-name"])
        .arg(&plain)
        .output()
        .unwrap();
    let stored = fixture.upload("big", &gzip.stdout);
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    fixture.push_stored(
        "big",
        &layer,
        (stored, media_type),
        &json!({ "architecture": processor }),
    );
    let prepared = fixture
        .packages
        .prepare_image(&fixture.account, "localhost:9000/big", architecture)
        .await
        .unwrap();
    let root = fixture.dump(&prepared.address).await;
    assert!(read(&root, "large") == text, "the file differs");
    assert_eq!(read(&root, "small"), "small");
}
