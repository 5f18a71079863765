//! The caller's side: what a [`Sandbox`] can do with snapshots.

use super::{CRIU_PROCESSES, CRIU_WAIT, Criu, IMAGES_SPARE_BYTES, Identity, Record, inventory};
use crate::error::SandboxError;
use crate::sandbox::{Process, Sandbox};
use crate::socket;
use crate::spawner::Spawner;
use crate::wire::{CriuAct, CriuRequest, FromGuide, FromInit, ToInit};
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

impl Sandbox {
    /// What [`Self::checkpoint`] needs to know of a process that [`Self::spawn`] gave.
    ///
    /// # Errors
    /// Those of `fstat` of its output.
    pub fn identity(&self, process: &Process) -> io::Result<Identity> {
        let output = fstat(&process.output)?;
        let inside = |id: u32| id.wrapping_sub(self.range().first());
        Ok(Identity {
            id: process.id,
            output: output.st_ino,
            user: inside(output.st_uid),
            group: inside(output.st_gid),
        })
    }

    /// Writes a process, with its threads and children, and the files of `/tmp` and `/dev/shm` into an empty directory;
    /// the process is killed then. `directory` has to be readable by all, inside one that only root can enter: restored
    /// processes are read by ids that own nothing on the host. Blocks while it works: some ten milliseconds, and about
    /// one for each MB of memory.
    ///
    /// # Errors
    /// [`SandboxError::Snapshot`] with CRIU's reason, for a process that cannot be written, and where files, with their
    /// holes, or memory, each process's for itself, are larger than the sandbox's limits;
    /// [`SandboxError::SnapshotInterrupted`] where time, disk or another thing of this machine's was at fault. What lies
    /// in the directory then is of no use, and neither is the sandbox. [`SandboxError::Frozen`],
    /// [`SandboxError::Dead`], [`SandboxError::SpawnerGone`], [`SandboxError::Setup`].
    pub fn checkpoint(
        &self,
        tools: (&Spawner, &Criu),
        process: &Identity,
        directory: &Path,
    ) -> Result<(), SandboxError> {
        self.require_running()?;
        let request = self.request(CriuAct::Dump { process: process.id });
        self.run_criu(tools, &request, directory, Vec::new())?;
        let failed = |source: io::Error| self.interrupted("write", "finish its record".to_owned(), source);
        inventory::forget_user_namespace(directory, process.id).map_err(failed)?;
        Record::new(*process).write(directory).map_err(failed)
    }

    /// Puts the process of a snapshot into this sandbox, in which nothing runs yet, with its files; it goes on where it
    /// was. The sandbox has to have the same trees as the one that it was written from, and the caller's ends of its
    /// connections have to be made again before (see [`super::Connection::rebuild`]).
    ///
    /// # Errors
    /// [`SandboxError::SnapshotUnsuitable`] for a directory that is no snapshot, or one of another machine's kind;
    /// [`SandboxError::Snapshot`] with CRIU's reason; as [`Self::checkpoint`] otherwise. The sandbox is of no use then.
    pub fn restore(&self, tools: (&Spawner, &Criu), directory: &Path) -> Result<Process, SandboxError> {
        self.require_running()?;
        let record = Record::read(directory)?;
        let (answer, descriptors) = self.ask(&ToInit::Adopt(record.process))?;
        let id = match answer {
            FromInit::Spawned { process } => process,
            FromInit::Failed(failure) => return Err(SandboxError::setup(self.name(), failure)),
            FromInit::Signalled | FromInit::NoSuchProcess => return Err(self.nonsense()),
        };
        let Ok([output, exit, written]) = <[OwnedFd; 3]>::try_from(descriptors) else {
            return Err(self.nonsense());
        };
        let mut request = self.request(CriuAct::Restore {
            output: record.process.output,
        });
        let (unified, tasks) = (self.group().unified()?, self.group().tasks()?);
        request.unified = unified.is_some();
        let rest = [written].into_iter().chain(unified).chain(tasks).collect();
        self.group().allow_more_processes(CRIU_PROCESSES)?;
        self.run_criu(tools, &request, directory, rest)?;
        self.group().allow_more_processes(0)?;
        Process::new(id, output, exit)
            .map_err(|source| self.interrupted("restore", "watch the restored process".to_owned(), source))
    }

    fn request(&self, act: CriuAct) -> CriuRequest {
        CriuRequest {
            act,
            ids_from: self.range().first(),
            files_max: self.files_max(),
            images_max: self.memory_bytes_max().saturating_add(IMAGES_SPARE_BYTES),
            unified: false,
        }
    }

    fn run_criu(
        &self,
        (spawner, criu): (&Spawner, &Criu),
        request: &CriuRequest,
        directory: &Path,
        rest: Vec<OwnedFd>,
    ) -> Result<(), SandboxError> {
        let act = match request.act {
            CriuAct::Dump { .. } => "write",
            CriuAct::Restore { .. } => "restore",
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let images = openat(CWD, directory, flags, Mode::empty())
            .map_err(|error| self.interrupted(act, format!("open {}", directory.display()), error.into()))?;
        let [tree, scratch] = criu.descriptors();
        let init = self.init();
        let handed = [init, tree, scratch, images.as_fd()].into_iter();
        let descriptors: Vec<BorrowedFd<'_>> = handed.chain(rest.iter().map(AsFd::as_fd)).collect();
        let answer = spawner.guide(request, &descriptors)?;
        drop(rest);
        match socket::receive_within::<FromGuide>(&answer, CRIU_WAIT) {
            Ok((FromGuide::Done, _)) => Ok(()),
            Ok((FromGuide::Refused { reason }, _)) => Err(SandboxError::Snapshot {
                sandbox: self.name().to_owned(),
                act,
                reason,
            }),
            Ok((FromGuide::Failed(failure), _)) => {
                let error = io::Error::from_raw_os_error(failure.errno);
                Err(self.interrupted(act, failure.step, error))
            }
            Err(error) => Err(self.interrupted(act, "hear of CRIU".to_owned(), error)),
        }
    }

    fn interrupted(&self, act: &'static str, step: String, source: io::Error) -> SandboxError {
        SandboxError::SnapshotInterrupted {
            sandbox: self.name().to_owned(),
            act,
            step,
            source,
        }
    }
}
