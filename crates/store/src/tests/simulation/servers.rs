//! Servers that share the store: each uses devices that any of them made, and lets go of them again.

use super::processes::{check, name};
use super::world::{World, account, parse_record};
use crate::{Held, HeldName, ServerId, Store, StoreError};
use chunk::ChunkId;

/// Servers: two release for each other, a third has what both left.
const SERVERS: u64 = 3;

/// Uses the device that a record names, if it is there, as control does.
pub(super) async fn claim(world: &World, store: &Store) {
    let (server, name) = (server(world.random(SERVERS)), name(world));
    // Within a server they exclude each other.
    let Some(_alone) = world.alone(server) else { return };
    match try_claim(store, server, &name).await {
        Ok(None) => {}
        Ok(Some(manifest)) => world.use_device(server, &name, manifest),
        Err(error) => check(&error),
    }
}

async fn try_claim(store: &Store, server: ServerId, name: &str) -> Result<Option<ChunkId>, StoreError> {
    let Some((generation, manifest)) = read(store, name).await? else {
        return Ok(None);
    };
    let held = Held {
        server,
        account: account(),
        name: HeldName::of(name),
        generation,
        manifest,
    };
    store.hold(&held).await?;
    if read(store, name).await? == Some((generation, manifest)) {
        return Ok(Some(manifest));
    }
    Ok(None)
}

async fn read(store: &Store, name: &str) -> Result<Option<(u32, ChunkId)>, StoreError> {
    match store.get_record(&account(), name).await {
        Ok(record) => Ok(Some(parse_record(&record))),
        Err(StoreError::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Has no function any more that uses devices of a name.
pub(super) async fn release(world: &World, store: &Store) {
    let (server, name) = (server(world.random(SERVERS)), name(world));
    let Some(_alone) = world.alone(server) else { return };
    world.end_use(server, &name);
    match try_release(store, server, &name).await {
        Ok(removed) => world.see(|seen| {
            seen.releases += 1;
            seen.kept_for_others += u64::from(!removed);
        }),
        Err(error) => check(&error),
    }
}

async fn try_release(store: &Store, server: ServerId, name: &str) -> Result<bool, StoreError> {
    let is_last = store.release(server, &account(), name).await?;
    if is_last {
        match store.delete_record(&account(), name).await {
            Ok(()) | Err(StoreError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(is_last)
}

/// What a server does when it begins again: it holds what it uses, and nothing else.
pub(super) async fn begin_again(world: &World, store: &Store) {
    for held in store.list_held().await.unwrap() {
        if !world.is_used(&held) {
            store.let_go(&held).await.unwrap();
        }
    }
}

fn server(number: u64) -> ServerId {
    format!("{number:016x}").parse().unwrap()
}
