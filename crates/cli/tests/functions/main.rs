//! `lambent up` as its users meet it: through boto3, the aws command line and real registry clients, with functions in
//! real sandboxes. Runs as root. What it needs is made by `cargo xtask setup` and `cargo xtask corpus`.
//!
//! Each test has an endpoint of its own, and runs one file of boto3 tests (unittest) against it.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, and its helpers too")]

mod batches;
mod endpoint;
mod file_systems;
mod messages;
mod networks;
mod packages;
mod servers;
mod shared_answers;

use endpoint::{Endpoint, cache};
use networks::Networks;
use std::fs;

macro_rules! boto3_tests {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            Endpoint::start().boto3(concat!("test_", stringify!($name)));
        }
    )*};
}

boto3_tests!(
    aliases,
    asynchronous,
    batch,
    batch_parquet,
    command_line,
    concurrency,
    event_invoke,
    faults,
    functions,
    function_urls,
    images,
    invoke,
    key_policies,
    layers,
    logs,
    node,
    permissions,
    permissions_accounts,
    response_cache,
    provisioned,
    sandbox,
    settings,
    signatures,
    snap_start,
    streaming,
    tags,
    telemetry,
    versions,
);

#[test]
fn functions_reach_the_network_and_not_the_machine() {
    let networks = Networks::make();
    let mut endpoint = Endpoint::start_within(&networks);
    endpoint.boto3("test_network");
    endpoint.crash_and_start();
    endpoint.boto3("test_network");
    drop(endpoint);
    assert_eq!(networks.rules(), "", "rules were left behind");
}

#[test]
fn a_crash_loses_nothing_that_was_acknowledged() {
    let mut endpoint = Endpoint::start();
    endpoint.boto3("before_crash");
    endpoint.crash_and_start();
    assert_eq!(endpoint.sandboxes(), 0, "environments outlived the endpoint");
    endpoint.boto3("after_crash");
}

#[test]
fn a_python_directory_becomes_a_function() {
    let endpoint = Endpoint::start();
    let base = format!("oci:{}", cache().join("corpus/python-runtime").display());
    endpoint.lambent(&["runtime", "add", "python3.11", &base]);
    assert!(endpoint.lambent(&["runtime", "ls"]).contains("python3.11"));
    let project = endpoint.path("greeter");
    fs::create_dir(&project).unwrap();
    let source = "import os\n\ndef handler(event, context):\n    print('asked by', event['name'])\n    \
                  return os.environ['GREETING'] + ' ' + event['name'] + ' ' + context.function_name\n";
    fs::write(project.join("app.py"), source).unwrap();
    let project = project.display().to_string();
    let said = endpoint.lambent(&[
        "deploy",
        &project,
        "--env",
        "GREETING=hello",
        "--memory",
        "512",
        "--timeout",
        "30",
    ]);
    assert!(said.contains("greeter is ready: python3.11, app.handler"), "{said}");
    let answer = endpoint.lambent(&["invoke", "greeter", r#"{"name": "you"}"#]);
    assert_eq!(answer.trim(), r#""hello you greeter""#);
    // Once more over the same name: the settings and the code are replaced.
    endpoint.lambent(&["deploy", &project, "--env", "GREETING=good day"]);
    let answer = endpoint.lambent(&["invoke", "greeter", r#"{"name": "you"}"#]);
    assert_eq!(answer.trim(), r#""good day you greeter""#);
    assert!(endpoint.logged("greeter", "asked by you"));
    assert!(endpoint.lambent(&["ls"]).contains("greeter"));
    let starts: serde_json::Value =
        serde_json::from_str(&endpoint.lambent(&["function", "starts", "greeter", "--json"])).unwrap();
    let parts = starts[0]["start"]["parts"].as_array().unwrap();
    assert!(parts.iter().any(|part| part["name"] == "init"), "{starts}");
    endpoint.lambent(&["rm", "greeter"]);
    assert!(!endpoint.lambent(&["ls"]).contains("greeter"));
}

#[test]
fn provisioned_concurrency_follows_schedules_and_targets() {
    let endpoint = Endpoint::start_with(|command| {
        command.args(["--scaling-period", "3s"]);
    });
    endpoint.boto3("test_autoscaling");
}

#[test]
fn provisioned_environments_come_back_after_a_crash() {
    let mut endpoint = Endpoint::start();
    endpoint.boto3("before_provisioned_crash");
    endpoint.crash_and_start();
    endpoint.boto3("after_provisioned_crash");
}

#[test]
fn a_snapshot_that_a_crash_interrupted_is_taken_anew() {
    let mut endpoint = Endpoint::start();
    endpoint.boto3("before_snapshot_crash");
    endpoint.crash_and_start();
    endpoint.boto3("after_snapshot_crash");
}

#[test]
fn requests_that_come_together_are_handed_over_as_lists() {
    let endpoint = Endpoint::start();
    let base = format!("oci:{}", cache().join("corpus/python-runtime").display());
    endpoint.lambent(&["runtime", "add", "python3.11", &base]);
    endpoint.boto3("test_micro_batch");
}

#[test]
fn several_invocations_share_an_environment() {
    let endpoint = Endpoint::start();
    let base = format!("oci:{}", cache().join("corpus/python-runtime").display());
    endpoint.lambent(&["runtime", "add", "python3.11", &base]);
    endpoint.boto3("test_shared_environments");
}

#[test]
fn an_end_leaves_nothing() {
    let mut endpoint = Endpoint::start();
    endpoint.boto3("before_crash");
    endpoint.end();
    assert_eq!(endpoint.sandboxes(), 0);
}
