//! Blobs of a real directory, whose notes are made older instead of waiting.

use super::*;
use crate::packages::blobs::Blobs;
use crate::packages::repositories::{ManifestReference, Repositories, RepositoryName};
use crate::packages::unnamed::file_names;
use chunk::Account;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

struct Fixture {
    directory: TempDir,
    blobs: Blobs,
    repositories: Repositories,
    account: Account,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(directory.path().to_owned());
        Self {
            repositories: Repositories::new(directory.path().to_owned(), blobs.clone()),
            account: "123456789012".parse().unwrap(),
            blobs,
            directory,
        }
    }

    /// A pass, as [`reclaim`] makes it.
    fn pass(&self, zips: &[&Blob]) -> Reclaimed {
        let before = SystemTime::now().checked_sub(UNNAMED_LIFE).unwrap();
        let mut named: HashSet<Blob> = zips.iter().map(|zip| (*zip).clone()).collect();
        self.repositories.sweep(before, &mut named).unwrap();
        self.blobs.sweep(before, &named).unwrap()
    }

    /// Lets all notes be a little older than a day.
    fn a_day_passes(&self) {
        let since = SystemTime::now() - UNNAMED_LIFE - Duration::from_secs(1);
        for notes in [self.path("blobs/unnamed"), self.repository("r").join("unnamed")] {
            for note in file_names(&notes).unwrap() {
                age(&notes.join(note), since);
            }
        }
    }

    fn upload(&self, bytes: &[u8]) -> Value {
        let (name, blob) = (name(), Blob::of(bytes));
        let id = self.repositories.start_upload(&self.account, &name).unwrap();
        let mut upload = self.repositories.open_upload(&self.account, &name, &id).unwrap();
        upload.write(bytes).unwrap();
        self.repositories
            .finish_upload(&self.account, &name, (upload, &blob))
            .unwrap();
        json!({ "digest": blob.to_string(), "size": bytes.len() })
    }

    /// Pushes an image of one layer; gives its manifest.
    fn push(&self, layer: &[u8]) -> Blob {
        let (mut config, mut layer) = (self.upload(b"{}"), self.upload(layer));
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
        let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer] });
        let (name, tag) = (name(), "latest".parse().unwrap());
        let target = (&self.account, &name);
        let stored = self
            .repositories
            .put_manifest(target, &tag, (IMAGE, manifest.to_string().as_bytes()));
        stored.unwrap().blob
    }

    fn delete(&self, manifest: Blob) {
        let reference = ManifestReference::Digest(manifest);
        self.repositories
            .delete_manifest(&self.account, &name(), &reference)
            .unwrap();
    }

    fn has(&self, bytes: &[u8]) -> bool {
        self.blobs.open(&Blob::of(bytes)).unwrap().is_some()
    }

    fn is_linked(&self, bytes: &[u8]) -> bool {
        let link = self.repository("r").join("blobs").join(Blob::of(bytes).hex());
        link.exists()
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.path("repositories/123456789012").join(name)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }
}

const fn freed(blobs: u64, bytes: u64) -> Reclaimed {
    Reclaimed {
        blobs,
        bytes,
        devices: 0,
    }
}

fn name() -> RepositoryName {
    "r".parse().unwrap()
}

fn age(path: &Path, since: SystemTime) {
    File::open(path).unwrap().set_modified(since).unwrap();
}

#[test]
fn a_zip_goes_a_day_after_its_last_name() {
    let fixture = Fixture::new();
    let (kept, gone) = (fixture.blobs.put(b"kept").unwrap(), fixture.blobs.put(b"gone").unwrap());
    assert_eq!(fixture.pass(&[&kept, &gone]), Reclaimed::default());
    fixture.a_day_passes();
    assert_eq!(fixture.pass(&[&kept]), Reclaimed::default(), "only now without a name");
    assert_eq!(fixture.pass(&[&kept]), Reclaimed::default(), "a day has not passed");
    fixture.a_day_passes();
    assert_eq!(fixture.pass(&[&kept]), freed(1, 4));
    assert!(fixture.has(b"kept") && !fixture.has(b"gone"));
    fixture.blobs.put(b"gone").unwrap();
    fixture.a_day_passes();
    assert_eq!(fixture.pass(&[&kept]), Reclaimed::default(), "it is another one now");
}

#[test]
fn who_stores_the_same_bytes_or_names_them_again_keeps_them() {
    let fixture = Fixture::new();
    let (again, named) = (
        fixture.blobs.put(b"again").unwrap(),
        fixture.blobs.put(b"named").unwrap(),
    );
    fixture.pass(&[]);
    fixture.a_day_passes();
    // An update of a function with code that an earlier one had: stored, and not yet recorded.
    fixture.blobs.put(b"again").unwrap();
    assert_eq!(fixture.pass(&[&named]), Reclaimed::default());
    fixture.a_day_passes();
    // The name is gone again, and its day begins anew.
    assert_eq!(fixture.pass(&[&again]), Reclaimed::default());
    assert!(fixture.has(b"again") && fixture.has(b"named"));
}

#[test]
fn a_deleted_image_frees_what_no_other_one_has() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.push(b"first"), fixture.push(b"second"));
    fixture.delete(first);
    fixture.pass(&[]);
    fixture.a_day_passes();
    // The link goes with the manifest; the layer a day after the link, the configuration is the other image's, too.
    assert_eq!(fixture.pass(&[]).blobs, 1, "the manifest");
    assert!(!fixture.is_linked(b"first") && fixture.has(b"first"));
    fixture.a_day_passes();
    assert_eq!(fixture.pass(&[]), freed(1, 5));
    assert!(!fixture.has(b"first") && fixture.has(b"second") && fixture.has(b"{}"));
    fixture.delete(second);
    for _ in 0..3 {
        fixture.pass(&[]);
        fixture.a_day_passes();
    }
    assert!(!fixture.has(b"second") && !fixture.has(b"{}"));
}

#[test]
fn a_push_on_its_way_keeps_its_layers() {
    let fixture = Fixture::new();
    fixture.upload(b"layer");
    fixture.pass(&[]);
    fixture.a_day_passes();
    // The client asks whether it has to send the layer, and is told no.
    let found = fixture
        .repositories
        .blob_bytes(&fixture.account, &name(), &Blob::of(b"layer"));
    assert_eq!(found.unwrap(), Some(5));
    fixture.pass(&[]);
    assert!(fixture.is_linked(b"layer"));
    fixture.push(b"layer");
    fixture.pass(&[]);
    fixture.a_day_passes();
    fixture.pass(&[]);
    assert!(fixture.is_linked(b"layer") && fixture.has(b"layer"));
}

#[test]
fn a_crash_at_any_step_is_finished_by_the_next_pass() {
    let fixture = Fixture::new();
    let manifest = fixture.push(b"layer");
    fixture.delete(manifest);
    fixture.pass(&[]);
    fixture.a_day_passes();
    // After the links and before the blobs.
    let before = SystemTime::now().checked_sub(UNNAMED_LIFE).unwrap();
    fixture.repositories.sweep(before, &mut HashSet::new()).unwrap();
    fixture.pass(&[]);
    fixture.a_day_passes();
    // After a blob and before its note.
    fs::remove_file(fixture.path("blobs/sha256").join(Blob::of(b"layer").hex())).unwrap();
    // In the middle of writing a blob.
    let torn = fixture.path("blobs/sha256/.new-torn");
    fs::write(&torn, b"half").unwrap();
    age(&torn, before - Duration::from_secs(1));
    fixture.pass(&[]);
    assert!(file_names(&fixture.path("blobs/sha256")).unwrap().is_empty());
    assert!(file_names(&fixture.path("blobs/unnamed")).unwrap().is_empty());
}

#[test]
fn a_damaged_manifest_frees_nothing_of_its_repository() {
    let fixture = Fixture::new();
    let manifest = fixture.push(b"layer");
    fs::write(fixture.path("blobs/sha256").join(manifest.hex()), b"damaged").unwrap();
    for _ in 0..3 {
        fixture.pass(&[]);
        fixture.a_day_passes();
    }
    assert!(fixture.is_linked(b"layer") && fixture.has(b"layer"));
}
