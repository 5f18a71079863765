//! The layer below every root: where a sandbox mounts, and the few files that every program looks for.
//!
//! It lies *below* the image's own layers, so an image that has any of this keeps its own. An image made `FROM scratch`
//! gets all of it and runs.

use super::error::PackageError;
use super::tar_layer::{Attributes, LayerWriter};
use image::source::made::TarLayer;
use std::io;
use std::path::Path;

/// Part of the name of every device that has this layer. Raise it when the layer changes.
pub(super) const BASE_LAYER_VERSION: u32 = 1;

/// Where hosts keep the bundle of certificate authorities: Debian, Fedora.
const HOST_CERTIFICATES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Bytes of a bundle that is taken over. Debian's has some 220 KB; a larger file is not what it should be.
const CERTIFICATES_BYTES_MAX: u64 = 1024 * 1024;

/// Directories with their modes, parents first.
const DIRECTORIES: [(&str, u32); 14] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/runtime", 0o755),
    ("var/task", 0o755),
    ("var/tmp", 0o1777),
];

/// `sbx_user1051` is the user that Lambda runs code as, with the same number.
const FILES: [(&str, &str); 5] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/sbin/nologin\nsbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nsbx_user1051:x:990:\n"),
    (
        "etc/hosts",
        "127.0.0.1 localhost\n127.0.0.1 sandbox.localdomain sandbox\n::1 localhost\n",
    ),
    ("etc/nsswitch.conf", "hosts: files dns\n"),
    ("etc/resolv.conf", ""),
];

const fn attributes(mode: u32) -> Attributes {
    Attributes { mode, modified: 0 }
}

/// Directories and the small files, for a root whose layers come on top.
pub(super) fn base_layer(scratch: &Path) -> Result<TarLayer, PackageError> {
    let made = LayerWriter::create(scratch).and_then(|mut writer| {
        write_base(&mut writer)?;
        writer.finish()
    });
    made.map_err(|error| not_made(&error))
}

/// The whole root of a static program: the same, and this machine's certificate authorities.
pub(super) fn minimal_root(scratch: &Path) -> Result<TarLayer, PackageError> {
    let made = LayerWriter::create(scratch).and_then(|mut writer| {
        write_base(&mut writer)?;
        if let Some(bundle) = host_certificates() {
            for directory in [
                "etc/pki",
                "etc/pki/tls",
                "etc/pki/tls/certs",
                "etc/ssl",
                "etc/ssl/certs",
            ] {
                writer.directory(directory, attributes(0o755))?;
            }
            let path = "etc/ssl/certs/ca-certificates.crt";
            writer.file(path, attributes(0o644), (bundle.len() as u64, &mut bundle.as_slice()))?;
            writer.link("etc/ssl/cert.pem", "certs/ca-certificates.crt", 0)?;
            let target = "../../../ssl/certs/ca-certificates.crt";
            writer.link("etc/pki/tls/certs/ca-bundle.crt", target, 0)?;
        }
        writer.finish()
    });
    made.map_err(|error| not_made(&error))
}

fn write_base(writer: &mut LayerWriter) -> io::Result<()> {
    for (path, mode) in DIRECTORIES {
        writer.directory(path, attributes(mode))?;
    }
    for (path, text) in FILES {
        writer.file(path, attributes(0o644), (text.len() as u64, &mut text.as_bytes()))?;
    }
    Ok(())
}

fn host_certificates() -> Option<Vec<u8>> {
    let path = HOST_CERTIFICATES.iter().find(|path| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= CERTIFICATES_BYTES_MAX)
    })?;
    std::fs::read(path).ok()
}

fn not_made(error: &io::Error) -> PackageError {
    PackageError::internal(format!("cannot write the base layer to the scratch directory: {error}"))
}
