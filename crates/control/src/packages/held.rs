//! What this server holds in a store that others may use, too (`store::holds`). All functions block.

use super::Packages;
use super::error::PackageError;
use super::push::{address, chain, remove_record};
use super::reclaim::RecordNames;
use api::ImageAddress;
use chunk::Account;
use image::images::Images;
use image::record::RecordSummary;
use std::collections::HashSet;
use std::error::Error;
use store::{Held, HeldName, ServerId, StoreError};

/// The device of a name, held by this server from now on; `None` when there is none, or it was just being removed.
pub(super) fn find(packages: &Packages, images: &Images, name: &str) -> Result<Option<RecordSummary>, PackageError> {
    let look = || images.find_summary(name).map_err(failed);
    let Some(found) = look()? else {
        return Ok(None);
    };
    hold(packages, &address(&images.account, &found)?)?;
    // Another server may have removed the record before it could see that this one holds the device. The second look
    // tells: what is there now is in every list of what lives that is made from now on.
    let again = look()?;
    Ok(again.filter(|again| (again.generation, &again.manifest) == (found.generation, &found.manifest)))
}

/// Holds nothing of this name any more, and removes the record if no other server needs it; gives whether it did.
pub(super) fn release(packages: &Packages, account: &Account, name: &str) -> Result<bool, PackageError> {
    let server = server(packages)?;
    let parts = &packages.shared.parts;
    let is_last = parts.runtime.block_on(parts.store.release(server, account, name));
    let is_last = is_last.map_err(failed)?;
    if is_last {
        remove_record(packages, account, name)?;
    }
    Ok(is_last)
}

/// Has this server hold what its record names, whatever became of the holds: it was written by an older build, or comes
/// from a backup. Takes back what was held when it had gone already, by a server that died before its second look.
pub(super) fn mend(packages: &Packages, names: &RecordNames) -> Result<(), PackageError> {
    let server = server(packages)?;
    let parts = &packages.shared.parts;
    let held = parts.runtime.block_on(parts.store.list_held()).map_err(failed)?;
    let held: HashSet<Held> = held.into_iter().filter(|held| held.server == server).collect();
    let mut named = HashSet::new();
    for address in &names.addresses {
        let wanted = of_address(server, address);
        if !held.contains(&wanted) {
            packages.shared.devices.note_made(&address.account, &address.name)?;
            hold(packages, address)?;
        }
        named.insert(wanted);
    }
    // What else is held is of an image of the registry that no function runs, or of a function that was just made.
    for stray in held.difference(&named) {
        let manifest = parts.store.get_manifest(stray.generation, stray.manifest);
        if let Err(StoreError::Missing(_)) = parts.runtime.block_on(manifest) {
            parts.runtime.block_on(parts.store.let_go(stray)).map_err(failed)?;
        }
    }
    parts.runtime.block_on(parts.store.note_server(server)).map_err(failed)
}

fn hold(packages: &Packages, device: &ImageAddress) -> Result<(), PackageError> {
    let held = of_address(server(packages)?, device);
    let parts = &packages.shared.parts;
    parts.runtime.block_on(parts.store.hold(&held)).map_err(failed)
}

fn of_address(server: ServerId, device: &ImageAddress) -> Held {
    Held {
        server,
        account: device.account.clone(),
        name: HeldName::of(&device.name),
        generation: device.generation,
        manifest: device.manifest,
    }
}

fn server(packages: &Packages) -> Result<ServerId, PackageError> {
    let draw = || packages.shared.parts.store.draw_server_id();
    packages.shared.devices.server(draw)
}

fn failed(error: impl Error) -> PackageError {
    PackageError::internal(chain(&error))
}
