//! What the specification says of single requests, with curl.

use super::server::{LAYER, Registry, login, run};
use crate::authorization::Caller;
use control::packages::Blob;
use serde_json::{Value, json};
use std::io::Write;

/// An answer as curl saw it.
struct Answer {
    status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map_or("", |(_, value)| value)
    }

    fn code(&self) -> String {
        let document: Value = serde_json::from_str(&self.body).unwrap_or_default();
        document["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends a request; `arguments` are curl's.
async fn curl(url: &str, arguments: &[&str]) -> Answer {
    let all = [
        &[
            "--silent",
            "--show-error",
            "--include",
            "--path-as-is",
            "--max-time",
            "60",
        ],
        arguments,
        &[url],
    ]
    .concat();
    let output = run("curl", &all).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Behind `100 Continue` comes the answer.
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let (first, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let headers = headers.split("\r\n").filter_map(|line| line.split_once(": "));
    Answer {
        status: first.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

/// A client that is logged in.
struct Client {
    registry: Registry,
    user: String,
}

impl Client {
    async fn new() -> Self {
        let registry = Registry::start().await;
        let user = registry.credentials();
        Self { registry, user }
    }

    async fn send(&self, method: &str, path: &str, arguments: &[&str]) -> Answer {
        let verb: &[&str] = if method == "HEAD" {
            &["--head"]
        } else {
            &["--request", method]
        };
        let all = [&["--user", &self.user], verb, arguments].concat();
        curl(&self.registry.url(path), &all).await
    }

    async fn upload(&self, repository: &str, bytes: &str) -> Blob {
        let blob = Blob::of(bytes.as_bytes());
        let path = format!("/v2/{repository}/blobs/uploads/?digest={blob}");
        let answer = self.send("POST", &path, &["--data-binary", bytes]).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.header("location"), format!("/v2/{repository}/blobs/{blob}"));
        blob
    }

    async fn put_manifest(&self, path: &str, text: &str) -> Answer {
        let media_type = "Content-Type: application/vnd.oci.image.manifest.v1+json";
        self.send("PUT", path, &["--header", media_type, "--data-binary", text])
            .await
    }
}

fn manifest(config: &Blob, layer: (&Blob, usize)) -> String {
    json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.to_string(), "size": 2 },
        "layers": [{ "mediaType": LAYER, "digest": layer.0.to_string(), "size": layer.1 }],
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_must_log_in() {
    let client = Client::new().await;
    for path in ["/v2/", "/v2", "/v2/_catalog", "/v2/a/tags/list", "/v2/nonsense"] {
        let refused = curl(&client.registry.url(path), &[]).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (401, "UNAUTHORIZED"),
            "{path}"
        );
        assert_eq!(refused.header("www-authenticate"), "Basic realm=\"lambent\"");
        assert_eq!(refused.header("docker-distribution-api-version"), "registry/2.0");
    }
    let welcome = client.send("GET", "/v2/", &[]).await;
    assert_eq!((welcome.status, welcome.body.as_str()), (200, "{}"));
    client
        .registry
        .gateway
        .control
        .revoke_access_key(&client.registry.key.id)
        .await
        .unwrap();
    assert_eq!(client.send("GET", "/v2/", &[]).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_come_in_order_and_an_upload_can_be_asked_and_cancelled() {
    let client = Client::new().await;
    let begun = client.send("POST", "/v2/a/blobs/uploads/", &[]).await;
    assert_eq!((begun.status, begun.header("range")), (202, "0-0"));
    let upload = begun.header("location").to_owned();
    assert!(upload.ends_with(begun.header("docker-upload-uuid")));
    let chunk = |range: &'static str, bytes: &'static str| {
        let (client, upload) = (&client, &upload);
        let range = format!("Content-Range: {range}");
        async move {
            client
                .send("PATCH", upload, &["--header", &range, "--data-binary", bytes])
                .await
        }
    };
    let first = chunk("0-4", "hello").await;
    assert_eq!(
        (first.status, first.header("range"), first.header("location")),
        (202, "0-4", upload.as_str())
    );
    for range in ["0-4", "6-10"] {
        let wrong = chunk(range, "hello").await;
        assert_eq!((wrong.status, wrong.header("range")), (416, "0-4"), "{range}");
    }
    let asked = client.send("GET", &upload, &[]).await;
    assert_eq!((asked.status, asked.header("range")), (204, "0-4"));
    assert_eq!(chunk("5-10", " world").await.status, 202);
    let blob = Blob::of(b"hello world!");
    let finish = format!("{upload}?digest={blob}");
    let done = client.send("PUT", &finish, &["--data-binary", "!"]).await;
    assert_eq!(
        (done.status, done.header("docker-content-digest")),
        (201, blob.to_string().as_str())
    );
    assert_eq!(client.send("GET", &upload, &[]).await.code(), "BLOB_UPLOAD_UNKNOWN");

    let second = client.send("POST", "/v2/a/blobs/uploads/", &[]).await;
    let upload = second.header("location");
    let wrong = client
        .send("PUT", &format!("{upload}?digest={blob}"), &["--data-binary", "other"])
        .await;
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "DIGEST_INVALID"));
    let third = client.send("POST", "/v2/a/blobs/uploads/", &[]).await;
    let upload = third.header("location");
    assert_eq!(client.send("DELETE", upload, &[]).await.status, 204);
    assert_eq!(client.send("DELETE", upload, &[]).await.status, 404);
    let stranger = login(&client.registry.stranger().await);
    let fourth = client.send("POST", "/v2/a/blobs/uploads/", &[]).await;
    let url = client.registry.url(fourth.header("location"));
    assert_eq!(curl(&url, &["--user", &stranger]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_off_goes_on_where_it_stopped() {
    let client = Client::new().await;
    let begun = client.send("POST", "/v2/a/blobs/uploads/", &[]).await;
    let upload = begun.header("location").to_owned();
    let (address, path) = (client.registry.address, upload.clone());
    let login = base64_of(&client.user);
    tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = format!(
            "PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\nContent-Length: 100\r\n\r\nfirst half, "
        );
        stream.write_all(head.as_bytes()).unwrap();
    })
    .await
    .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let asked = client.send("GET", &upload, &[]).await;
        // 409 while the server has not yet noticed that the client is gone.
        if asked.status == 204 && asked.header("range") == "0-11" {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{} {}",
            asked.status,
            asked.header("range")
        );
    }
    let blob = Blob::of(b"first half, second half");
    let range = ["--header", "Content-Range: 12-22", "--data-binary", "second half"];
    assert_eq!(client.send("PATCH", &upload, &range).await.status, 202);
    assert_eq!(
        client.send("PUT", &format!("{upload}?digest={blob}"), &[]).await.status,
        201
    );
    let got = client.send("GET", &format!("/v2/a/blobs/{blob}"), &[]).await;
    assert_eq!(got.body, "first half, second half");
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_read_in_part_mounted_and_deleted() {
    let client = Client::new().await;
    let blob = client.upload("one", "0123456789").await;
    let path = format!("/v2/one/blobs/{blob}");
    let head = client.send("HEAD", &path, &[]).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.body.as_str()),
        (200, "10", "")
    );
    let part = client.send("GET", &path, &["--range", "2-4"]).await;
    assert_eq!(
        (part.status, part.body.as_str(), part.header("content-range")),
        (206, "234", "bytes 2-4/10")
    );
    assert_eq!(client.send("GET", &path, &["--range", "10-"]).await.status, 416);

    let mount = |from: &str| format!("/v2/two/blobs/uploads/?mount={blob}&from={from}");
    assert_eq!(client.send("POST", &mount("nowhere"), &[]).await.status, 202);
    let mounted = client.send("POST", &mount("one"), &[]).await;
    assert_eq!(
        (mounted.status, mounted.header("location")),
        (201, format!("/v2/two/blobs/{blob}").as_str())
    );
    assert_eq!(client.send("DELETE", &path, &[]).await.status, 202);
    assert_eq!(client.send("GET", &path, &[]).await.code(), "BLOB_UNKNOWN");
    assert_eq!(
        client.send("GET", &format!("/v2/two/blobs/{blob}"), &[]).await.body,
        "0123456789"
    );
    let catalog = client.send("GET", "/v2/_catalog?n=1", &[]).await;
    assert_eq!(catalog.body, r#"{"repositories":["one"]}"#);
    assert_eq!(catalog.header("link"), "</v2/_catalog?n=1&last=one>; rel=\"next\"");
    let rest = client.send("GET", "/v2/_catalog?n=1&last=one", &[]).await;
    assert_eq!(
        (rest.body.as_str(), rest.header("link")),
        (r#"{"repositories":["two"]}"#, "")
    );
    assert_eq!(
        client.send("GET", "/v2/_catalog?n=-1", &[]).await.code(),
        "PAGINATION_NUMBER_INVALID"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_checked_tagged_listed_and_deleted() {
    let client = Client::new().await;
    let (config, layer) = (client.upload("a", "{}").await, client.upload("a", "layer").await);
    let good = manifest(&config, (&layer, 5));
    let missing = manifest(&config, (&Blob::of(b"missing"), 5));
    let refused = client.put_manifest("/v2/a/manifests/x", &missing).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (404, "MANIFEST_BLOB_UNKNOWN")
    );
    assert_eq!(
        client.put_manifest("/v2/a/manifests/x", "nonsense").await.code(),
        "MANIFEST_INVALID"
    );
    for tag in ["x", "y"] {
        let stored = client.put_manifest(&format!("/v2/a/manifests/{tag}"), &good).await;
        assert_eq!(stored.status, 201, "{}", stored.body);
        assert_eq!(
            stored.header("docker-content-digest"),
            Blob::of(good.as_bytes()).to_string()
        );
    }
    let found = client.send("GET", "/v2/a/manifests/x", &[]).await;
    assert_eq!(
        (found.body.as_str(), found.header("content-type")),
        (good.as_str(), "application/vnd.oci.image.manifest.v1+json")
    );
    let digest = Blob::of(good.as_bytes());
    let head = client.send("HEAD", &format!("/v2/a/manifests/{digest}"), &[]).await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, good.len().to_string().as_str())
    );
    let tags = client.send("GET", "/v2/a/tags/list?n=1", &[]).await;
    assert_eq!(tags.body, r#"{"name":"a","tags":["x"]}"#);
    assert_eq!(tags.header("link"), "</v2/a/tags/list?n=1&last=x>; rel=\"next\"");
    assert_eq!(
        client.send("GET", "/v2/none/tags/list", &[]).await.code(),
        "NAME_UNKNOWN"
    );
    let referrers = client.send("GET", &format!("/v2/a/referrers/{digest}"), &[]).await;
    assert_eq!(
        referrers.header("content-type"),
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(client.send("DELETE", "/v2/a/manifests/x", &[]).await.status, 202);
    assert_eq!(
        client.send("GET", "/v2/a/manifests/x", &[]).await.code(),
        "MANIFEST_UNKNOWN"
    );
    assert_eq!(
        client
            .send("DELETE", &format!("/v2/a/manifests/{digest}"), &[])
            .await
            .status,
        202
    );
    assert_eq!(client.send("GET", "/v2/a/manifests/y", &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_get_an_error_of_the_specification() {
    let client = Client::new().await;
    let large = tempfile::NamedTempFile::new().unwrap();
    large.as_file().set_len(4 * 1024 * 1024 + 1).unwrap();
    let file = format!("@{}", large.path().display());
    let too_large = client.put_manifest("/v2/a/manifests/x", &file).await;
    assert_eq!((too_large.status, too_large.code().as_str()), (413, "SIZE_INVALID"));
    for (method, path, status, code) in [
        ("GET", "/v2/../../etc/passwd", 404, "UNSUPPORTED"),
        ("GET", "/v2/../../etc/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/UPPER/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a%2f..%2fb/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a/manifests/-", 400, "MANIFEST_INVALID"),
        ("GET", "/v2/a/blobs/sha256:..", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/uploads/../x", 404, "UNSUPPORTED"),
        ("PATCH", "/v2/a/blobs/uploads/not-an-id", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PUT", "/v2/a/blobs/uploads/x", 400, "DIGEST_INVALID"),
        ("POST", "/v2/a/manifests/x", 405, "UNSUPPORTED"),
        ("DELETE", "/v2/_catalog", 405, "UNSUPPORTED"),
        ("GET", "/v2/a/referrers/x", 400, "DIGEST_INVALID"),
    ] {
        let answer = client.send(method, path, &[]).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{method} {path}: {}",
            answer.body
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ecr_makes_describes_and_deletes_repositories() {
    let client = Client::new().await;
    let ecr = |operation: &'static str, body: Value| {
        let registry = &client.registry;
        async move {
            let body = body.to_string();
            crate::ecr::ecr(
                &registry.gateway,
                &Caller::of(registry.key.clone()),
                operation,
                body.as_bytes(),
                "host:9000",
            )
            .await
        }
    };
    let made = ecr("CreateRepository", json!({ "repositoryName": "team/app" }))
        .await
        .unwrap();
    assert_eq!(made["repository"]["repositoryUri"], "host:9000/team/app");
    assert_eq!(
        made["repository"]["repositoryArn"],
        "arn:aws:ecr:us-east-1:123456789012:repository/team/app"
    );
    let code = async |operation, body| ecr(operation, body).await.unwrap_err().code;
    assert_eq!(
        code("CreateRepository", json!({ "repositoryName": "team/app" })).await,
        "RepositoryAlreadyExistsException"
    );
    assert_eq!(
        code("CreateRepository", json!({ "repositoryName": "../x" })).await,
        "InvalidParameterException"
    );
    assert_eq!(code("CreateRepository", json!({})).await, "InvalidParameterException");
    assert_eq!(code("PutImage", json!({})).await, "UnknownOperationException");
    let missing = json!({ "repositoryNames": ["none"] });
    assert_eq!(
        code("DescribeRepositories", missing).await,
        "RepositoryNotFoundException"
    );
    ecr("CreateRepository", json!({ "repositoryName": "other" }))
        .await
        .unwrap();
    let page = ecr("DescribeRepositories", json!({ "maxResults": 1 })).await.unwrap();
    assert_eq!(page["repositories"][0]["repositoryName"], "other");
    let next = ecr(
        "DescribeRepositories",
        json!({ "maxResults": 1, "nextToken": page["nextToken"] }),
    )
    .await
    .unwrap();
    assert_eq!(
        (&next["repositories"][0]["repositoryName"], next.get("nextToken")),
        (&json!("team/app"), None)
    );
    ecr("DeleteRepository", json!({ "repositoryName": "other" }))
        .await
        .unwrap();
    let left = ecr("DescribeRepositories", json!({})).await.unwrap();
    assert_eq!(left["repositories"].as_array().unwrap().len(), 1);
}
