//! The record against SQLite in a directory of its own.

mod access;
mod alias;
mod durability;
mod function;
mod reclaim;
mod resolving;
mod servers;
mod snapshot;
mod version;

use crate::code::PreparedCode;
use crate::configuration::{Configuration, PackageType, Settings};
use crate::function_record::{FunctionRecord, VersionKey, insert};
use crate::{CodeRecord, CodeSource, Control, ControlError, ControlParts, NewFunction, Packages, PackagesParts, State};
use api::ImageAddress;
use bytes::Bytes;
use chunk::Account;
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::runtime::Handle;

/// Longest wait for background work in a test.
const WAIT: Duration = Duration::from_secs(20);

/// A record in a directory, and an account.
struct Fixture {
    directory: TempDir,
    control: Control,
    account: Account,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = open(directory.path()).await.unwrap();
        let account = control.create_account(None).await.unwrap().account;
        Self {
            directory,
            control,
            account,
        }
    }

    /// A function of an image whose code was prepared already, Active.
    async fn active(&self, name: &str) -> FunctionRecord {
        self.insert_prepared(name).await;
        self.settled(name, None).await
    }

    /// A function as CreateFunction leaves it, with code that needs no registry to be prepared.
    async fn insert_prepared(&self, name: &str) {
        let configuration = Configuration::new(name, PackageType::Image, "x86_64");
        let digest = format!("sha256:{}", "ab".repeat(32));
        let code = CodeRecord::Image {
            uri: "localhost:9000/hello:v1".into(),
            digest,
        };
        let key = VersionKey {
            account: &self.account,
            name,
            number: 0,
        };
        let mut record = FunctionRecord::new(&self.control, key, configuration, code);
        record.prepared = Some(prepared(&self.account));
        let mut transaction = self.control.write().await.unwrap();
        assert!(insert(&mut transaction, &record).await.unwrap());
        transaction.commit().await.unwrap();
        self.control.function_changed(&self.account, name);
        self.control.begin_preparation(key);
    }

    /// A version after its preparation has ended.
    async fn settled(&self, name: &str, qualifier: Option<&str>) -> FunctionRecord {
        settled(&self.control, &self.account, name, qualifier).await
    }

    /// Sets the memory of `$LATEST` and waits for it.
    async fn set_memory(&self, name: &str, memory_mb: u32) -> FunctionRecord {
        let settings = Settings {
            memory_mb: Some(memory_mb),
            ..Settings::default()
        };
        self.control
            .update_configuration(&self.account, name, settings, None)
            .await
            .unwrap();
        self.settled(name, None).await
    }
}

async fn settled(control: &Control, account: &Account, name: &str, qualifier: Option<&str>) -> FunctionRecord {
    let mut changes = control.changes();
    let wait = async {
        loop {
            let record = control.function(account, name, qualifier).await.unwrap();
            if !record.lifecycle.is_preparing() {
                return record;
            }
            changes.recv().await.unwrap();
        }
    };
    tokio::time::timeout(WAIT, wait).await.expect("the preparation ends")
}

/// The record in a directory.
pub(crate) async fn open(directory: &Path) -> Result<Control, ControlError> {
    open_sharing(directory, directory).await
}

/// The record in a directory, over the store and the keyring in another.
async fn open_sharing(directory: &Path, shared: &Path) -> Result<Control, ControlError> {
    let database = format!("sqlite://{}", directory.join("record.db").display());
    Control::open(ControlParts {
        database,
        region: "us-east-1".into(),
        packages: packages(directory, shared),
        network: api::Network::Off,
        clock,
    })
    .await
}

pub(crate) fn packages(directory: &Path, shared: &Path) -> Packages {
    let location = store::StoreLocation::Directory(shared.join("store"));
    let store = store::Store::open(&location, store::Settings::default(), &store::AwsOptions::default()).unwrap();
    let keyring = keys::Keyring::open_or_create(shared.join("keyring.json")).unwrap();
    Packages::new(PackagesParts {
        store,
        keys: keys::KeyProvider::Local(keyring),
        runtime: Handle::current(),
        directory: directory.join("packages"),
        scratch_directory: directory.join("scratch"),
        region: "us-east-1".into(),
        registry_hosts: vec!["localhost:9000".into()],
        docker_config: None,
        plain_http: Vec::new(),
        s3: None,
    })
}

/// Milliseconds since 1970.
pub(crate) fn clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

fn prepared(account: &Account) -> PreparedCode {
    PreparedCode::Image {
        root: ImageAddress {
            name: "hello".into(),
            account: account.clone(),
            generation: 1,
            manifest: "ab".repeat(32).parse().unwrap(),
        },
        entrypoint: vec!["/bootstrap".into()],
        command: Vec::new(),
        working_directory: "/".into(),
        user: String::new(),
        environment: Vec::new(),
    }
}

/// A zip with one file.
fn zip(content: &str) -> Bytes {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .start_file(
            "bootstrap",
            zip::write::SimpleFileOptions::default().unix_permissions(0o755),
        )
        .unwrap();
    writer.write_all(content.as_bytes()).unwrap();
    writer.finish().unwrap().into_inner().into()
}

/// A function of a zip, on the runtime that needs no image of the operator's.
fn zip_function(name: &str) -> NewFunction {
    NewFunction {
        name: name.into(),
        package_type: PackageType::Zip,
        architecture: None,
        settings: Settings {
            role: Some("arn:aws:iam::123456789012:role/r".into()),
            runtime: Some("provided.al2023".into()),
            handler: Some("bootstrap".into()),
            ..Settings::default()
        },
        code: CodeSource::Zip(zip("#!/bin/sh\n")),
        tags: BTreeMap::new(),
        publish: false,
    }
}

/// The same on a runtime that nobody added, so that its preparation fails.
fn python_function(name: &str) -> NewFunction {
    let mut new = zip_function(name);
    new.settings.runtime = Some("python3.11".into());
    new
}

/// Whether a result is an error of the kind, with the message.
fn check_error<T: std::fmt::Debug>(result: Result<T, ControlError>, kind: &str, message: &str) {
    let error = result.expect_err(message);
    let found = match &error {
        ControlError::NotFound { .. } => "NotFound",
        ControlError::Conflict { .. } => "Conflict",
        ControlError::Invalid { .. } => "Invalid",
        ControlError::PreconditionFailed { .. } => "PreconditionFailed",
        ControlError::LimitExceeded { .. } => "LimitExceeded",
        other => panic!("{other:?}, expected {message}"),
    };
    assert_eq!((found, error.to_string().as_str()), (kind, message));
}

fn is_active(record: &FunctionRecord) -> bool {
    record.lifecycle.state == State::Active
}
