//! This program as another process: a daemon alone, a keeper, and the daemon that a keeper starts.
//!
//! A role speaks on its standard error, a line for each event: `ready PID`, `reading PID`, `ended OUTCOME`.

use super::rig::{PATIENCE, Place};
use block::keeper::{self, KeeperSettings, Link};
use block::kernel::{
    Device, DeviceNumber, DeviceTable, LoopDevice, MountOptions, ReadFailed, Session, Start, abort_connection,
    clean_left_over, connection_at, unmount, unmount_session,
};
use block::mounter::{self, Mounter};
use bytes::Bytes;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio, exit};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ROLE: &str = "LAMBENT_TEST_ROLE";
const PLACE: &str = "LAMBENT_TEST_PLACE";
/// The file that silences devices.
const SILENT: &str = "silent";

const NATURE: &str = "LAMBENT_TEST_NATURE";

/// How a daemon behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Nature {
    /// It serves.
    Healthy,
    /// Its successors die before they are ready.
    SuccessorsDie,
    /// Its successors are never ready.
    SuccessorsHang,
    /// A thread of it mounts its own device, whose bytes only a successor gives.
    WaitsForItself,
    /// Signals end it, as they end any program that does not ask for them.
    Obeys,
    /// SIGTERM makes it unmount `own` itself.
    UnmountsItself,
    /// SIGTERM makes it have `own` unmounted by a mounter.
    HasItUnmounted,
}

/// A running role, seen from the test. Dropped, it is killed, and then its place is cleaned.
pub(crate) struct Role {
    process: Mutex<Child>,
    lines: Mutex<Receiver<String>>,
    daemon: Mutex<Pid>,
    pub(crate) place: Place,
}

impl Role {
    /// A daemon without a keeper that serves `image` as device 1.
    pub(crate) fn lone(image: &[u8]) -> Role {
        Role::lone_of(Nature::Healthy, image)
    }

    pub(crate) fn lone_of(nature: Nature, image: &[u8]) -> Role {
        Role::start("lone", nature, image)
    }

    /// From now on its device does not answer.
    pub(crate) fn silence(&self) {
        std::fs::write(self.place.path().join(SILENT), "").unwrap();
    }

    /// A daemon under a keeper that serves `image` as device 1.
    pub(crate) fn kept(nature: Nature, image: &[u8]) -> Role {
        Role::start("keeper", nature, image)
    }

    fn start(role: &str, nature: Nature, image: &[u8]) -> Role {
        let place = Place::new();
        std::fs::write(place.path().join("image"), image).unwrap();
        let mut process = role_command(role, &format!("{nature:?}"), place.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let daemon = Pid::from_child(&process);
        let role = Role {
            process: Mutex::new(process),
            lines: Mutex::new(lines),
            daemon: Mutex::new(daemon),
            place,
        };
        role.next_ready();
        role
    }

    pub(crate) fn attach(&self) -> LoopDevice {
        LoopDevice::attach(&self.place.session().join("1"), 128).unwrap()
    }

    /// What follows `event` on the next line that has it.
    #[track_caller]
    pub(crate) fn next(&self, event: &str) -> String {
        loop {
            let line = self.lines.lock().unwrap().recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("the role did not say {event:?}"));
            match line.split_once(' ') {
                Some((first, rest)) if first == event => return rest.to_owned(),
                _ => eprintln!("role: {line}"),
            }
        }
    }

    /// Waits for a daemon that serves.
    #[track_caller]
    pub(crate) fn next_ready(&self) {
        let pid = self.next("ready").parse().unwrap();
        *self.daemon.lock().unwrap() = Pid::from_raw(pid).unwrap();
    }

    pub(crate) fn kill_daemon(&self) {
        kill_process(*self.daemon.lock().unwrap(), Signal::KILL).unwrap();
    }

    /// The daemon that now serves.
    pub(crate) fn daemon(&self) -> Pid {
        *self.daemon.lock().unwrap()
    }

    /// A descriptor that becomes readable when the daemon that now serves is dead.
    pub(crate) fn watch_daemon(&self) -> OwnedFd {
        pidfd_open(*self.daemon.lock().unwrap(), PidfdFlags::empty()).unwrap()
    }

    /// Sends a signal to the process that the test started.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.lock().unwrap()), signal).unwrap();
    }

    /// Waits for the end of the process that the test started.
    pub(crate) fn keeper_status(&self) -> ExitStatus {
        self.process.lock().unwrap().wait().unwrap()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap();
        if matches!(process.try_wait(), Ok(Some(_))) {
            return;
        }
        // The keeper first, so that it starts no other daemon. The daemon has gone already when they are one, and
        // its number is not another's as long as the keeper has not been waited for.
        let _ = process.kill();
        let _ = kill_process(*self.daemon.get_mut().unwrap(), Signal::KILL);
        // One that is caught in the kernel would be waited for without end.
        if let Ok(Some(connection)) = connection_at(&self.place.session()) {
            let _ = abort_connection(connection);
        }
        let _ = process.wait();
    }
}

pub(crate) fn role_command(role: &str, nature: &str, place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["roles::process_role", "--exact", "--nocapture", "--test-threads=1"]);
    command
        .env(ROLE, role)
        .env(NATURE, nature)
        .env(PLACE, place)
        .stdout(Stdio::null());
    command
}

/// The entry of every role. As a test, where no role is asked for, it does nothing.
#[test]
fn process_role() {
    let Some(role) = std::env::var_os(ROLE) else { return };
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let nature = std::env::var(NATURE).unwrap();
    match role.to_str() {
        Some("lone") => lone(&place, &nature),
        Some("mounter") => {
            eprintln!("mounter {}", std::process::id());
            mounter::serve(&place.join("mounter")).unwrap();
            exit(0);
        }
        Some("keeper") => keep(&place, &nature),
        Some("daemon") => serve(&place, &nature),
        _ => panic!("there is no role {role:?}"),
    }
}

fn keep(place: &Path, nature: &str) -> ! {
    let settings = KeeperSettings {
        ready_ms_max: 1000,
        ..KeeperSettings::default()
    };
    let outcome = keeper::run(&mut role_command("daemon", nature, place), settings);
    if outcome.is_err() {
        clean_left_over(&place.join("session")).unwrap();
    }
    eprintln!(
        "ended {}",
        outcome.map_or_else(|error| format!("{error:?}"), |()| "Success".to_owned())
    );
    exit(0);
}

fn lone(place: &Path, nature: &str) -> ! {
    let term = signal_pipe(Signal::TERM);
    let table = DeviceTable::new();
    table.insert(DeviceNumber(1), device(place, false));
    let descriptor = Session::mount(&place.join("session")).unwrap();
    let _session = Session::serve(descriptor, table, 32, Start::Fresh).unwrap();
    eprintln!("ready {}", std::process::id());
    wait_for(term);
    let own = place.join("own");
    match nature {
        "UnmountsItself" => unmount(&own).unwrap(),
        "HasItUnmounted" => {
            let role_of = place.to_owned();
            let mounter = Mounter::new(move || Ok(role_command("mounter", "", &role_of)));
            mounter.unmount(&own).unwrap();
        }
        _ => panic!("nothing is to be done on SIGTERM"),
    }
    eprintln!("unmounted {}", std::process::id());
    loop {
        std::thread::park();
    }
}

fn serve(place: &Path, nature: &str) -> ! {
    let signals = (nature != "Obeys").then(|| (signal_pipe(Signal::TERM), signal_pipe(Signal::INT)));
    let (link, held) = Link::from_stdin().unwrap();
    let first = held.is_empty();
    match nature {
        "SuccessorsDie" if !first => exit(1),
        "SuccessorsHang" if !first => loop {
            std::thread::park();
        },
        _ => {}
    }
    let directory = place.join("session");
    let table = DeviceTable::new();
    table.insert(DeviceNumber(1), device(place, nature == "WaitsForItself" && first));
    let (descriptor, start) = match held.into_iter().next() {
        Some((_, descriptor)) => (descriptor, Start::Resumed),
        None => (Session::mount(&directory).unwrap(), Start::Fresh),
    };
    link.store("session", descriptor.as_fd()).unwrap();
    let session = Session::serve(descriptor, table, 32, start).unwrap();
    link.ready().unwrap();
    eprintln!("ready {}", std::process::id());
    if nature == "WaitsForItself" && first {
        let (file, target) = (directory.join("1"), place.join("own"));
        std::fs::create_dir(&target).unwrap();
        std::thread::spawn(move || {
            LoopDevice::attach(&file, 128)
                .unwrap()
                .mount_ext4(&target, MountOptions::default())
        });
    }
    let Some((term, int)) = signals else {
        loop {
            std::thread::park();
        }
    };
    // SIGTERM: make room for a successor. SIGINT: the end.
    std::thread::spawn(move || {
        wait_for(int);
        unmount_session(&directory).unwrap();
        exit(0);
    });
    wait_for(term);
    session.stop();
    exit(75);
}

fn signal_pipe(signal: Signal) -> UnixStream {
    let (here, there) = UnixStream::pair().unwrap();
    signal_hook::low_level::pipe::register(signal.as_raw(), there).unwrap();
    here
}

fn wait_for(mut pipe: UnixStream) {
    pipe.read_exact(&mut [0]).unwrap();
}

fn device(place: &Path, silent: bool) -> Arc<dyn Device> {
    let image = File::open(place.join("image")).unwrap();
    let bytes = image.metadata().unwrap().len();
    let silence = place.join(SILENT);
    Arc::new(Image {
        image,
        bytes,
        silent,
        silence,
    })
}

/// A device from a file, somewhat slow, so that something is always on its way.
struct Image {
    image: File,
    bytes: u64,
    /// It never answers.
    silent: bool,
    /// Nor does it as soon as this file is there.
    silence: PathBuf,
}

impl Device for Image {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, offset: u64, bytes: usize, pieces: &mut Vec<Bytes>) -> Result<(), ReadFailed> {
        if self.silent || self.silence.exists() {
            eprintln!("reading {}", std::process::id());
            loop {
                std::thread::park();
            }
        }
        // Not a wait for anything: the time that a chunk takes to come.
        std::thread::sleep(Duration::from_millis(2));
        let mut piece = vec![0; bytes];
        self.image.read_exact_at(&mut piece, offset).map_err(|_| ReadFailed)?;
        pieces.push(piece.into());
        Ok(())
    }
}
