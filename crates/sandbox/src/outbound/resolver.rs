//! Which servers of names a sandbox asks: the host's, as far as they can be reached from it.

use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

/// In this order: a host that asks a cache on its own loopback, as systemd's does, has the real servers in the second.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// Servers that a C library asks. Source: `MAXNS` in resolv.h.
const SERVERS_MAX: usize = 3;
/// Of a file; a usual one has a hundred.
const BYTES_MAX: usize = 16 << 10;

/// A `resolv.conf` for sandboxes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolver {
    text: String,
    servers: Vec<Ipv4Addr>,
}

impl Resolver {
    /// From the first file that names a server which a sandbox can reach; empty if none does.
    pub(crate) fn of_host() -> Self {
        let texts = FILES.iter().filter_map(|file| fs::read_to_string(file).ok());
        let mut resolvers = texts
            .filter(|text| text.len() <= BYTES_MAX)
            .map(|text| Self::parse(&text));
        resolvers
            .find(|resolver| !resolver.servers.is_empty())
            .unwrap_or_default()
    }

    /// The file's text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn servers(&self) -> &[Ipv4Addr] {
        &self.servers
    }

    /// Without the servers that only the host itself reaches: on its loopback, or by IPv6. Format: resolv.conf(5).
    fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => resolver.add(words.next().and_then(|word| word.parse().ok())),
                Some("search" | "domain" | "options" | "sortlist") => {
                    resolver.text.push_str(line);
                    resolver.text.push('\n');
                }
                _ => {}
            }
        }
        resolver
    }

    fn add(&mut self, server: Option<IpAddr>) {
        if let Some(IpAddr::V4(server)) = server
            && !server.is_loopback()
            && !server.is_unspecified()
            && self.servers.len() < SERVERS_MAX
        {
            self.servers.push(server);
            writeln!(self.text, "nameserver {server}").expect("a text takes all");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str, servers: &[Ipv4Addr]) {
        let resolver = Resolver::parse(text);
        assert_eq!((resolver.text(), resolver.servers()), (expected, servers), "{text:?}");
    }

    #[test]
    fn servers_that_a_sandbox_cannot_reach_are_left_out() {
        check("", "", &[]);
        check("nameserver 127.0.0.53\noptions edns0\n", "options edns0\n", &[]);
        check("nameserver fd00::1\nnameserver\nnameserver x\n; c\n# c\n", "", &[]);
        check(
            "search a.example\nnameserver 10.0.0.2\nnameserver 0.0.0.0\n",
            "search a.example\nnameserver 10.0.0.2\n",
            &[Ipv4Addr::new(10, 0, 0, 2)],
        );
    }

    #[test]
    fn more_servers_than_anybody_asks_are_left_out() {
        let resolver = Resolver::parse(&"nameserver 10.0.0.2\n".repeat(9));
        assert_eq!(resolver.servers().len(), SERVERS_MAX);
    }
}
