use super::*;
use std::io::{Cursor, Write};
use zip::write::{ExtendedFileOptions, FileOptions, SimpleFileOptions};
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Collects what a zip holds.
#[derive(Default)]
struct Collect(Vec<(ZipEntry, Vec<u8>)>);

impl EntrySink for Collect {
    fn take(&mut self, entry: &ZipEntry, content: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        self.0.push((entry.clone(), bytes));
        Ok(())
    }
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().last_modified_time(DateTime::from_date_and_time(2021, 3, 4, 5, 6, 8).unwrap())
}

fn zip(build: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    build(&mut writer);
    writer.finish().unwrap().into_inner()
}

fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip(|writer| {
        for (name, content) in files {
            writer.start_file(*name, options()).unwrap();
            writer.write_all(content).unwrap();
        }
    })
}

fn unpack(bytes: &[u8]) -> Result<Vec<(ZipEntry, Vec<u8>)>, ZipFault> {
    let mut collected = Collect::default();
    CheckedZip::open(Cursor::new(bytes))?.unpack(&mut collected)?;
    Ok(collected.0)
}

fn check_refused(bytes: &[u8], expected: &str) {
    let error = unpack(bytes).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains(expected), "expected `{expected}`, got `{error}`");
}

/// Replaces all of some bytes by as many others.
fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut found = 0;
    for start in 0..=bytes.len() - from.len() {
        if &bytes[start..start + from.len()] == from {
            bytes[start..start + from.len()].copy_from_slice(to);
            found += 1;
        }
    }
    assert!(found > 0, "{from:?} is not in the archive");
    bytes
}

#[test]
fn names_kinds_modes_times_and_contents_are_kept() {
    let bytes = zip(|writer| {
        writer.add_directory("lib/", options().unix_permissions(0o700)).unwrap();
        writer
            .start_file("./lib//run", options().unix_permissions(0o700))
            .unwrap();
        writer.write_all(b"#!/bin/sh\n").unwrap();
        writer.start_file("data", options().unix_permissions(0o600)).unwrap();
        writer.add_symlink("link", "lib/run", options()).unwrap();
        writer
            .start_file("ünï/x", options().compression_method(CompressionMethod::Stored))
            .unwrap();
    });
    let found = unpack(&bytes).unwrap();
    let seen: Vec<_> = found
        .iter()
        .map(|(entry, content)| (entry.path.as_str(), entry.kind, entry.mode, content.as_slice()))
        .collect();
    let expected: [(&str, EntryKind, u32, &[u8]); 5] = [
        ("lib", EntryKind::Directory, 0o755, b""),
        ("lib/run", EntryKind::File, 0o755, b"#!/bin/sh\n"),
        ("data", EntryKind::File, 0o644, b""),
        ("link", EntryKind::Link, found[3].0.mode, b"lib/run"),
        ("ünï/x", EntryKind::File, 0o644, b""),
    ];
    assert_eq!(seen, expected);
    // 2021-03-04 05:06:08 UTC, by `date -u -d ... +%s`.
    assert!(found.iter().all(|(entry, _)| entry.modified == 1_614_834_368));
}

#[test]
fn the_extended_timestamp_wins_over_the_dos_time() {
    let mut options: FileOptions<'_, '_, ExtendedFileOptions> =
        FileOptions::default().last_modified_time(DateTime::from_date_and_time(2021, 3, 4, 5, 6, 8).unwrap());
    // Field 0x5455: flag 1 says that the modification time is there.
    let field = [&[1][..], &1_600_000_001_u32.to_le_bytes()].concat();
    options.add_extra_field(0x5455, field, false).unwrap();
    let bytes = zip(|writer| writer.start_file("a", options.clone()).unwrap());
    assert_eq!(unpack(&bytes).unwrap()[0].0.modified, 1_600_000_001);
}

#[test]
fn dates_are_counted_in_the_gregorian_calendar() {
    for (date, days) in [
        ((1980, 1, 1), 3_652),
        ((2000, 2, 29), 11_016),
        ((2000, 3, 1), 11_017),
        ((2107, 12, 31), 50_402),
    ] {
        let (year, month, day) = date;
        assert_eq!(days_since_1970(year, month, day), days, "{date:?}");
    }
    assert_eq!(days_since_1970(0, 0, 0), 3_652);
}

#[test]
fn what_is_no_zip_gets_lambdas_sentence() {
    let whole = zip_of(&[("a", b"abc")]);
    for bytes in [
        &b""[..],
        b"PK",
        b"not a zip at all",
        &whole[..whole.len() - 4],
        &[0; 100],
    ] {
        check_refused(
            bytes,
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        );
    }
}

#[test]
fn names_that_escape_and_entries_that_are_no_files_are_refused() {
    for (name, expected) in [
        ("../a", "leads out of the archive"),
        ("a/../../b", "leads out of the archive"),
        ("a/..", "leads out of the archive"),
        ("/etc/passwd", "is an absolute path"),
        ("a\0b", "NUL"),
        (&"n".repeat(256), "255 bytes"),
        (&"d/".repeat(2_100), "4,000 bytes"),
        ("lib/.wh.other", ".wh."),
    ] {
        check_refused(&zip_of(&[(name, b"x")]), expected);
    }
    // Two backslashes are two plain letters of a name here.
    assert_eq!(unpack(&zip_of(&[("a\\..\\b", b"")])).unwrap()[0].0.path, "a\\..\\b");
    check_refused(&zip_of(&[("a", b""), ("./a", b"")]), "stands twice");
    check_refused(&zip_of(&[("a", b""), ("a/b", b"")]), "not a directory");
    check_refused(&zip_of(&[("a/b", b""), ("a", b"")]), "not a directory");
    check_refused(
        &replaced(zip_of(&[("aaa", b"1"), ("bbb", b"2")]), b"bbb", b"aaa"),
        "the same name",
    );
    let below_a_link = zip(|writer| {
        writer.add_symlink("etc", "/etc", options()).unwrap();
        writer.start_file("etc/passwd", options()).unwrap();
    });
    check_refused(&below_a_link, "not a directory");
    let device = zip(|writer| writer.start_file("null", options()).unwrap());
    // The central directory's external attributes: type bits of a character device.
    let (file, device_bits) = (0o100_644_u32 << 16, 0o020_644_u32 << 16);
    check_refused(
        &replaced(device, &file.to_le_bytes(), &device_bits.to_le_bytes()),
        "neither a file",
    );
}

#[test]
fn lengths_are_counted_and_not_believed() {
    let content = vec![7; 100_000];
    let bytes = zip_of(&[("a", &content)]);
    let lie = |length: u32| replaced(bytes.clone(), &100_000_u32.to_le_bytes(), &length.to_le_bytes());
    check_refused(&lie(50_000), "cannot be inflated");
    check_refused(&lie(200_000), "cannot be inflated");
    check_refused(
        &lie(UNZIPPED_BYTES_MAX as u32),
        "Unzipped size must be smaller than 262144000 bytes",
    );
    assert_eq!(unpack(&bytes).unwrap()[0].1, content);
    let stored = zip(|writer| {
        let stored = options().compression_method(CompressionMethod::Stored);
        writer.start_file("a", stored).unwrap();
        writer.write_all(b"some text").unwrap();
    });
    check_refused(&replaced(stored, b"some", b"same"), "cannot be inflated");
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let mebibyte = vec![0; 1 << 20];
    let bomb = zip(|writer| {
        writer.start_file("zeros", options()).unwrap();
        for _ in 0..251 {
            writer.write_all(&mebibyte).unwrap();
        }
    });
    assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
    check_refused(&bomb, "Unzipped size must be smaller than 262144000 bytes");
    // The same with a header that says one byte less than it has: more than it says is never inflated.
    let length = 251_u32 << 20;
    check_refused(
        &replaced(bomb, &length.to_le_bytes(), &1_u32.to_le_bytes()),
        "cannot be inflated",
    );
}

#[test]
fn too_many_entries_are_refused_before_they_are_looked_at() {
    let bytes = zip(|writer| {
        for number in 0..=ENTRIES_MAX {
            let stored = options().compression_method(CompressionMethod::Stored);
            writer.start_file(number.to_string(), stored).unwrap();
        }
    });
    check_refused(&bytes, "100001 entries");
}
