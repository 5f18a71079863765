//! The real binary on real images, against the tools that judge it: e2fsck, the kernel, umoci, skopeo, Debian's registry,
//! moto. Runs as root, because it mounts and keeps owners. What it needs is made by `cargo xtask setup` and
//! `cargo xtask corpus`.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, and its helpers too")]

mod account_keys;
mod bad_input;
mod both_killed;
mod damage;
mod doctor;
mod early_sealing;
mod faults;
mod garbage;
mod judges;
mod lambent;
mod layout;
mod mounts;
mod nasty_layers;
mod output;
mod real_images;
mod secrets;
mod servers;
mod stores;
#[path = "../../../image/tests/support/tree_facts.rs"]
mod tree_facts;
