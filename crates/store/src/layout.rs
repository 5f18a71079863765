//! Every key of a store, on one page.
//!
//! ```text
//! key                                        value                        written by           life
//! roots/GENERATION.json                      the root as it was made      a push or a collector for ever
//! roots/GENERATION/REVISION.json             the root after a change      a collector, if absent for ever
//! roots/GENERATION/REVISION.alarm            what was read when expired   a reader, if absent  for ever
//! chunks/GENERATION/HH/ID                    one sealed chunk, ≤ 512 KiB  a push, if absent    as long as its root
//! manifests/GENERATION/ID                    a sealed manifest            a push, if absent    as long as its root
//! starts/GENERATION/ID/trace                 what starts touch, sealed    a start, replacing   as long as its root
//! starts/GENERATION/ID/pack                  a start pack's index         a start, replacing   as long as its root
//! pushes/GENERATION/TOKEN/open               a push is on its way         a push               until it ends
//! pushes/GENERATION/TOKEN/outcome            its commitment, or that it   a push or a          until it ends, or
//!                                            was revoked (see `pushes`)   collector, if absent as long as its root
//! popular/GENERATION/list                    chunks that very many share  a collector,        as long as its root
//!                                            (see `popular`)              replacing
//! keys/ID                                    data key of a manifest,      a rotation,          as long as any root
//!                                            wrapped anew                 replacing            has the manifest
//! images/ACCOUNT/NAME                        an image's record, opaque    a push, replacing    until it is removed
//! accounts/ACCOUNT.json                      an account's policy          its owner, replacing for ever
//! held/SERVER/ACCOUNT/HASH/GENERATION-ID     nothing: the server needs    that server          until it releases it
//!                                            this device (see `holds`)
//! held/SERVER/seen                           nothing: its time is when    that server,         until it is forgotten
//!                                            the server was there         replacing
//! ```
//! GENERATION is the root's number, REVISION the count of its changes from 2 (see `root`), both in eight decimal digits.
//! ID is the BLAKE3 hash of the value (under `starts`, the id of the image's manifest), 64 hexadecimal digits, HH its
//! first two: 256 folders keep a local directory quick to list. TOKEN is 32 random hexadecimal digits. A trace or an
//! index is replaced whole, and the last of two writers wins: both only make later starts faster. ACCOUNT is twelve
//! digits. NAME is escaped (see `record_name`). SERVER is 16 random hexadecimal digits, HASH the first 16 of the BLAKE3
//! hash of a device's name: so a key under `held` has 125 bytes and says all that a collector needs.
//!
//! Chunks, manifests and what starts left also come into a root by a collector, which copies them under the same id from
//! an older one (see `collect`).
//!
//! A record is written last and is the only key that makes an image visible: what stands before it (chunks, then the
//! manifest) is found by nobody and shared by the next push, so a push that dies in between has done no harm.
//!
//! Temporary files of the local directory are named `KEY#N`. A killed writer may leave one; no key has a `#`, listings
//! do not show it, and the next writer takes the next N.

use crate::record_name::escape;
use crate::{Held, HeldName, RecordNameError, ServerId};
use chunk::{Account, ChunkId};
use object_store::path::Path;

pub(crate) fn roots() -> Path {
    Path::from("roots")
}

pub(crate) fn root(generation: u32, revision: u32) -> Path {
    Path::from(match revision {
        1 => format!("roots/{generation:08}.json"),
        _ => format!("roots/{generation:08}/{revision:08}.json"),
    })
}

pub(crate) fn alarm(generation: u32, revision: u32) -> Path {
    Path::from(format!("roots/{generation:08}/{revision:08}.alarm"))
}

/// What a key under `roots/` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootObject {
    /// A generation's revision.
    Revision(u32, u32),
    /// An alarm about a generation at this revision.
    Alarm(u32, u32),
}

/// `None` for a foreign file.
pub(crate) fn root_object(key: &Path) -> Option<RootObject> {
    // Behind whatever the store's own prefix is.
    let (_, rest) = key.as_ref().rsplit_once("roots/")?;
    let found = match rest.split_once('/') {
        None => RootObject::Revision(rest.strip_suffix(".json")?.parse().ok()?, 1),
        Some((generation, name)) => {
            let generation = generation.parse().ok()?;
            match name.split_once('.')? {
                (revision, "json") => RootObject::Revision(generation, revision.parse().ok()?),
                (revision, "alarm") => RootObject::Alarm(generation, revision.parse().ok()?),
                _ => return None,
            }
        }
    };
    let ours = match found {
        RootObject::Revision(generation, revision) => root(generation, revision),
        RootObject::Alarm(generation, revision) => alarm(generation, revision),
    };
    key.as_ref().ends_with(ours.as_ref()).then_some(found)
}

/// The folders of a root's objects.
pub(crate) fn folders(generation: u32) -> [Path; 5] {
    [
        manifests(generation),
        starts(generation),
        chunks(generation),
        pushes(generation),
        Path::from(format!("popular/{generation:08}")),
    ]
}

/// The folders above those.
pub(crate) const TREES: [&str; 5] = ["manifests", "starts", "chunks", "pushes", "popular"];

pub(crate) fn chunks(generation: u32) -> Path {
    Path::from(format!("chunks/{generation:08}"))
}

pub(crate) fn manifests(generation: u32) -> Path {
    Path::from(format!("manifests/{generation:08}"))
}

pub(crate) fn starts(generation: u32) -> Path {
    Path::from(format!("starts/{generation:08}"))
}

pub(crate) fn pushes(generation: u32) -> Path {
    Path::from(format!("pushes/{generation:08}"))
}

pub(crate) fn push_open(generation: u32, token: &str) -> Path {
    Path::from(format!("pushes/{generation:08}/{token}/open"))
}

pub(crate) fn push_outcome(generation: u32, token: &str) -> Path {
    Path::from(format!("pushes/{generation:08}/{token}/outcome"))
}

/// The token of a push's object, and whether it is the outcome.
pub(crate) fn push_object(key: &Path) -> Option<(String, bool)> {
    let mut parts = key.as_ref().rsplit('/');
    let is_outcome = match parts.next()? {
        "open" => false,
        "outcome" => true,
        _ => return None,
    };
    Some((parts.next()?.to_owned(), is_outcome))
}

/// The id at the end of a chunk's or a manifest's key.
pub(crate) fn id(key: &Path) -> Option<ChunkId> {
    key.filename()?.parse().ok()
}

/// The generation of a folder such as `chunks/00000001`.
pub(crate) fn folder_generation(folder: &Path) -> Option<u32> {
    folder.filename()?.parse().ok()
}

pub(crate) fn policy(account: &Account) -> Path {
    Path::from(format!("accounts/{account}.json"))
}

pub(crate) fn all_records() -> Path {
    Path::from("images")
}

pub(crate) fn chunk(generation: u32, id: ChunkId) -> Path {
    let name = id.to_string();
    Path::from(format!("chunks/{generation:08}/{}/{name}", &name[..2]))
}

pub(crate) fn manifest(generation: u32, id: ChunkId) -> Path {
    Path::from(format!("manifests/{generation:08}/{id}"))
}

pub(crate) fn trace(generation: u32, manifest: ChunkId) -> Path {
    Path::from(format!("starts/{generation:08}/{manifest}/trace"))
}

pub(crate) fn start_pack(generation: u32, manifest: ChunkId) -> Path {
    Path::from(format!("starts/{generation:08}/{manifest}/pack"))
}

pub(crate) fn popular(generation: u32) -> Path {
    Path::from(format!("popular/{generation:08}/list"))
}

/// The folder of all of them.
pub(crate) fn wrapped_keys() -> Path {
    Path::from("keys")
}

pub(crate) fn wrapped_key(manifest: ChunkId) -> Path {
    Path::from(format!("keys/{manifest}"))
}

pub(crate) fn records(account: &Account) -> Path {
    Path::from(format!("images/{account}"))
}

pub(crate) fn record(account: &Account, name: &str) -> Result<Path, RecordNameError> {
    let escaped = escape(name)?;
    // `Path::from` would escape our percent signs once more.
    Ok(Path::parse(format!("images/{account}/{escaped}"))
        .expect("escaped names have no empty, dotted or control segments"))
}

pub(crate) fn all_held() -> Path {
    Path::from("held")
}

pub(crate) fn held_by(server: ServerId) -> Path {
    Path::from(format!("held/{server}"))
}

/// The folder of all that a server holds under a name.
pub(crate) fn held_under(server: ServerId, account: &Account, name: HeldName) -> Path {
    Path::from(format!("held/{server}/{account}/{name}"))
}

pub(crate) fn held(held: &Held) -> Path {
    let folder = held_under(held.server, &held.account, held.name);
    Path::from(format!("{folder}/{:08}-{}", held.generation, held.manifest))
}

pub(crate) fn server_seen(server: ServerId) -> Path {
    Path::from(format!("held/{server}/seen"))
}

/// What a key under `held/` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeldObject {
    /// A server needs a device.
    Device(Held),
    /// A server was there.
    Seen(ServerId),
}

/// `None` for a foreign file.
pub(crate) fn held_object(key: &Path) -> Option<HeldObject> {
    // Behind whatever the store's own prefix is.
    let parts: Vec<&str> = key.as_ref().rsplit('/').take(5).collect();
    match parts[..] {
        ["seen", server, "held", ..] => Some(HeldObject::Seen(server.parse().ok()?)),
        [device, name, account, server, "held"] => {
            let (generation, manifest) = device.split_once('-')?;
            Some(HeldObject::Device(Held {
                server: server.parse().ok()?,
                account: account.parse().ok()?,
                name: HeldName::parse(name)?,
                generation: generation.parse().ok()?,
                manifest: manifest.parse().ok()?,
            }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_back_from_its_key() {
        let device = Held {
            server: "0123456789abcdef".parse().unwrap(),
            account: "123456789012".parse().unwrap(),
            name: HeldName::of("lambda-zip-1"),
            generation: 7,
            manifest: ChunkId::from_bytes([0xab; 32]),
        };
        let key = held(&device);
        let hash = "ab".repeat(32);
        let folder = held_under(device.server, &device.account, device.name);
        assert!(
            folder.as_ref().starts_with("held/0123456789abcdef/123456789012/"),
            "{folder}"
        );
        assert_eq!(key.as_ref(), format!("{folder}/00000007-{hash}"));
        assert_eq!(key.as_ref().len(), 125);
        assert_eq!(held_object(&key), Some(HeldObject::Device(device.clone())));
        let seen = server_seen(device.server);
        assert_eq!(seen.as_ref(), "held/0123456789abcdef/seen");
        assert_eq!(held_object(&seen), Some(HeldObject::Seen(device.server)));
        for foreign in [
            "held/x",
            "held/0123456789ABCDEF/seen",
            "held/0123456789abcdef/1/2/3",
            "seen",
        ] {
            assert_eq!(held_object(&Path::from(foreign)), None, "{foreign}");
        }
    }

    #[test]
    fn keys_are_as_documented() {
        let id = ChunkId::from_bytes([0xab; 32]);
        let hash = "ab".repeat(32);
        let account: Account = "123456789012".parse().unwrap();
        let cases = [
            (root(1, 1), "roots/00000001.json".to_owned()),
            (root(1, 12), "roots/00000001/00000012.json".to_owned()),
            (alarm(1, 3), "roots/00000001/00000003.alarm".to_owned()),
            (push_open(1, "ab"), "pushes/00000001/ab/open".to_owned()),
            (push_outcome(1, "ab"), "pushes/00000001/ab/outcome".to_owned()),
            (policy(&account), "accounts/123456789012.json".to_owned()),
            (chunk(1, id), format!("chunks/00000001/ab/{hash}")),
            (manifest(1, id), format!("manifests/00000001/{hash}")),
            (trace(1, id), format!("starts/00000001/{hash}/trace")),
            (start_pack(1, id), format!("starts/00000001/{hash}/pack")),
            (popular(1), "popular/00000001/list".to_owned()),
            (wrapped_key(id), format!("keys/{hash}")),
            (
                record(&account, "a/b:1").unwrap(),
                "images/123456789012/a%2Fb%3A1".to_owned(),
            ),
        ];
        for (key, expected) in cases {
            assert_eq!(key.as_ref(), expected);
        }
    }

    #[test]
    fn only_our_own_names_are_roots() {
        use RootObject::{Alarm, Revision};
        for (key, expected) in [
            ("roots/00000007.json", Some(Revision(7, 1))),
            ("roots/00000007/00000002.json", Some(Revision(7, 2))),
            ("roots/00000007/00000002.alarm", Some(Alarm(7, 2))),
            ("roots/00000007/00000001.json", None),
            ("roots/00000007/2.json", None),
            ("roots/7.json", None),
            ("roots/00000007.json.old", None),
            ("roots/.DS_Store", None),
        ] {
            assert_eq!(root_object(&Path::from(key)), expected, "{key}");
        }
    }

    #[test]
    fn pushes_and_ids_come_back_from_their_keys() {
        assert_eq!(push_object(&push_open(3, "ab")), Some(("ab".to_owned(), false)));
        assert_eq!(push_object(&push_outcome(3, "ab")), Some(("ab".to_owned(), true)));
        let id = ChunkId::from_bytes([0xab; 32]);
        assert_eq!(super::id(&chunk(1, id)), Some(id));
        assert_eq!(folder_generation(&chunks(12)), Some(12));
    }
}
