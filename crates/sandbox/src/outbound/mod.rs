//! The way out of a sandbox: a pair of virtual interfaces, a route, and address translation on the host.
//!
//! ```text
//! eth0 (inside, 169.254.64.x/32) ── lambentPID (host, no address) ── forward: rules ── masquerade ── the network
//! ```
//! Per sandbox there are one pair, one route and one neighbour, and no rule: the rules of [`rules`] name interfaces by
//! their prefix and are loaded once. Nothing is resolved on the link, since both ends know the other's hardware address
//! from the start, and so the host needs no address on it. The pair ends with the network namespace, whoever ends that,
//! so the only thing to clear is the table of rules.
//!
//! A sandbox reaches the outside by IPv4 and nothing of this machine: no address of the host, no other sandbox, no
//! link-local address, where clouds keep a machine's credentials. Why it is made like this, and what it does to the
//! host: docs/decisions/0010.

mod link;
mod resolver;
mod rules;

pub(crate) use link::{connect, enter};
pub(crate) use resolver::Resolver;
pub(crate) use rules::clear;

use crate::error::SandboxError;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

/// Addresses of sandboxes, 169.254.64.0 to 169.254.95.255. Link-local, since no network that a function wants to reach
/// can have these addresses, which private ranges such as 10.0.0.0/8 cannot promise; a part of them that is far from
/// those that clouds use (169.254.169.x, 169.254.170.x, 169.254.20.x) and from the first and last 256, which RFC 3927
/// reserves. With 8,192 there are twice as many as one spawner can have sandboxes.
const POOL: Ipv4Addr = Ipv4Addr::new(169, 254, 64, 0);
const POOL_BITS: u8 = 19;
const POOL_ADDRESSES: u32 = 1 << (32 - POOL_BITS);
/// What a sandbox takes for its router; nobody has this address.
const ROUTER: Ipv4Addr = Ipv4Addr::new(169, 254, 64, 1);
/// The addresses of the pool before the first sandbox's: the network's own, and the router's.
const POOL_RESERVED: u32 = 2;

/// Names of the host's ends begin with this, and a process id follows: at most 14 of the 15 bytes that a name may have.
const INTERFACE_PREFIX: &str = "lambent";
/// The sandbox's end, as in every container.
const INTERFACE_INSIDE: &str = "eth0";

/// The rules of one spawner, loaded before its first sandbox that needs them.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// The spawner's name.
    name: String,
    is_ready: Mutex<bool>,
}

impl Outbound {
    /// Removes what a predecessor of this name left.
    pub(crate) fn new(name: &str) -> Self {
        clear(name);
        Self {
            name: name.to_owned(),
            is_ready: Mutex::new(false),
        }
    }

    /// Makes sure that the host translates addresses and keeps sandboxes away from itself; gives the resolver's
    /// configuration of this moment.
    pub(crate) fn prepare(&self) -> Result<Resolver, SandboxError> {
        let resolver = Resolver::of_host();
        let mut is_ready = self.is_ready.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_ready {
            rules::load(&self.name, resolver.servers())?;
            *is_ready = true;
        }
        Ok(resolver)
    }

    pub(crate) fn clear(&self) {
        clear(&self.name);
    }
}
