//! Answers that outlive the endpoint's memory: in a real memcached.

use crate::endpoint::Endpoint;
use crate::servers::Memcached;

#[test]
fn answers_are_found_in_memcached_after_a_restart() {
    let mut server = Memcached::start();
    let fleet = server.fleet();
    let change = |up: &mut std::process::Command| {
        up.arg("--response-cache-fleet").arg(&fleet);
    };
    let address = server.address();
    let variables = [("MEMCACHED", &*address)];
    let mut endpoint = Endpoint::start_with(change);
    endpoint.boto3_with("before_shared_answers", &variables);
    endpoint.crash_and_start_with(change);
    endpoint.boto3_with("after_shared_answers", &variables);
    endpoint.crash_and_start_with(change);
    server.kill();
    endpoint.boto3_with("without_shared_answers", &variables);
}
