//! Events that go to queues, topics and HTTP endpoints, and events that come from queues: against moto's SQS and SNS.

use crate::endpoint::{Endpoint, cache};
use crate::servers::MessageServer;
use std::net::TcpListener;
use std::process::Command;

/// What an endpoint is told, and what the tests of it.
struct Setup {
    server: MessageServer,
    /// Where the test may listen as an HTTP destination, and where nobody ever does.
    hook: String,
    nobody: String,
}

impl Setup {
    fn new() -> Self {
        Self {
            server: MessageServer::start(),
            hook: free_port(),
            nobody: free_port(),
        }
    }

    fn change(&self, up: &mut Command) {
        up.args([
            "--sqs-endpoint",
            &self.server.url(),
            "--sns-endpoint",
            &self.server.url(),
        ])
        .args(["--retry-waits", "1s,1s", "--deliver-for", "20s"])
        .arg(format!("--http-destination=hook=http://127.0.0.1:{}/hook", self.hook))
        .arg(format!("--http-destination=nobody=http://127.0.0.1:{}/", self.nobody))
        .env("AWS_ACCESS_KEY_ID", "anybody")
        .env("AWS_SECRET_ACCESS_KEY", "anything")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env_remove("AWS_PROFILE");
    }

    fn endpoint(&self) -> Endpoint {
        let endpoint = Endpoint::start_with(|up| self.change(up));
        let base = format!("oci:{}", cache().join("corpus/python-runtime").display());
        endpoint.lambent(&["runtime", "add", "python3.11", &base]);
        endpoint
    }

    fn boto3(&self, endpoint: &Endpoint, module: &str) {
        let url = self.server.url();
        endpoint.boto3_with(module, &[("MESSAGES_URL", &url), ("HOOK_PORT", &self.hook)]);
    }
}

/// A port that was free a moment ago. Whoever takes it in between makes the test fail, not pass.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

#[test]
fn destinations() {
    let setup = Setup::new();
    setup.boto3(&setup.endpoint(), "test_destinations");
}

#[test]
fn event_sources() {
    let setup = Setup::new();
    setup.boto3(&setup.endpoint(), "test_event_sources");
}

#[test]
fn a_crash_loses_no_delivery_and_no_message() {
    let setup = Setup::new();
    let mut endpoint = setup.endpoint();
    setup.boto3(&endpoint, "before_message_crash");
    endpoint.crash_and_start_with(|up| setup.change(up));
    setup.boto3(&endpoint, "after_message_crash");
}
