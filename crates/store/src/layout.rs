//! Every key of a store, on one page.
//!
//! ```text
//! key                                        value                        written by           life
//! roots/GENERATION.json                      the root (see `root`)        the first push       for ever
//! chunks/GENERATION/HH/ID                    one sealed chunk, ≤ 512 KiB  a push, if absent    as long as its root
//! manifests/GENERATION/ID                    a sealed manifest            a push, if absent    as long as its root
//! starts/GENERATION/ID/trace                 what starts touch, sealed    a start, replacing   as long as its root
//! starts/GENERATION/ID/pack                  a start pack's index         a start, replacing   as long as its root
//! images/ACCOUNT/NAME                        an image's record, opaque    a push, replacing    until it is removed
//! ```
//! GENERATION is the root's number, eight decimal digits. ID is the BLAKE3 hash of the value (under `starts`, the id of
//! the image's manifest), 64 hexadecimal digits, HH its first two: 256 folders keep a local directory quick to list. A
//! trace or an index is replaced whole, and the last of two writers wins: both only make later starts faster. ACCOUNT is twelve digits. NAME is escaped (see
//! `record_name`).
//!
//! A record is written last and is the only key that makes an image visible: what stands before it (chunks, then the
//! manifest) is found by nobody and shared by the next push, so a push that dies in between has done no harm.
//!
//! Temporary files of the local directory are named `KEY#N`. A killed writer may leave one; no key has a `#`, listings
//! do not show it, and the next writer takes the next N.

use crate::RecordNameError;
use crate::record_name::escape;
use chunk::{Account, ChunkId};
use object_store::path::Path;

pub(crate) fn roots() -> Path {
    Path::from("roots")
}

pub(crate) fn root(generation: u32) -> Path {
    Path::from(format!("roots/{generation:08}.json"))
}

/// The generation in a root's key; `None` for a foreign file.
pub(crate) fn root_generation(key: &Path) -> Option<u32> {
    let generation = key.filename()?.strip_suffix(".json")?.parse().ok()?;
    key.as_ref().ends_with(root(generation).as_ref()).then_some(generation)
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

pub(crate) fn records(account: &Account) -> Path {
    Path::from(format!("images/{account}"))
}

pub(crate) fn record(account: &Account, name: &str) -> Result<Path, RecordNameError> {
    let escaped = escape(name)?;
    // `Path::from` would escape our percent signs once more.
    Ok(Path::parse(format!("images/{account}/{escaped}"))
        .expect("escaped names have no empty, dotted or control segments"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_as_documented() {
        let id = ChunkId::from_bytes([0xab; 32]);
        let hash = "ab".repeat(32);
        let account: Account = "123456789012".parse().unwrap();
        let cases = [
            (root(1), "roots/00000001.json".to_owned()),
            (chunk(1, id), format!("chunks/00000001/ab/{hash}")),
            (manifest(1, id), format!("manifests/00000001/{hash}")),
            (trace(1, id), format!("starts/00000001/{hash}/trace")),
            (start_pack(1, id), format!("starts/00000001/{hash}/pack")),
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
        for (key, expected) in [
            ("roots/00000007.json", Some(7)),
            ("roots/7.json", None),
            ("roots/00000007.json.old", None),
            ("roots/.DS_Store", None),
        ] {
            assert_eq!(root_generation(&Path::from(key)), expected);
        }
    }
}
