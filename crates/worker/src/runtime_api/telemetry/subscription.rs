//! What an extension subscribes to, checked.

use super::event::{Category, TelemetryEvent, TelemetryRecord};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// Which of the two interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime_api) enum Interface {
    /// `PUT /2022-07-01/telemetry`.
    Telemetry,
    /// `PUT /2020-08-15/logs`, its predecessor.
    Logs,
}

/// A subscription that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) interface: Interface,
    pub(super) categories: Vec<Category>,
    pub(super) buffering: Buffering,
    pub(super) destination: Destination,
}

/// When a batch is sent. Limits and defaults are those of Lambda's documentation of the Telemetry API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buffering {
    /// Events, 1,000 to 10,000.
    pub(super) items_max: usize,
    /// Bytes, 256 KiB to 1 MiB.
    pub(super) bytes_max: usize,
    /// Since the batch's first event, 25 ms to 30 s.
    pub(super) timeout: Duration,
}

/// Where it goes, on 127.0.0.1 inside the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// Each batch is a POST of a JSON array.
    Http {
        port: u16,
        /// Begins with `/`; printable ASCII without spaces.
        path: String,
    },
    /// Each event is a line of one connection.
    Tcp { port: u16 },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    schema_version: Option<String>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    buffering: RequestBuffering,
    destination: Option<RequestDestination>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestBuffering {
    max_items: Option<u64>,
    max_bytes: Option<u64>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
struct RequestDestination {
    protocol: Option<String>,
    #[serde(rename = "URI", alias = "uri")]
    uri: Option<String>,
    port: Option<u16>,
}

/// The port of the Runtime API itself: a subscriber cannot be there.
const RUNTIME_API_PORT: u16 = 9001;

impl Interface {
    /// As in types of errors.
    pub(in crate::runtime_api) fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry",
            Self::Logs => "Logs",
        }
    }

    fn schema_versions(self) -> &'static [&'static str] {
        match self {
            Self::Telemetry => &["2022-07-01", "2022-12-13", "2025-01-29"],
            Self::Logs => &["2020-08-15", "2021-03-18"],
        }
    }

    fn items_default(self) -> u64 {
        match self {
            Self::Telemetry => 1000,
            Self::Logs => 10_000,
        }
    }
}

impl Subscription {
    /// Reads and checks a request's body. The error is all that is wrong, joined.
    pub(super) fn parse(interface: Interface, body: &[u8]) -> Result<Self, String> {
        let request: Request =
            serde_json::from_slice(body).map_err(|error| format!("the subscription cannot be read: {error}"))?;
        let mut faults = Faults::default();
        faults.check_version(interface, request.schema_version.as_deref());
        let categories = faults.categories(&request.types);
        let buffering = faults.buffering(interface, &request.buffering);
        let destination = faults.destination(request.destination);
        match (faults.0.is_empty(), destination) {
            (true, Some(destination)) => Ok(Self {
                interface,
                categories,
                buffering,
                destination,
            }),
            _ => Err(faults.0.join("; ")),
        }
    }

    /// What the platform says of a new subscription.
    pub(super) fn event(&self, extension: &str, time_ms: u64) -> TelemetryEvent {
        let name = match self.interface {
            Interface::Telemetry => "platform.telemetrySubscription",
            Interface::Logs => "platform.logsSubscription",
        };
        let types: Vec<_> = self.categories.iter().map(|category| category.name()).collect();
        TelemetryEvent {
            time_ms,
            record: TelemetryRecord::Platform {
                name,
                record: json!({ "name": extension, "state": "Subscribed", "types": types }),
            },
        }
    }
}

/// What is wrong with a request.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn check_version(&mut self, interface: Interface, version: Option<&str>) {
        let versions = interface.schema_versions();
        // The Logs API took requests without a version.
        let is_known = match version {
            None => interface == Interface::Logs,
            Some(version) => versions.contains(&version),
        };
        if !is_known {
            self.0
                .push(format!("schemaVersion must be one of {}", versions.join(", ")));
        }
    }

    fn categories(&mut self, types: &[String]) -> Vec<Category> {
        let mut categories = Vec::new();
        for name in types {
            match Category::parse(name) {
                Some(category) if !categories.contains(&category) => categories.push(category),
                Some(_) => {}
                None => {
                    self.0
                        .push("types must be among platform, function, extension".to_owned());
                    break;
                }
            }
        }
        if types.is_empty() {
            self.0.push("types should not be empty".to_owned());
        }
        categories
    }

    fn buffering(&mut self, interface: Interface, asked: &RequestBuffering) -> Buffering {
        let items = asked.max_items.unwrap_or(interface.items_default());
        let bytes = asked.max_bytes.unwrap_or(262_144);
        let timeout_ms = asked.timeout_ms.unwrap_or(1000);
        self.check_range("maxItems", items, 1000, 10_000);
        self.check_range("maxBytes", bytes, 262_144, 1_048_576);
        self.check_range("timeoutMs", timeout_ms, 25, 30_000);
        Buffering {
            items_max: usize::try_from(items).unwrap_or(usize::MAX),
            bytes_max: usize::try_from(bytes).unwrap_or(usize::MAX),
            timeout: Duration::from_millis(timeout_ms),
        }
    }

    fn check_range(&mut self, name: &str, value: u64, least: u64, most: u64) {
        if !(least..=most).contains(&value) {
            self.0.push(format!("{name} must be between {least} and {most}"));
        }
    }

    fn destination(&mut self, asked: Option<RequestDestination>) -> Option<Destination> {
        let Some(asked) = asked else {
            self.0.push("destination is not provided".to_owned());
            return None;
        };
        let destination = match asked.protocol.as_deref() {
            Some("HTTP") => http_destination(asked.uri.as_deref().unwrap_or("")),
            Some("TCP") => tcp_destination(&asked),
            _ => Err("protocol must be HTTP or TCP".to_owned()),
        };
        destination.map_err(|fault| self.0.push(fault)).ok()
    }
}

fn http_destination(uri: &str) -> Result<Destination, String> {
    let rest = uri.strip_prefix("http://").ok_or("URI must begin with http://")?;
    let (authority, path) = match rest.find('/') {
        Some(index) => rest.split_at(index),
        None => (rest, "/"),
    };
    let port = local_port(authority)?;
    if path.len() > 1024 || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the URI's path must be at most 1024 printable characters".to_owned());
    }
    let path = path.to_owned();
    Ok(Destination::Http { port, path })
}

fn tcp_destination(asked: &RequestDestination) -> Result<Destination, String> {
    let port = match (asked.port, &asked.uri) {
        (Some(port), _) => checked_port(port)?,
        (None, Some(uri)) => local_port(uri.strip_prefix("tcp://").unwrap_or(uri))?,
        (None, None) => return Err("port is not provided".to_owned()),
    };
    Ok(Destination::Tcp { port })
}

/// The port of `sandbox.localdomain:PORT`.
fn local_port(authority: &str) -> Result<u16, String> {
    let (host, port) = authority.split_once(':').ok_or("URI port is not provided")?;
    if host != "sandbox.localdomain" && host != "sandbox" {
        return Err("the URI's host must be sandbox.localdomain".to_owned());
    }
    checked_port(port.parse().map_err(|_| "URI port is not a number up to 65535")?)
}

fn checked_port(port: u16) -> Result<u16, String> {
    match port {
        0 | RUNTIME_API_PORT => Err(format!("port {port} cannot be used")),
        port => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(interface: Interface, body: &str, expected: Result<Subscription, &str>) {
        let parsed = Subscription::parse(interface, body.as_bytes());
        assert_eq!(parsed, expected.map_err(str::to_owned), "{body}");
    }

    fn subscription(interface: Interface, items_max: usize, destination: Destination) -> Subscription {
        Subscription {
            interface,
            categories: vec![Category::Platform, Category::Function],
            buffering: Buffering {
                items_max,
                bytes_max: 262_144,
                timeout: Duration::from_secs(1),
            },
            destination,
        }
    }

    #[test]
    fn subscriptions_of_the_documentation_are_taken() {
        let path = "/".to_owned();
        check(
            Interface::Telemetry,
            r#"{"schemaVersion":"2022-12-13","types":["platform","function","function"],
                "destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080"}}"#,
            Ok(subscription(
                Interface::Telemetry,
                1000,
                Destination::Http { port: 8080, path },
            )),
        );
        let path = "/logs?x=1".to_owned();
        check(
            Interface::Logs,
            r#"{"types":["platform","function"],
                "destination":{"protocol":"HTTP","URI":"http://sandbox:8081/logs?x=1"}}"#,
            Ok(subscription(
                Interface::Logs,
                10_000,
                Destination::Http { port: 8081, path },
            )),
        );
        check(
            Interface::Telemetry,
            r#"{"schemaVersion":"2025-01-29","types":["platform","function"],"buffering":{"maxItems":2000},
                "destination":{"protocol":"TCP","port":4000}}"#,
            Ok(subscription(
                Interface::Telemetry,
                2000,
                Destination::Tcp { port: 4000 },
            )),
        );
    }

    #[test]
    fn faults_are_named_together() {
        let versions = "schemaVersion must be one of 2022-07-01, 2022-12-13, 2025-01-29";
        check(
            Interface::Telemetry,
            r#"{"types":[],"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain"}}"#,
            Err(&format!(
                "{versions}; types should not be empty; URI port is not provided"
            )),
        );
        check(
            Interface::Telemetry,
            r#"{"schemaVersion":"2022-07-01","types":["all"],"buffering":{"maxItems":1,"maxBytes":1,"timeoutMs":1}}"#,
            Err(
                "types must be among platform, function, extension; maxItems must be between 1000 and 10000; \
                 maxBytes must be between 262144 and 1048576; timeoutMs must be between 25 and 30000; \
                 destination is not provided",
            ),
        );
    }

    #[test]
    fn destinations_stay_inside() {
        for (uri, fault) in [
            ("http://example.com:80", "the URI's host must be sandbox.localdomain"),
            ("http://127.0.0.1:80", "the URI's host must be sandbox.localdomain"),
            ("https://sandbox.localdomain:80", "URI must begin with http://"),
            ("http://sandbox.localdomain:9001", "port 9001 cannot be used"),
            ("http://sandbox.localdomain:0", "port 0 cannot be used"),
            (
                "http://sandbox.localdomain:99999",
                "URI port is not a number up to 65535",
            ),
            (
                "http://sandbox.localdomain:80/ HTTP/1.1\r\nx: y",
                "the URI's path must be at most 1024 printable characters",
            ),
        ] {
            assert_eq!(http_destination(uri), Err(fault.to_owned()), "{uri}");
        }
    }
}
