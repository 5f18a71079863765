//! Network namespaces of a test: `host` ── `world`, and `host` ── `foreign`, a network that only the host can reach.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

pub(crate) const HOST: &str = "10.77.0.1";
pub(crate) const WORLD: &str = "10.77.0.2";
/// Where clouds keep a machine's credentials; here the world has it, and the host a route to it.
pub(crate) const METADATA: &str = "169.254.169.254";
pub(crate) const FOREIGN: &str = "10.78.0.2";

/// Long enough for a packet to another namespace; what is dropped takes all of it.
const REACH_WAIT: Duration = Duration::from_millis(500);

pub(crate) struct Networks {
    pub(crate) host: Namespace,
    pub(crate) world: Namespace,
    pub(crate) foreign: Namespace,
}

/// Deleted at the end; what still runs in it keeps it until then.
pub(crate) struct Namespace(String);

/// Says to whoever connects which address it came from, and keeps the connection.
pub(crate) struct Server(u16);

impl Networks {
    /// Makes them, and moves this thread, and so all that it starts, into `host`.
    pub(crate) fn enter() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let make = |role: &str| {
            let name = format!("lambent-{role}-{}-{number}", std::process::id());
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
            Namespace(name)
        };
        let networks = Self {
            host: make("host"),
            world: make("world"),
            foreign: make("foreign"),
        };
        networks.host.join(&networks.world, HOST, WORLD);
        networks.host.join(&networks.foreign, "10.78.0.1", FOREIGN);
        let (host, world) = (&networks.host.0, &networks.world.0);
        ip(&format!("-n {host} route add default via {WORLD}"));
        ip(&format!("-n {host} route add {METADATA} via {WORLD}"));
        ip(&format!("-n {world} address add {METADATA}/32 dev lo"));
        ip(&format!("-n {world} route add 10.78.0.0/24 via {HOST}"));
        ip(&format!("-n {world} route add 169.254.64.0/19 via {HOST}"));
        ip(&format!("-n {} route add default via 10.78.0.1", networks.foreign.0));
        networks.host.enter();
        // A new namespace begins with the setting of the machine's first one.
        fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        networks
    }
}

impl Namespace {
    fn join(&self, other: &Self, here: &str, there: &str) {
        let (own, peer) = (&self.0, &other.0);
        let device = format!("to{}", there.replace('.', ""));
        ip(&format!(
            "-n {own} link add {device} type veth peer name uplink netns {peer}"
        ));
        for (namespace, device, address) in [(own, device.as_str(), here), (peer, "uplink", there)] {
            ip(&format!("-n {namespace} address add {address}/24 dev {device}"));
            ip(&format!("-n {namespace} link set {device} up"));
        }
    }

    /// Moves this thread.
    fn enter(&self) {
        let namespace = File::open(format!("/run/netns/{}", self.0)).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let entered = || {
            self.enter();
            act()
        };
        thread::scope(|scope| scope.spawn(entered).join().unwrap())
    }

    /// Serves every address that it has, until the test's process ends.
    pub(crate) fn serve(&self) -> Server {
        allow_files();
        let listener = self.within(|| TcpListener::bind("[::]:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let peer = stream
                    .peer_addr()
                    .map_or(String::new(), |peer| peer.ip().to_canonical().to_string());
                let _ = stream.write_all(peer.as_bytes());
                let _ = stream.shutdown(std::net::Shutdown::Write);
                kept.push(stream);
            }
        });
        Server(port)
    }

    /// Whether somebody in it gets an answer from there.
    pub(crate) fn reaches(&self, address: &str) -> bool {
        let address: SocketAddr = address.parse().unwrap();
        self.within(|| {
            let mut answer = [0];
            TcpStream::connect_timeout(&address, REACH_WAIT)
                .is_ok_and(|mut stream| stream.read_exact(&mut answer).is_ok())
        })
    }

    /// Tables of nftables.
    pub(crate) fn tables(&self) -> Vec<String> {
        let listed = self.within(|| Command::new("/usr/sbin/nft").args(["list", "tables"]).output().unwrap());
        assert!(listed.status.success());
        String::from_utf8(listed.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// How many sandboxes have an interface here.
    pub(crate) fn pairs(&self) -> usize {
        let devices = self.within(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
        devices
            .lines()
            .filter(|line| line.trim().starts_with("lambent"))
            .count()
    }

    /// Processes of a program that are here, or in a namespace that they made from here.
    pub(crate) fn processes(&self, program: &str) -> BTreeSet<i32> {
        let here = fs::metadata(format!("/run/netns/{}", self.0)).unwrap().ino();
        let runs = |id: &i32| {
            let path = format!("/proc/{id}");
            let is_program = fs::read_link(format!("{path}/exe")).is_ok_and(|exe| exe.ends_with(program));
            is_program && fs::metadata(format!("{path}/ns/net")).is_ok_and(|net| net.ino() == here)
        };
        let ids = fs::read_dir("/proc").unwrap().flatten();
        ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(runs)
            .collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.0));
    }
}

impl Server {
    pub(crate) fn at(&self, host: &str) -> String {
        format!("{host}:{}", self.0)
    }
}

/// As many open files as this process may have: a server keeps a thousand connections.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
