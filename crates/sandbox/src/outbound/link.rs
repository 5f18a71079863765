//! The pair of interfaces between a sandbox and the host.

use super::{INTERFACE_INSIDE, INTERFACE_PREFIX, POOL, POOL_ADDRESSES, POOL_RESERVED, ROUTER};
use crate::netlink::{self, Attributes, Family, message};
use crate::wire::{Failure, Step};
use rustix::net::netdevice::name_to_index;
use rustix::process::Pid;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};

/// Hardware addresses of both ends, the same for every pair, since no two pairs share a link. The first byte says that
/// they are local.
const HOST_END: [u8; 6] = [0x02, b'l', b'a', b'm', 0, 1];
const INNER_END: [u8; 6] = [0x02, b'l', b'a', b'm', 0, 2];

/// Source: include/uapi/linux/veth.h.
const VETH_INFO_PEER: u16 = 1;
/// The next hop need not be on a network of the interface. Source: include/uapi/linux/rtnetlink.h.
const RTNH_F_ONLINK: u32 = 4;
/// Bits of a whole IPv4 address.
const WHOLE: u8 = 32;

const MAKE: i32 = libc::NLM_F_CREATE | libc::NLM_F_EXCL | libc::NLM_F_ACK;

/// Makes the pair, with one end in the network namespace of `init`; gives the address that the other end gets.
///
/// The route to an address is what reserves it, also against other spawners on this machine.
pub(crate) fn connect(init: Pid) -> Result<Ipv4Addr, Failure> {
    let name = format!("{INTERFACE_PREFIX}{init}");
    ask(&pair(&name, init)).step(|| format!("make the pair of interfaces {name}"))?;
    let index = index_of(&name).step(|| format!("find interface {name}"))?;
    let address = reserve(index).step(|| "find a free address for it".to_owned())?;
    ask(&neighbour(index, address, INNER_END)).step(|| format!("make {address} known on {name}"))?;
    Ok(address)
}

/// Inside, by init: gives the end its address, and the way out.
pub(crate) fn enter(address: Ipv4Addr) -> Result<(), Failure> {
    let setup = || -> io::Result<()> {
        let index = index_of(INTERFACE_INSIDE)?;
        ask(&raise(index))?;
        ask(&own_address(index, address))?;
        ask(&neighbour(index, ROUTER, HOST_END))?;
        ask(&default_route(index))
    };
    setup().step(|| format!("give {INTERFACE_INSIDE} the address {address} inside"))
}

fn ask(message: &[u8]) -> io::Result<()> {
    netlink::ask(Family::Route, message)
}

fn index_of(interface: &str) -> io::Result<u32> {
    Ok(name_to_index(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?, interface)?)
}

/// The first free address, from one on that the interface's number chooses, so that looking for it rarely takes two.
fn reserve(index: u32) -> io::Result<Ipv4Addr> {
    let count = POOL_ADDRESSES - POOL_RESERVED;
    for step in 0..count {
        let address = Ipv4Addr::from(POOL.to_bits() + POOL_RESERVED + (index.wrapping_add(step)) % count);
        match ask(&route(index, address)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| address),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// The host's end is up from the start; the kernel cannot do that with the other one, which has no peer yet while it is
/// made (`veth_open` in drivers/net/veth.c).
fn pair(name: &str, init: Pid) -> Vec<u8> {
    let (up, down) = (interface_header(0, libc::IFF_UP), interface_header(0, 0));
    let process = init.as_raw_nonzero().get().to_ne_bytes();
    let inner = Attributes::default()
        .with_text(libc::IFLA_IFNAME, INTERFACE_INSIDE)
        .with(libc::IFLA_ADDRESS, &INNER_END)
        .with(libc::IFLA_NET_NS_PID, &process);
    let peer = Attributes::default().with_nested(VETH_INFO_PEER, &down, &inner);
    let kind = Attributes::default()
        .with_text(libc::IFLA_INFO_KIND, "veth")
        .with_nested(libc::IFLA_INFO_DATA, &[], &peer);
    let outer = Attributes::default()
        .with_text(libc::IFLA_IFNAME, name)
        .with(libc::IFLA_ADDRESS, &HOST_END)
        .with_nested(libc::IFLA_LINKINFO, &[], &kind);
    message(libc::RTM_NEWLINK, MAKE, &up, &outer)
}

fn raise(index: u32) -> Vec<u8> {
    let header = interface_header(index, libc::IFF_UP);
    message(libc::RTM_NEWLINK, libc::NLM_F_ACK, &header, &Attributes::default())
}

/// `struct ifinfomsg`: family, padding, type (2), index (4), flags (4), mask of flags (4).
fn interface_header(index: u32, flags: i32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index (4).
fn own_address(index: u32, address: Ipv4Addr) -> Vec<u8> {
    let [a, b, c, d] = index.to_ne_bytes();
    let header = [libc::AF_INET as u8, WHOLE, 0, libc::RT_SCOPE_UNIVERSE, a, b, c, d];
    let attributes = Attributes::default().with(libc::IFA_LOCAL, &address.octets());
    message(libc::RTM_NEWADDR, MAKE, &header, &attributes)
}

/// To one sandbox.
fn route(index: u32, address: Ipv4Addr) -> Vec<u8> {
    let attributes = Attributes::default()
        .with(libc::RTA_DST, &address.octets())
        .with(libc::RTA_OIF, &index.to_ne_bytes());
    message(
        libc::RTM_NEWROUTE,
        MAKE,
        &route_header(WHOLE, libc::RT_SCOPE_LINK, 0),
        &attributes,
    )
}

fn default_route(index: u32) -> Vec<u8> {
    let attributes = Attributes::default()
        .with(libc::RTA_GATEWAY, &ROUTER.octets())
        .with(libc::RTA_OIF, &index.to_ne_bytes());
    let header = route_header(0, libc::RT_SCOPE_UNIVERSE, RTNH_F_ONLINK);
    message(libc::RTM_NEWROUTE, MAKE, &header, &attributes)
}

/// `struct rtmsg`: family, bits of the destination and of the source, type of service, table, protocol, scope, type,
/// flags (4).
fn route_header(destination_bits: u8, scope: u8, flags: u32) -> [u8; 12] {
    let [a, b, c, d] = flags.to_ne_bytes();
    [
        libc::AF_INET as u8,
        destination_bits,
        0,
        0,
        libc::RT_TABLE_MAIN,
        libc::RTPROT_STATIC,
        scope,
        libc::RTN_UNICAST,
        a,
        b,
        c,
        d,
    ]
}

/// `struct ndmsg`: family, padding (3), index (4), state (2), flags, type.
fn neighbour(index: u32, address: Ipv4Addr, hardware: [u8; 6]) -> Vec<u8> {
    let mut header = [0; 12];
    header[0] = libc::AF_INET as u8;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&libc::NUD_PERMANENT.to_ne_bytes());
    let attributes = Attributes::default()
        .with(libc::NDA_DST, &address.octets())
        .with(libc::NDA_LLADDR, &hardware);
    message(libc::RTM_NEWNEIGH, MAKE, &header, &attributes)
}
