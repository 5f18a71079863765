//! How many mounts of one image does a worker make in a second, and how many loop devices do they take?

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::Bench;
use super::ondemand::Ahead;
use super::samples::Samples;
use crate::process;

/// Mounts of one run. Source: issue 3.
const MOUNTS: usize = 200;

/// Each in a second.
#[derive(Default)]
pub(super) struct Attach {
    pub(super) mounts: Samples,
    pub(super) unmounts: Samples,
    /// `mount` on the same loop device: the kernel and a command.
    pub(super) plain_mounts: Samples,
    /// `lambent --version`: a command alone.
    pub(super) commands: Samples,
    pub(super) loop_devices: usize,
}

/// Mounts an image that is mounted already, again and again, one command after the other.
pub(super) fn measure(bench: &Bench, image: &str) -> Result<Attach> {
    let lambent = bench.on_demand(bench.origins[0]);
    lambent.settings(Ahead::StartPack, "")?;
    let mut attach = Attach::default();
    for _ in 0..bench.runs {
        let first = lambent.mount(image, &bench.work.join("mounted"))?;
        let folders: Vec<PathBuf> = (0..MOUNTS)
            .map(|number| bench.work.join(&format!("many/{number}")))
            .collect();
        folders.iter().try_for_each(std::fs::create_dir_all)?;
        let mounted = per_second(&folders, |folder| lambent.mount_command(image, folder));
        let devices = lambent.loop_devices();
        let plain = device_of(first.folder()).and_then(|device| plain_mounts(bench, &device));
        let unmounted = per_second(&folders, |folder| lambent.unmount_command(folder));
        attach.mounts.push(mounted?);
        attach.unmounts.push(unmounted?);
        attach.plain_mounts.push(plain?);
        attach.loop_devices = attach.loop_devices.max(devices?);
        attach.commands.push(per_second(&folders, |_| {
            process::run(Command::new(&lambent.program).arg("--version")).map(|_| ())
        })?);
        first.end()?;
    }
    ensure!(
        attach.loop_devices == 1,
        "{} loop devices for one image",
        attach.loop_devices
    );
    Ok(attach)
}

fn plain_mounts(bench: &Bench, device: &str) -> Result<f64> {
    let folders: Vec<PathBuf> = (0..MOUNTS)
        .map(|number| bench.work.join(&format!("plain/{number}")))
        .collect();
    folders.iter().try_for_each(std::fs::create_dir_all)?;
    let mounted = per_second(&folders, |folder| {
        let mut mount = Command::new("mount");
        process::run(mount.args(["-t", "ext4", "-o", "ro,noload", device]).arg(folder)).map(|_| ())
    });
    process::run(Command::new("umount").args(&folders))?;
    mounted
}

fn per_second(folders: &[PathBuf], mut once: impl FnMut(&PathBuf) -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    folders.iter().try_for_each(&mut once)?;
    Ok(folders.len() as f64 / begin.elapsed().as_secs_f64())
}

fn device_of(folder: &std::path::Path) -> Result<String> {
    let device = process::run(Command::new("findmnt").args(["-no", "SOURCE"]).arg(folder))?;
    Ok(device.trim().to_owned())
}
