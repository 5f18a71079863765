use super::*;
use crate::source::Limits;
use std::io::Write;

fn options(directory: &Path) -> OpenOptions {
    OpenOptions::new(directory.to_owned())
}

fn append(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, content: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    // Written past the checks of the tar crate, which refuses `..`.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    let data = if kind == tar::EntryType::Regular {
        content
    } else {
        header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        ""
    };
    header.set_size(data.len() as u64);
    header.set_cksum();
    builder.append(&header, data.as_bytes()).unwrap();
}

fn sample() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, tar::EntryType::Regular, "./a/layer.tar", "first");
    append(&mut builder, tar::EntryType::Regular, "a/layer.tar", "content");
    append(&mut builder, tar::EntryType::Symlink, "b/layer.tar", "../a/layer.tar");
    append(&mut builder, tar::EntryType::Link, "c", "b/layer.tar");
    append(&mut builder, tar::EntryType::Symlink, "up", "../../etc/passwd");
    append(&mut builder, tar::EntryType::Symlink, "root", "/etc/passwd");
    append(&mut builder, tar::EntryType::Symlink, "circle", "circle");
    append(&mut builder, tar::EntryType::Regular, "../../outside", "harmless");
    builder.into_inner().unwrap()
}

fn open(bytes: &[u8], options: impl FnOnce(&mut OpenOptions)) -> Result<Archive, SourceError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.tar");
    std::fs::write(&path, bytes).unwrap();
    let mut settings = self::options(directory.path());
    options(&mut settings);
    let archive = Archive::open(&path, &settings);
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        1,
        "scratch is unlinked"
    );
    archive
}

fn content(archive: &Archive, name: &str) -> Option<String> {
    let mut text = String::new();
    archive.get(name)?.reader().read_to_string(&mut text).unwrap();
    Some(text)
}

#[test]
fn members_are_found_by_name_and_through_links_inside() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&sample()).unwrap();
    for bytes in [
        sample(),
        gzip.finish().unwrap(),
        zstd::encode_all(&sample()[..], 1).unwrap(),
    ] {
        let archive = open(&bytes, |_| {}).unwrap();
        for name in ["a/layer.tar", "./a//layer.tar", "b/layer.tar", "c"] {
            assert_eq!(content(&archive, name).as_deref(), Some("content"), "{name}");
        }
        for name in ["up", "root", "circle", "missing", "a", "../../outside", "outside"] {
            assert_eq!(content(&archive, name), None, "{name}");
        }
    }
}

#[test]
fn a_cut_archive_names_the_member() {
    let whole = sample();
    // Header, content, header, and no content.
    let Err(error) = open(&whole[..1536], |_| {}) else {
        panic!("a cut archive does not open");
    };
    assert!(format!("{error}").contains("image.tar"), "{error}");
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("a/layer.tar")
    );
}

#[test]
fn what_is_no_archive_is_refused() {
    for bytes in [&b""[..], b"hello", &[7; 2000], &[0; 10240]] {
        assert!(matches!(open(bytes, |_| {}), Err(SourceError::Archive { .. })));
    }
}

#[test]
fn a_bomb_in_gzip_stops_at_the_limit() {
    let bomb = zstd::encode_all(io::repeat(0).take(50_000_000), 1).unwrap();
    let opened = open(&bomb, |options| {
        options.limits = Limits {
            unpacked_bytes_max: 1_000_000,
        };
    });
    let Err(error) = opened else {
        panic!("a bomb does not open");
    };
    assert!(error.to_string().contains("--unpacked-max"), "{error}");
}
