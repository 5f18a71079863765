//! What may pass between sandboxes and the rest: one table of nftables for each spawner.
//!
//! The table is loaded by the program `nft`, in one transaction and in a text that can be read; it is deleted by a
//! netlink message of ours, since the process that must do that at the worst time waits for no child.
//!
//! A machine that forwards nothing (`net.ipv4.ip_forward` is 0) has to begin to. Lest it becomes a router for its
//! neighbours, a second table then drops all that is forwarded but for sandboxes. That this table exists says, also to
//! a successor after a crash, that forwarding is to be turned off again; the last spawner on the machine does it.

use super::{INTERFACE_PREFIX, POOL, POOL_BITS};
use crate::error::SandboxError;
use crate::netlink::{self, Attributes, Family, message};
use std::fs;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

/// Connections that one sandbox may have open through the host: as many as Lambda lets an environment open files.
/// Beyond, give or take one, a new one is refused. The host's table of connections is for all; its default maximum is 262,144 on machines
/// with much memory. Source: nf_conntrack-sysctl.rst.
const CONNECTIONS_MAX: u32 = 1024;

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
/// Where it lies on Debian, which is not in the PATH of every service.
const NFT: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];

/// Source: include/uapi/linux/netfilter/nf_tables.h.
const NFTA_TABLE_NAME: u16 = 1;
/// `struct nfgenmsg`: family, version, and a number of two bytes, the highest first.
const GENERAL_BYTES: usize = 4;

/// Loads the rules of a spawner, in place of older ones.
pub(super) fn load(name: &str, servers: &[Ipv4Addr]) -> Result<(), SandboxError> {
    let failed = |step: &str| {
        let step = step.to_owned();
        |source| SandboxError::Outbound { step, source }
    };
    let forwarding = fs::read_to_string(FORWARDING).map_err(failed("read net.ipv4.ip_forward"))?;
    let is_guarded = forwarding.trim() == "0" || !guards().is_empty();
    let mut rules = rules(name, servers);
    if is_guarded {
        rules.push_str(&guard(name));
    }
    run_nft(&rules).map_err(failed("load the rules of nftables"))?;
    if is_guarded {
        fs::write(FORWARDING, "1").map_err(failed("turn on net.ipv4.ip_forward"))?;
    }
    Ok(())
}

/// Removes the rules of a spawner, if there are any.
pub(crate) fn clear(name: &str) {
    // A kernel without nftables has none; what else may fail shows at the next `load`.
    let _ = delete(&table(name));
    if delete(&guard_table(name)).is_ok() && guards().is_empty() {
        let _ = fs::write(FORWARDING, "0");
    }
}

/// The spawner's name is one that [`crate::spec::is_name`] accepts, and behind a letter all its characters are plain.
fn table(name: &str) -> String {
    format!("sandboxes-{name}")
}

const GUARD: &str = "forwarding-";

fn guard_table(name: &str) -> String {
    format!("{GUARD}{name}")
}

/// Before other tables' rules (priority), so that a refusal is ours. What we let pass, others may still refuse.
fn rules(name: &str, servers: &[Ipv4Addr]) -> String {
    let (table, any) = (table(name), format!("\"{INTERFACE_PREFIX}*\""));
    let names: String = servers
        .iter()
        .map(|server| format!("ip daddr {server} meta l4proto {{ tcp, udp }} th dport 53 accept\n"))
        .collect();
    format!(
        "table inet {table}
delete table inet {table}
table inet {table} {{
  set open {{ type ipv4_addr; size 8192; flags dynamic; }}
  chain to_host {{
    type filter hook input priority filter - 1; policy accept;
    iifname {any} reject
  }}
  chain through {{
    type filter hook forward priority filter - 1; policy accept;
    iifname != {any} oifname {any} ct state established,related accept
    oifname {any} reject
    iifname != {any} accept
    ip saddr != {POOL}/{POOL_BITS} drop
    meta nfproto ipv6 drop
    ct state established,related accept
    {names}
    ip daddr {{ 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 }} reject
    ct state new add @open {{ ip saddr ct count over {CONNECTIONS_MAX} }} reject
  }}
  chain out {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {POOL}/{POOL_BITS} masquerade
  }}
}}
"
    )
}

/// This machine was no router, and still is none but for sandboxes.
fn guard(name: &str) -> String {
    let (table, any) = (guard_table(name), format!("\"{INTERFACE_PREFIX}*\""));
    format!(
        "table inet {table}
delete table inet {table}
table inet {table} {{
  chain through {{
    type filter hook forward priority filter - 2; policy accept;
    iifname != {any} oifname != {any} drop
  }}
}}
"
    )
}

fn run_nft(rules: &str) -> io::Result<()> {
    let mut child = start_nft()?;
    let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let written = input.write_all(rules.as_bytes());
    drop(input);
    let output = child.wait_with_output()?;
    if output.status.success() {
        return written;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("it said nothing");
    Err(io::Error::other(format!(
        "nft: {said}; does this kernel have nftables?"
    )))
}

fn start_nft() -> io::Result<std::process::Child> {
    let start = |program: &str| {
        let mut command = Command::new(program);
        command.args(["--file", "-"]).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
    };
    for program in NFT {
        match start(program) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "there is no program nft: install Debian's package nftables",
    ))
}

/// Deletes a table, in a transaction of its own.
fn delete(table: &str) -> io::Result<()> {
    let batch = |kind: i32| {
        let [high, low] = (libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes();
        message(kind as u16, 0, &[0, 0, high, low], &Attributes::default())
    };
    let table = Attributes::default().with_text(NFTA_TABLE_NAME, table);
    let family = [libc::NFPROTO_INET as u8, 0, 0, 0];
    let delete = message(nftables(libc::NFT_MSG_DELTABLE), libc::NLM_F_ACK, &family, &table);
    let messages = [
        batch(libc::NFNL_MSG_BATCH_BEGIN),
        delete,
        batch(libc::NFNL_MSG_BATCH_END),
    ];
    netlink::ask(Family::Netfilter, &messages.concat())
}

/// Names of the tables of all spawners that turned forwarding on.
fn guards() -> Vec<String> {
    let family = [libc::NFPROTO_INET as u8, 0, 0, 0];
    let kind = nftables(libc::NFT_MSG_GETTABLE);
    let request = message(kind, libc::NLM_F_DUMP, &family, &Attributes::default());
    let tables = netlink::list(Family::Netfilter, &request).unwrap_or_default();
    let names = tables.iter().filter_map(|table| {
        let mut attributes = netlink::attributes(table.get(GENERAL_BYTES..)?);
        let (_, name) = attributes.find(|(kind, _)| *kind == NFTA_TABLE_NAME)?;
        Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
    });
    names.filter(|name| name.starts_with(GUARD)).collect()
}

fn nftables(message: i32) -> u16 {
    (libc::NFNL_SUBSYS_NFTABLES << 8 | message) as u16
}
