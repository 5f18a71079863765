//! How `lambent` is linked.
//!
//! Relative relocations are packed (`DT_RELR`): the binary has some 60,000 of them, and applying them from the unpacked
//! table is most of what a short command like `image mount` does before `main`. glibc reads the packed form since 2.36
//! (Debian 12); an older one refuses the binary by name.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-arg-bin=lambent=-Wl,-z,pack-relative-relocs");
    }
}
