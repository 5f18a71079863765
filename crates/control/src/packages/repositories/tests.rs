use super::*;
use crate::packages::blobs::Blob;
use serde_json::json;
use tempfile::TempDir;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

struct Fixture {
    repositories: Repositories,
    account: Account,
    directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(directory.path().to_owned());
        Self {
            repositories: Repositories::new(directory.path().to_owned(), blobs),
            account: "123456789012".parse().unwrap(),
            directory,
        }
    }

    fn upload(&self, name: &str, bytes: &[u8]) -> Blob {
        let (name, blob) = (name.parse().unwrap(), Blob::of(bytes));
        let id = self.repositories.start_upload(&self.account, &name).unwrap();
        let mut upload = self.repositories.open_upload(&self.account, &name, &id).unwrap();
        upload.write(bytes).unwrap();
        self.repositories
            .finish_upload(&self.account, &name, (upload, &blob))
            .unwrap();
        blob
    }

    fn put(
        &self,
        name: &str,
        reference: &str,
        (media_type, text): (&str, &str),
    ) -> Result<StoredManifest, RepositoryError> {
        let (name, reference) = (name.parse().unwrap(), reference.parse().unwrap());
        let target = (&self.account, &name);
        self.repositories
            .put_manifest(target, &reference, (media_type, text.as_bytes()))
    }

    fn find(&self, name: &str, reference: &str) -> Option<FoundManifest> {
        let (name, reference) = (name.parse().unwrap(), reference.parse().unwrap());
        self.repositories.manifest(&self.account, &name, &reference).unwrap()
    }
}

fn manifest(config: &Blob, config_bytes: usize, layer: &Blob, layer_bytes: usize) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": { "mediaType": CONFIG, "digest": config.to_string(), "size": config_bytes },
        "layers": [{ "mediaType": LAYER, "digest": layer.to_string(), "size": layer_bytes }],
    })
    .to_string()
}

#[test]
fn a_push_is_found_by_tag_and_digest_until_it_is_deleted() {
    let fixture = Fixture::new();
    let (config, layer) = (fixture.upload("a/b", b"{}"), fixture.upload("a/b", b"layer"));
    let text = manifest(&config, 2, &layer, 5);
    let stored = fixture.put("a/b", "one", (IMAGE, &text)).unwrap();
    assert!(stored.is_image);
    fixture.put("a/b", "two", (IMAGE, &text)).unwrap();
    for reference in ["one", "two", &stored.blob.to_string()] {
        let found = fixture.find("a/b", reference).unwrap();
        assert_eq!((&found.blob, found.media_type.as_str()), (&stored.blob, IMAGE));
        assert_eq!(fixture.repositories.manifest_bytes(&found).unwrap(), text.as_bytes());
    }
    let name = "a/b".parse().unwrap();
    let tags = |count, last| {
        fixture
            .repositories
            .tags(&fixture.account, &name, (count, last))
            .unwrap()
    };
    assert_eq!(tags(10, None), (vec!["one".to_owned(), "two".to_owned()], false));
    assert_eq!(tags(1, None), (vec!["one".to_owned()], true));
    assert_eq!(tags(1, Some("one")), (vec!["two".to_owned()], false));
    let delete = |reference: &str| {
        let reference = reference.parse().unwrap();
        fixture
            .repositories
            .delete_manifest(&fixture.account, &name, &reference)
    };
    delete("one").unwrap();
    assert!(fixture.find("a/b", "one").is_none() && fixture.find("a/b", "two").is_some());
    assert!(matches!(delete("one"), Err(RepositoryError::ManifestUnknown { .. })));
    delete(&stored.blob.to_string()).unwrap();
    assert!(fixture.find("a/b", "two").is_none());
    assert_eq!(tags(10, None).0, Vec::<String>::new());
}

#[test]
fn what_a_manifest_names_must_be_there_and_its_form_must_be_right() {
    let fixture = Fixture::new();
    let (config, layer) = (fixture.upload("a", b"{}"), fixture.upload("a", b"layer"));
    let good = manifest(&config, 2, &layer, 5);
    let missing = manifest(&config, 2, &Blob::of(b"other"), 5);
    let wrong_size = manifest(&config, 2, &layer, 6);
    let both = good.replacen("\"schemaVersion\"", "\"manifests\":[],\"schemaVersion\"", 1);
    let index = |digest: &Blob, bytes| {
        json!({ "schemaVersion": 2, "manifests": [{ "mediaType": IMAGE, "digest": digest.to_string(), "size": bytes }] })
            .to_string()
    };
    let refuse = |media_type, text: &str, expected: &str| {
        let error = fixture.put("a", "x", (media_type, text)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refuse(IMAGE, &missing, "push it first");
    refuse(IMAGE, &wrong_size, "another size");
    refuse(IMAGE, &both, "either config and layers, or manifests");
    refuse(IMAGE, "{}", "not valid");
    refuse(IMAGE, "nonsense", "not valid");
    refuse(
        IMAGE,
        &good.replace("\"schemaVersion\":2", "\"schemaVersion\":1"),
        "schemaVersion 2",
    );
    refuse("application/json", &good, "Content-Type");
    refuse(INDEX, &good, "Content-Type");
    refuse(INDEX, &index(&Blob::of(good.as_bytes()), good.len()), "push it first");
    refuse(IMAGE, &good.replace("sha256:", "sha256:../"), "push it first");
    let wrong = Blob::of(b"wrong").to_string();
    let error = fixture.put("a", &wrong, (IMAGE, &good)).unwrap_err();
    assert!(matches!(error, RepositoryError::DigestMismatch { .. }), "{error}");
    let stored = fixture.put("a", "x", (IMAGE, &good)).unwrap();
    fixture
        .put("a", "all", (INDEX, &index(&stored.blob, good.len())))
        .unwrap();
    let chart = good.replace(CONFIG, "application/vnd.cncf.helm.config.v1+json");
    assert!(!fixture.put("a", "chart", (IMAGE, &chart)).unwrap().is_image);
}

#[test]
fn an_account_sees_its_own_repositories_and_no_blob_by_its_digest() {
    let fixture = Fixture::new();
    let blob = fixture.upload("mine", b"secret");
    let other: Account = "210987654321".parse().unwrap();
    let (mine, theirs) = ("mine".parse().unwrap(), "theirs".parse().unwrap());
    let repositories = &fixture.repositories;
    assert_eq!(
        repositories.blob_bytes(&fixture.account, &mine, &blob).unwrap(),
        Some(6)
    );
    assert_eq!(repositories.blob_bytes(&other, &mine, &blob).unwrap(), None);
    assert!(!repositories.mount_blob(&other, (&mine, &theirs), &blob).unwrap());
    assert_eq!(repositories.list(&other, (10, None)).unwrap().0, Vec::<String>::new());
    assert!(
        repositories
            .mount_blob(&fixture.account, (&mine, &theirs), &blob)
            .unwrap()
    );
    assert_eq!(
        repositories.list(&fixture.account, (10, None)).unwrap().0,
        ["mine", "theirs"]
    );
    repositories.delete_blob(&fixture.account, &mine, &blob).unwrap();
    assert_eq!(repositories.blob_bytes(&fixture.account, &mine, &blob).unwrap(), None);
    assert_eq!(
        repositories.blob_bytes(&fixture.account, &theirs, &blob).unwrap(),
        Some(6)
    );
    repositories.delete_repository(&fixture.account, &theirs).unwrap();
    assert_eq!(repositories.blob_bytes(&fixture.account, &theirs, &blob).unwrap(), None);
}

#[test]
fn an_upload_goes_on_after_a_restart_and_is_checked_at_its_end() {
    let fixture = Fixture::new();
    let (name, account) = ("a".parse().unwrap(), &fixture.account);
    let id = fixture.repositories.start_upload(account, &name).unwrap();
    let mut upload = fixture.repositories.open_upload(account, &name, &id).unwrap();
    upload.write(b"hello ").unwrap();
    let busy = fixture.repositories.open_upload(account, &name, &id);
    assert!(matches!(busy, Err(RepositoryError::UploadBusy)));
    drop(upload);
    let again = Repositories::new(
        fixture.directory.path().to_owned(),
        fixture.repositories.blobs().clone(),
    );
    let mut upload = again.open_upload(account, &name, &id).unwrap();
    assert_eq!(upload.bytes(), 6);
    upload.write(b"world").unwrap();
    again
        .finish_upload(account, &name, (upload, &Blob::of(b"hello world")))
        .unwrap();
    assert_eq!(
        again.blob_bytes(account, &name, &Blob::of(b"hello world")).unwrap(),
        Some(11)
    );
    for gone in [&id, "../../blobs", "not-an-id", ""] {
        let opened = again.open_upload(account, &name, gone);
        assert!(matches!(opened, Err(RepositoryError::UploadUnknown)), "{gone}");
    }
    let id = again.start_upload(account, &name).unwrap();
    let mut upload = again.open_upload(account, &name, &id).unwrap();
    upload.write(b"bad").unwrap();
    let finished = again.finish_upload(account, &name, (upload, &Blob::of(b"good")));
    assert!(matches!(finished, Err(RepositoryError::DigestMismatch { .. })));
    assert_eq!(again.blob_bytes(account, &name, &Blob::of(b"good")).unwrap(), None);
    let other: Account = "210987654321".parse().unwrap();
    let id = again.start_upload(account, &name).unwrap();
    assert!(matches!(
        again.open_upload(&other, &name, &id),
        Err(RepositoryError::UploadUnknown)
    ));
}

#[test]
fn uploads_expire_after_a_day() {
    let fixture = Fixture::new();
    let (name, account) = ("a".parse().unwrap(), &fixture.account);
    let old = fixture.repositories.start_upload(account, &name).unwrap();
    let path = fixture.repositories.uploads(account, &name).join(&old);
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - std::time::Duration::from_secs(25 * 3_600))
        .unwrap();
    let new = fixture.repositories.start_upload(account, &name).unwrap();
    let open = |id| fixture.repositories.open_upload(account, &name, id);
    assert!(matches!(open(&old), Err(RepositoryError::UploadUnknown)));
    assert!(open(&new).is_ok());
}
