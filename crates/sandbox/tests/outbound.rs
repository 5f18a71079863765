//! The way out of a sandbox, and what it does not lead to. No packet leaves this machine: each test has network
//! namespaces of its own, one that plays the host and one that plays the world.
#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

mod fixture;
mod networks;

use fixture::{Fixture, process, sh, start, until};
use networks::{FOREIGN, HOST, METADATA, Networks, WORLD};
use rustix::process::{Pid, Signal, kill_process};
use sandbox::{Sandbox, SandboxNetwork, Spawner};
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

fn create(fixture: &Fixture) -> Sandbox {
    create_with(fixture, &fixture.spawner)
}

fn create_with(fixture: &Fixture, spawner: &Spawner) -> Sandbox {
    let mut spec = fixture.spec();
    spec.network = SandboxNetwork::Outbound;
    spec.files_max = 4096;
    spawner.create(&spec).unwrap()
}

/// What a peer at this address says to who connects to it, or why it cannot be reached.
fn dial(sandbox: &Sandbox, address: &str) -> String {
    let script = "use IO::Socket::IP; $SIG{ALRM} = sub { print 'timeout'; exit }; alarm 5;
        my $s = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => $ARGV[1]) or do { print 'refused'; exit };
        print <$s>";
    let (host, port) = address.rsplit_once(':').unwrap();
    fixture::run(sandbox, &process(&["perl", "-e", script, host, port])).0
}

fn forwards() -> String {
    fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn the_world_is_reached_in_the_name_of_the_host() {
    let networks = Networks::enter();
    let server = networks.world.serve();
    let fixture = Fixture::new();
    let sandboxes = [create(&fixture), create(&fixture)];
    for sandbox in &sandboxes {
        assert_eq!(dial(sandbox, &server.at(WORLD)), HOST);
    }
    let addresses: BTreeSet<_> = sandboxes.iter().map(own_address).collect();
    assert_eq!(addresses.len(), 2);
    assert!(addresses.iter().all(|address| address.starts_with("169.254.")));
    assert_eq!(
        sh(
            &sandboxes[0],
            "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort"
        ),
        "eth0\nlo"
    );
}

fn own_address(sandbox: &Sandbox) -> String {
    sh(
        sandbox,
        "ip -4 -o address show dev eth0 | sed 's/.*inet //; s/[/ ].*//'",
    )
}

#[test]
fn the_host_other_sandboxes_and_the_clouds_metadata_are_not_reached() {
    let networks = Networks::enter();
    let world = networks.world.serve();
    let host = networks.host.serve();
    let fixture = Fixture::new();
    let (sandbox, other) = (create(&fixture), create(&fixture));
    // All of these answer: from the host itself.
    for address in [world.at(METADATA), host.at(HOST), host.at("127.0.0.1")] {
        assert!(networks.host.reaches(&address), "{address}");
    }
    let listen = "use IO::Socket::INET; $| = 1;
        my $l = IO::Socket::INET->new(Listen => 9, LocalPort => 7000) or die; print 1; while (my $s = $l->accept) { print $s 'inside' }";
    let listening = other.spawn(&process(&["perl", "-e", listen])).unwrap();
    until("it listens", || rustix::io::read(&listening.output, &mut [0u8; 1]).ok());
    let neighbour = format!("{}:7000", own_address(&other));
    assert_eq!(dial(&other, &neighbour), "inside");
    let metadata = world.at(METADATA);
    // The kernel uses an IPv6 address only when it has seen that nobody else has it.
    until("IPv6 addresses are settled", || {
        (sh(
            &sandbox,
            "ip -6 address show dev eth0 scope link | grep -c ' tentative'; true",
        ) == "0")
            .then_some(())
    });
    let router = "fe80::6c:61ff:fe6d:1%eth0";
    for address in [
        &metadata,
        &host.at(HOST),
        &host.at("127.0.0.1"),
        &host.at("169.254.64.1"),
        &neighbour,
    ] {
        assert_eq!(dial(&sandbox, address), "refused", "{address}");
    }
    // Neighbour discovery is refused, too, so nobody is there to refuse more.
    assert_eq!(dial(&sandbox, &host.at(router)), "timeout");
    // It is not that nothing works.
    assert_eq!(dial(&sandbox, &world.at(WORLD)), HOST);
    // A sandbox without a way out stays without, beside one that has it.
    let off = fixture.create();
    assert_eq!(dial(&off, &world.at(WORLD)), "refused");
}

#[test]
fn names_are_asked_of_the_hosts_servers() {
    let _networks = Networks::enter();
    let fixture = Fixture::new();
    let sandbox = create(&fixture);
    let host = fs::read_to_string("/etc/resolv.conf").unwrap();
    for line in sh(&sandbox, "cat /etc/resolv.conf").lines() {
        assert!(host.contains(line), "{line}");
    }
    assert_eq!(sh(&fixture.create(), "ls /etc"), "hosts");
}

#[test]
fn connections_are_limited_for_each() {
    let networks = Networks::enter();
    let server = networks.world.serve();
    let fixture = Fixture::new();
    let (greedy, other) = (create(&fixture), create(&fixture));
    let connect = "use IO::Socket::INET; my @all;
        while (my $s = IO::Socket::INET->new($ARGV[0])) { push @all, $s } print scalar @all; $| = 1; print qq(\\n); sleep 1000";
    let connecting = greedy
        .spawn(&process(&["perl", "-e", connect, &server.at(WORLD)]))
        .unwrap();
    let mut bytes = [0; 16];
    let count = until("no more are given", || {
        rustix::io::read(&connecting.output, &mut bytes).ok()
    });
    let count: u32 = String::from_utf8_lossy(&bytes[..count]).trim().parse().unwrap();
    // Kernels differ about whether the one that asks is counted.
    assert!((1023..=1025).contains(&count), "{count}");
    assert_eq!(dial(&other, &server.at(WORLD)), HOST);
}

#[test]
fn nothing_is_left_behind() {
    let networks = Networks::enter();
    let server = networks.world.serve();
    assert_eq!(forwards(), "0");
    let fixture = Fixture::new();
    assert_eq!((networks.host.tables().len(), networks.host.pairs()), (0, 0));
    let sandbox = create(&fixture);
    assert_eq!((networks.host.tables().len(), networks.host.pairs()), (2, 1));
    assert_eq!(forwards(), "1");
    drop(sandbox);
    until("the interfaces are gone", || (networks.host.pairs() == 0).then_some(()));
    // Another spawner comes and goes, and the first one's sandboxes keep their way.
    let other = Fixture::new();
    drop(create(&other));
    drop(other);
    assert_eq!(networks.host.tables().len(), 2);
    assert_eq!(dial(&create(&fixture), &server.at(WORLD)), HOST);
    drop(fixture);
    assert_eq!(networks.host.tables(), [""; 0]);
    assert_eq!(forwards(), "0");
    until("the interfaces are gone", || (networks.host.pairs() == 0).then_some(()));
}

#[test]
fn a_successor_clears_what_a_killed_one_left() {
    let networks = Networks::enter();
    let fixture = Fixture::new();
    let name = fixture::unique();
    let spawner = start(&name);
    let sandbox = create_with(&fixture, &spawner);
    // Both the caller and the spawner die without a last act: this one's values are forgotten.
    let children = networks.host.processes("sandbox-spawner");
    std::mem::forget((sandbox, spawner));
    for child in children {
        // Those of the fixture's own spawner among them.
        let _ = kill_process(Pid::from_raw(child).unwrap(), Signal::KILL);
    }
    until("the processes are gone", || {
        networks.host.processes("sandbox-spawner").is_empty().then_some(())
    });
    assert_eq!((networks.host.tables().len(), forwards().as_str()), (2, "1"));
    let successor = start(&name);
    assert_eq!(networks.host.tables(), [""; 0]);
    assert_eq!(forwards(), "0");
    drop(successor);
}

#[test]
fn a_machine_that_was_no_router_becomes_none() {
    let networks = Networks::enter();
    let foreign = networks.foreign.serve();
    let from_world = |address: &str| networks.world.reaches(address);
    let address = foreign.at(FOREIGN);
    assert!(networks.host.reaches(&address));
    assert!(!from_world(&address));
    let fixture = Fixture::new();
    let _sandbox = create(&fixture);
    assert_eq!(forwards(), "1");
    assert!(!from_world(&address), "the host forwards for others");
}

#[test]
fn a_router_stays_one() {
    let networks = Networks::enter();
    let foreign = networks.foreign.serve();
    let address = foreign.at(FOREIGN);
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    assert!(networks.world.reaches(&address));
    let fixture = Fixture::new();
    let sandbox = create(&fixture);
    assert!(networks.world.reaches(&address));
    let inside: SocketAddr = format!("{}:9001", own_address(&sandbox)).parse().unwrap();
    assert!(!networks.world.reaches(&inside.to_string()), "a sandbox can be reached");
    drop((sandbox, fixture));
    assert_eq!(forwards(), "1");
}
