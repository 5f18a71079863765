//! Two network namespaces that are joined: one plays the machine, one the world. No packet leaves this machine.

use std::process::Command;

pub(crate) struct Networks {
    pub(crate) host: String,
    pub(crate) world: String,
}

impl Networks {
    pub(crate) fn make() -> Self {
        let [host, world] = ["machine", "world"].map(|role| format!("lambent-{role}-{}", std::process::id()));
        for name in [&host, &world] {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        let networks = Self { host, world };
        let (host, world) = (&networks.host, &networks.world);
        ip(&format!(
            "-n {host} link add uplink type veth peer name uplink netns {world}"
        ));
        for (name, address) in [(host, "10.77.0.1"), (world, "10.77.0.2")] {
            ip(&format!("-n {name} address add {address}/24 dev uplink"));
            ip(&format!("-n {name} link set uplink up"));
        }
        ip(&format!("-n {host} route add default via 10.77.0.2"));
        networks
    }

    /// The machine's rules of nftables.
    pub(crate) fn rules(&self) -> String {
        let namespace = format!("--net=/run/netns/{}", self.host);
        let output = Command::new("nsenter")
            .args([&namespace, "/usr/sbin/nft", "list", "ruleset"])
            .output();
        let output = output.unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for name in [&self.host, &self.world] {
            ip(&format!("netns del {name}"));
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
}
