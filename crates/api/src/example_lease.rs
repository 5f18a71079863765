//! A lease for tests of other crates.

use crate::{FunctionIdentity, ImageAddress, Initialization, Lease, LogFormat, Logging, Network, Program};
use std::time::Duration;

/// A lease with Lambda's defaults of version 7 of the function `name`, which runs `/bootstrap`. Its image is nowhere.
///
/// # Panics
/// Never: what it parses is constant.
#[must_use]
pub fn example_lease(revision: &str) -> Lease {
    let account = || "123456789012".parse().expect("it has twelve digits");
    Lease {
        revision: revision.to_owned(),
        function: FunctionIdentity {
            account: account(),
            region: "us-east-1".to_owned(),
            name: "name".to_owned(),
            version: "7".to_owned(),
            arn: "arn:aws:lambda:us-east-1:123456789012:function:name".to_owned(),
        },
        root: ImageAddress {
            name: "root".to_owned(),
            account: account(),
            generation: 1,
            manifest: "11".repeat(32).parse().expect("it has 32 bytes"),
        },
        overlays: Vec::new(),
        file_systems: Vec::new(),
        program: Program {
            arguments: vec!["/bootstrap".to_owned()],
            working_directory: "/".to_owned(),
            user: String::new(),
            handler: "app.handler".to_owned(),
            environment: Vec::new(),
            runtime: None,
        },
        memory_mb: 128,
        tmp_mb: 512,
        timeout: Duration::from_secs(3),
        invocations_max: 1,
        logging: Logging {
            group: "/aws/lambda/name".to_owned(),
            format: LogFormat::Text,
            application_level: None,
            system_level: None,
        },
        network: Network::Off,
        initialization: Initialization::OnDemand,
        snapshot: None,
    }
}
