//! The record of a snapshot: `sandbox.json` beside CRIU's images.
//!
//! | key | what |
//! |---|---|
//! | `format` | 1; another is refused by name |
//! | `processor` | [`processor_class`] of the machine that wrote it |
//! | `process` | an [`Identity`] |

use crate::error::SandboxError;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

const FORMAT: u32 = 1;
const FILE: &str = "sandbox.json";
/// Bytes of a record: a short JSON object.
const BYTES_MAX: u64 = 4096;

/// What has to be known of a process to write it, and to take it in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its id inside, as in [`crate::Process::id`].
    pub id: u32,
    /// The number of the pipe that is its output.
    pub(crate) output: u64,
    /// The user and the group inside that this pipe belongs to.
    pub(crate) user: u32,
    pub(crate) group: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    format: u32,
    processor: String,
    pub(crate) process: Identity,
}

impl Record {
    pub(crate) fn new(process: Identity) -> Self {
        Self {
            format: FORMAT,
            processor: processor_class(),
            process,
        }
    }

    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        let file = fs::File::create(directory.join(FILE))?;
        serde_json::to_writer(&file, self)?;
        file.sync_all()
    }

    /// Reads it, and refuses what cannot be restored here.
    pub(crate) fn read(directory: &Path) -> Result<Self, SandboxError> {
        let unsuitable = |problem: String| SandboxError::SnapshotUnsuitable {
            directory: directory.to_owned(),
            problem,
        };
        let record: Self =
            load(directory).map_err(|error| unsuitable(format!("its record cannot be read: {error}")))?;
        if record.format != FORMAT {
            return Err(unsuitable(format!(
                "it has format {}, and this program knows {FORMAT}",
                record.format
            )));
        }
        let here = processor_class();
        if record.processor != here {
            return Err(unsuitable(format!(
                "it was made on another class of processors ({}, here {here})",
                record.processor
            )));
        }
        Ok(record)
    }
}

fn load(directory: &Path) -> io::Result<Record> {
    let path = directory.join(FILE);
    if fs::metadata(&path)?.len() > BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// What this machine's processors are to a restored program: architecture, vendor, and a number that stands for the set
/// of their features. Programs choose code by the features when they start, so a snapshot is bound to them.
#[must_use]
pub fn processor_class() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    class(std::env::consts::ARCH, &text)
}

fn class(architecture: &str, cpuinfo: &str) -> String {
    let value = |name: &str| {
        let line = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.split_once(':'));
        line.map_or("", |(_, value)| value.trim())
    };
    let vendor = [value("vendor_id"), value("CPU implementer")].concat();
    let mut features: Vec<_> = [value("flags"), value("Features")]
        .iter()
        .flat_map(|list| list.split_whitespace())
        .collect();
    features.sort_unstable();
    format!("{architecture}-{vendor}-{:016x}", fnv(&features.join(" ")))
}

/// FNV-1a, 64 bits: features differ by accident and not by malice. Source: RFC 9923.
fn fnv(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_says_vendor_and_features_in_any_order() {
        let intel = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sse avx512f\n";
        let same = "vendor_id\t: GenuineIntel\nflags\t\t: avx512f fpu sse\n";
        let less = "vendor_id\t: GenuineIntel\nflags\t\t: fpu sse\n";
        assert_eq!(class("x86_64", intel), class("x86_64", same));
        assert_ne!(class("x86_64", intel), class("x86_64", less));
        assert!(class("x86_64", intel).starts_with("x86_64-GenuineIntel-"));
    }

    #[test]
    fn records_of_other_formats_and_processors_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let process = Identity {
            id: 2,
            output: 4711,
            user: 993,
            group: 990,
        };
        let refusal = |record: &Record| {
            record.write(directory.path()).unwrap();
            Record::read(directory.path()).map(|record| record.process)
        };
        assert_eq!(refusal(&Record::new(process)).unwrap(), process);
        let other = Record {
            format: 2,
            ..Record::new(process)
        };
        assert!(refusal(&other).unwrap_err().to_string().contains("format 2"));
        let other = Record {
            processor: "m68k".to_owned(),
            ..Record::new(process)
        };
        assert!(refusal(&other).unwrap_err().to_string().contains("m68k"));
        fs::write(directory.path().join(FILE), "{").unwrap();
        assert!(Record::read(directory.path()).is_err());
    }
}
