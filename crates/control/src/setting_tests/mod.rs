//! Settings, layers, policies, events, logs and cold starts against SQLite in a directory of its own.

mod autoscaling;
mod concurrency;
mod deliveries;
mod event_invoke;
mod event_sources;
mod events;
mod function_urls;
mod layers;
mod logs;
mod policies;
mod settings;
mod starts;
mod tags;

use crate::configuration::{Configuration, PackageType};
use crate::function_record::{FunctionRecord, VersionKey, insert};
use crate::record_tests::{clock, open};
use crate::{AliasChange, CodeRecord, Control, ControlError, PageRequest, QualifiedName};
use chunk::Account;
use tempfile::TempDir;

/// A record in a directory, with the function `f`, its version 1, and its alias `live` of version 1.
struct Fixture {
    directory: TempDir,
    control: Control,
    account: Account,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = open(directory.path()).await.unwrap();
        let fixture = Self {
            directory,
            control,
            account: "123456789012".parse().unwrap(),
        };
        fixture.insert("f", 0).await;
        fixture.insert("f", 1).await;
        let alias = AliasChange {
            version: Some("1".to_owned()),
            ..AliasChange::default()
        };
        fixture
            .control
            .create_alias(&fixture.account, "f", "live", alias)
            .await
            .unwrap();
        fixture
    }

    /// A version as it lies in the database; nobody prepares it.
    async fn insert(&self, name: &str, number: u64) {
        let configuration = Configuration::new(name, PackageType::Image, "x86_64");
        let code = CodeRecord::Image {
            uri: "localhost:9000/f:1".into(),
            digest: format!("sha256:{}", "ab".repeat(32)),
        };
        let key = VersionKey {
            account: &self.account,
            name,
            number,
        };
        let record = FunctionRecord::new(&self.control, key, configuration, code);
        let mut transaction = self.control.write().await.unwrap();
        assert!(insert(&mut transaction, &record).await.unwrap());
        transaction.commit().await.unwrap();
    }

    /// The same record after the process has ended and begun again.
    async fn reopened(self) -> Self {
        let Self {
            directory,
            control,
            account,
        } = self;
        drop(control);
        let control = open(directory.path()).await.unwrap();
        Self {
            directory,
            control,
            account,
        }
    }

    fn named<'a>(&'a self, name: &'a str, qualifier: &'a str) -> QualifiedName<'a> {
        QualifiedName {
            account: &self.account,
            name,
            qualifier,
        }
    }

    fn arn(&self, rest: &str) -> String {
        format!("arn:aws:lambda:us-east-1:{}:{rest}", self.account)
    }
}

fn page(marker: Option<String>, items_max: u32) -> PageRequest {
    PageRequest {
        marker,
        items_max: Some(items_max),
    }
}

/// Whether a result is an error of the kind with the message.
fn check_error<T: std::fmt::Debug>(result: Result<T, ControlError>, kind: &str, message: &str) {
    let error = result.expect_err(message);
    let debug = format!("{error:?}");
    let found = debug.split([' ', '(']).next().unwrap_or_default();
    assert_eq!((found, error.to_string().as_str()), (kind, message));
}
