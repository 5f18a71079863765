//! What is said over a task's socket: one request, one answer, each to the end of the stream, as fields with a NUL byte
//! between two. A path has none.
//!
//! ```text
//! mount       FILE LOOP TARGET READ-AHEAD-KB WARM-BYTES    mounted LOOP
//! unmount     TARGET                                       done
//! read-ahead  LOOP KB                                      done
//!                                                          refused KIND MESSAGE
//! ```
//! Both ends are the same build. LOOP in a request is empty when none is known.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes of a message: three paths of 4 KiB and some numbers.
pub(super) const MESSAGE_BYTES_MAX: u64 = 64 * 1024;

/// Has a device's ext4 mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountTask {
    /// The session's file.
    pub file: PathBuf,
    /// The loop device that was over it when last seen.
    pub loop_device: Option<PathBuf>,
    /// Where.
    pub target: PathBuf,
    /// The read-ahead of a loop device that is put over the file now, in KiB.
    pub read_ahead_kb: u32,
    /// Bytes at the front that are then read into its page cache.
    pub warm_bytes: u64,
}

/// A task that was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is wrong.
    pub kind: RefusalKind,
    /// In words, with what was tried and on what.
    pub message: String,
}

/// What a caller tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The target is no directory.
    NotADirectory,
    /// The kernel refused, or somebody uses the mount.
    Kernel,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Mount(MountTask),
    Unmount(PathBuf),
    ReadAhead { loop_device: PathBuf, kb: u32 },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Mounted(PathBuf),
    Done,
    Refused(Refusal),
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Request::Mount(task) => join(&[
                b"mount",
                bytes(&task.file),
                task.loop_device.as_deref().map_or(b"", bytes),
                bytes(&task.target),
                task.read_ahead_kb.to_string().as_bytes(),
                task.warm_bytes.to_string().as_bytes(),
            ]),
            Request::Unmount(target) => join(&[b"unmount", bytes(target)]),
            Request::ReadAhead { loop_device, kb } => {
                join(&[b"read-ahead", bytes(loop_device), kb.to_string().as_bytes()])
            }
        }
    }

    pub(super) fn decode(message: &[u8]) -> Option<Request> {
        let fields: Vec<&[u8]> = message.split(|&byte| byte == 0).collect();
        Some(match fields[..] {
            [b"mount", file, loop_device, target, kb, warm] => Request::Mount(MountTask {
                file: path(file),
                loop_device: (!loop_device.is_empty()).then(|| path(loop_device)),
                target: path(target),
                read_ahead_kb: number(kb)?,
                warm_bytes: number(warm)?,
            }),
            [b"unmount", target] => Request::Unmount(path(target)),
            [b"read-ahead", loop_device, kb] => Request::ReadAhead {
                loop_device: path(loop_device),
                kb: number(kb)?,
            },
            _ => return None,
        })
    }
}

impl Answer {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Answer::Mounted(loop_device) => join(&[b"mounted", bytes(loop_device)]),
            Answer::Done => b"done".to_vec(),
            Answer::Refused(refusal) => {
                let kind: &[u8] = match refusal.kind {
                    RefusalKind::NotADirectory => b"directory",
                    RefusalKind::Kernel => b"kernel",
                };
                join(&[b"refused", kind, refusal.message.as_bytes()])
            }
        }
    }

    pub(super) fn decode(message: &[u8]) -> Option<Answer> {
        let fields: Vec<&[u8]> = message.splitn(3, |&byte| byte == 0).collect();
        let refused = |kind, message: &[u8]| {
            Answer::Refused(Refusal {
                kind,
                message: String::from_utf8_lossy(message).into_owned(),
            })
        };
        Some(match fields[..] {
            [b"mounted", loop_device] => Answer::Mounted(path(loop_device)),
            [b"done"] => Answer::Done,
            [b"refused", b"directory", message] => refused(RefusalKind::NotADirectory, message),
            [b"refused", b"kernel", message] => refused(RefusalKind::Kernel, message),
            _ => return None,
        })
    }
}

fn join(fields: &[&[u8]]) -> Vec<u8> {
    fields.join(&0)
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn path(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_read_as_it_was_written() {
        let task = MountTask {
            file: "/a b/devices/7".into(),
            loop_device: None,
            target: OsStr::from_bytes(b"/mnt/\xff").into(),
            read_ahead_kb: 128,
            warm_bytes: u64::MAX,
        };
        let known = MountTask {
            loop_device: Some("/dev/loop3".into()),
            ..task.clone()
        };
        let (loop_device, kb) = ("/dev/loop3".into(), 512);
        for request in [
            Request::Mount(task),
            Request::Mount(known),
            Request::Unmount("/mnt".into()),
            Request::ReadAhead { loop_device, kb },
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        let refused = |kind| {
            Answer::Refused(Refusal {
                kind,
                message: "in use".to_owned(),
            })
        };
        for answer in [
            Answer::Mounted("/dev/loop3".into()),
            Answer::Done,
            refused(RefusalKind::NotADirectory),
            refused(RefusalKind::Kernel),
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        for message in [
            &b""[..],
            b"mount\0/f\0\0/t\x0064",
            b"read-ahead\0/dev/loop1\0x",
            b"else",
        ] {
            assert_eq!(Request::decode(message), None);
        }
        for message in [&b""[..], b"mounted", b"refused\0kernel", b"refused\0other\0x"] {
            assert_eq!(Answer::decode(message), None);
        }
    }
}
