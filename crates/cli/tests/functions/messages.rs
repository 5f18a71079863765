//! Events that go to queues, topics and HTTP endpoints, and events that come from queues: against moto's SQS and SNS.

use crate::endpoint::{Endpoint, cache};
use crate::servers::MessageServer;
use std::net::TcpListener;
use std::process::Command;

/// What an endpoint is told, and what the tests of it.
struct Setup {
    server: MessageServer,
    /// Where the test may listen as an HTTP destination, where nobody ever does, and where nobody ever answers.
    hook: String,
    nobody: String,
    hung: String,
    /// How long a delivery is tried.
    deliver_for: &'static str,
}

impl Setup {
    fn new() -> Self {
        Self {
            server: MessageServer::start(),
            hook: free_port(),
            nobody: free_port(),
            hung: free_port(),
            deliver_for: "10m",
        }
    }

    /// One that gives up soon enough for a test to see it.
    fn that_gives_up() -> Self {
        Self {
            deliver_for: "20s",
            ..Self::new()
        }
    }

    fn change(&self, up: &mut Command) {
        self.change_without_access(up);
        // moto's own account.
        up.arg("--message-access=*=arn:aws:sqs:*:123456789012:*")
            .arg("--message-access=000000000000=arn:aws:sns:*:123456789012:*");
    }

    fn change_without_access(&self, up: &mut Command) {
        up.args([
            "--sqs-endpoint",
            &self.server.url(),
            "--sns-endpoint",
            &self.server.url(),
        ])
        .args(["--retry-waits", "1s,1s", "--deliver-for", self.deliver_for])
        .arg(format!("--http-destination=hook=http://127.0.0.1:{}/hook", self.hook))
        .arg(format!("--http-destination=nobody=http://127.0.0.1:{}/", self.nobody))
        .arg(format!("--http-destination=hung=http://127.0.0.1:{}/", self.hung))
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
        let ports = [("HOOK_PORT", &*self.hook), ("HUNG_PORT", &self.hung)];
        endpoint.boto3_with(module, &[&[("MESSAGES_URL", &*url)], &ports[..]].concat());
    }
}

/// A port that was free a moment ago. Whoever takes it in between makes the test fail, not pass.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

#[test]
fn destinations() {
    let setup = Setup::that_gives_up();
    setup.boto3(&setup.endpoint(), "test_destinations");
}

#[test]
fn a_destination_that_hangs_holds_up_no_other() {
    let setup = Setup::that_gives_up();
    setup.boto3(&setup.endpoint(), "test_hung_destination");
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

#[test]
fn what_an_account_may_name_can_be_taken_away() {
    let setup = Setup::new();
    let mut endpoint = setup.endpoint();
    setup.boto3(&endpoint, "before_access_is_taken");
    endpoint.crash_and_start_with(|up| setup.change_without_access(up));
    setup.boto3(&endpoint, "after_access_is_taken");
}
