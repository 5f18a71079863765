use super::*;
use proptest::prelude::*;
use std::fmt::Write;

/// One header, a GNU one unless `edit` makes it another.
fn header(path: &str, flag: u8, size: u64, edit: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkflag = [flag];
    header.set_size(size);
    header.set_mode(0o644);
    edit(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// An entry with its content and the padding behind it.
fn entry(path: &str, flag: u8, content: &[u8], edit: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut bytes = header(path, flag, content.len() as u64, edit);
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    bytes
}

fn file(path: &str, content: &[u8]) -> Vec<u8> {
    entry(path, b'0', content, |_| {})
}

fn link(path: &str, flag: u8, target: &str) -> Vec<u8> {
    entry(path, flag, b"", |header| {
        header.set_link_name_literal(target).expect("a short target");
    })
}

fn record(key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value.as_ref(), b"\n"].concat();
    let digits = |length: usize| length.to_string().len();
    let mut length = rest.len() + digits(rest.len());
    length = rest.len() + digits(length);
    [length.to_string().as_bytes(), &rest].concat()
}

fn pax(flag: u8, records: &[Vec<u8>]) -> Vec<u8> {
    entry("PaxHeaders/x", flag, &records.concat(), |_| {})
}

/// A PAX header with one record, then a file `f` of three bytes.
fn pax_file(key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    [pax(b'x', &[record(key, value)]), file("f", b"abc")].concat()
}

/// All entries before the first fault, and the fault.
fn read(archive: &[u8]) -> (Vec<LayerEntry>, Option<LayerError>) {
    let mut reader = LayerReader::new(archive);
    let mut entries = Vec::new();
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => return (entries, None),
            Err(error) => return (entries, Some(error)),
        }
    }
}

/// One line for an entry: what it is, and what of it is not the default of [`header`].
fn describe(entry: &LayerEntry) -> String {
    let path = entry.path.escape_ascii();
    let mut line = match &entry.kind {
        EntryKind::File(content) => {
            let pieces = content.pieces.iter();
            let pieces = pieces.map(|piece| format!(" {}+{}@{}", piece.file_offset, piece.bytes, piece.layer_offset));
            format!("file {path} {}{}", content.bytes, pieces.collect::<String>())
        }
        EntryKind::Directory => format!("directory {path}"),
        EntryKind::Symlink(target) => format!("symlink {path} -> {}", target.escape_ascii()),
        EntryKind::HardLink(target) => format!("link {path} = {}", target.escape_ascii()),
        EntryKind::CharDevice(number) => format!("char {path} {},{}", number.major, number.minor),
        EntryKind::BlockDevice(number) => format!("block {path} {},{}", number.major, number.minor),
        EntryKind::Fifo => format!("fifo {path}"),
        EntryKind::Unsupported(flag) => format!("other {path} {}", char::from(*flag)),
    };
    let Metadata {
        mode,
        uid,
        gid,
        modified,
    } = entry.metadata;
    if mode != 0o644 {
        write!(line, " mode={mode:o}").expect("text");
    }
    if (uid, gid) != (0, 0) {
        write!(line, " owner={uid}:{gid}").expect("text");
    }
    if modified != Timestamp::default() {
        write!(line, " time={}+{}", modified.seconds, modified.nanoseconds).expect("text");
    }
    for xattr in &entry.xattrs.stored {
        write!(
            line,
            " {}:{}={}",
            xattr.index,
            xattr.name.escape_ascii(),
            xattr.value.escape_ascii()
        )
        .expect("text");
    }
    line
}

fn check(archive: &[u8], expected: &[&str]) {
    let (entries, error) = read(archive);
    assert!(error.is_none(), "{}", error.expect("some"));
    assert_eq!(entries.iter().map(describe).collect::<Vec<_>>(), expected);
}

fn check_refused(archive: &[u8], message: &str) {
    let (_, error) = read(archive);
    assert_eq!(error.expect("it must be refused").to_string(), message);
}

#[test]
fn every_kind_of_entry_is_read() {
    let device = |header: &mut tar::Header| {
        header.set_device_major(8).expect("a GNU header");
        header.set_device_minor(300).expect("a GNU header");
    };
    let archive = [
        file("f", b"abc"),
        file("empty", b""),
        entry("d/", b'5', b"", |header| header.set_mode(0o1777)),
        link("s", b'2', "f"),
        link("h", b'1', "f"),
        entry("c", b'3', b"", device),
        entry("b", b'4', b"", device),
        entry("p", b'6', b"", |_| {}),
        entry("contiguous", b'7', b"xy", |_| {}),
        entry("old", 0, b"z", |_| {}),
    ];
    let expected = [
        "file f 3 0+3@512",
        "file empty 0",
        "directory d/ mode=1777",
        "symlink s -> f",
        "link h = f",
        "char c 8,300",
        "block b 8,300",
        "fifo p",
        "file contiguous 2 0+2@5120",
        "file old 1 0+1@6144",
    ];
    check(&archive.concat(), &expected);
}

#[test]
fn an_archive_ends_at_a_zero_block_or_with_its_bytes() {
    let one = file("f", b"abc");
    for end in [
        vec![],
        vec![0; 512],
        vec![0; 1024],
        vec![0; 10_240],
        [vec![0; 512], file("behind", b"")].concat(),
    ] {
        check(&[one.clone(), end].concat(), &["file f 3 0+3@512"]);
    }
    check(&one[..515], &["file f 3 0+3@512"]);
    check(b"", &[]);
}

#[test]
fn what_no_image_can_hold_is_named_and_its_content_skipped() {
    for flag in *b"sVMDNAZ\xff" {
        let archive = [entry("odd", flag, &[b'x'; 700], |_| {}), file("f", b"")].concat();
        check(&archive, &[&format!("other odd {}", char::from(flag)), "file f 0"]);
    }
}

#[test]
fn links_announce_sizes_but_have_no_content() {
    for (flag, expected) in [(b'1', "link l = t"), (b'2', "symlink l -> t")] {
        let sized = header("l", flag, 5000, |header| {
            header.set_link_name_literal("t").expect("short");
        });
        check(&[sized, file("f", b"")].concat(), &[expected, "file f 0"]);
    }
    check(
        &[entry("d/", b'5', b"content of a directory", |_| {}), file("f", b"")].concat(),
        &["directory d/", "file f 0"],
    );
}

#[test]
fn v7_marks_a_directory_by_its_slash() {
    let v7 = |path: &str| {
        entry(path, 0, b"", |header| {
            header.as_mut_bytes()[257..].fill(0);
        })
    };
    check(&[v7("d/"), v7("f")].concat(), &["directory d/", "file f 0"]);
    check(
        &[pax(b'x', &[record("path", "long/")]), v7("x")].concat(),
        &["directory long/"],
    );
}

#[test]
fn ustar_joins_its_prefix() {
    let archive = entry("name", b'0', b"", |header| {
        *header.as_mut_bytes() = {
            let mut bytes = *header.as_bytes();
            bytes[257..265].copy_from_slice(b"ustar\x0000");
            bytes[345..351].copy_from_slice(b"a/long");
            bytes
        };
    });
    check(&archive, &["file a/long/name 0"]);
}

#[test]
fn gnu_long_names_and_links() {
    let long = "n".repeat(300);
    let longer = "t".repeat(5000);
    let name = entry("././@LongLink", b'L', format!("{long}\0").as_bytes(), |_| {});
    let target = entry("././@LongLink", b'K', format!("{longer}\0").as_bytes(), |_| {});
    let both = [&format!("symlink {long} -> {longer}")[..], "file f 0"];
    check(
        &[name.clone(), target.clone(), link("cut", b'2', "cut"), file("f", b"")].concat(),
        &both,
    );
    check(
        &[target, name.clone(), link("cut", b'2', "cut"), file("f", b"")].concat(),
        &both,
    );
    check(
        &[name, file("cut", b"x")].concat(),
        &[&format!("file {long} 1 0+1@1536")],
    );
}

#[test]
fn pax_records_replace_header_fields() {
    for (key, value, expected) in [
        ("path", &b"p/\xff\xfe"[..], "file p/\\xff\\xfe 3 0+3@1536"),
        ("linkpath", b"unused", "file f 3 0+3@1536"),
        ("uid", b"4294967295", "file f 3 0+3@1536 owner=4294967295:0"),
        ("gid", b"70000", "file f 3 0+3@1536 owner=0:70000"),
        ("mtime", b"1.5", "file f 3 0+3@1536 time=1+500000000"),
        ("mtime", b"-1.25", "file f 3 0+3@1536 time=-2+750000000"),
        ("mtime", b"-7", "file f 3 0+3@1536 time=-7+0"),
        ("mtime", b"-0.000000001", "file f 3 0+3@1536 time=-1+999999999"),
        (
            "mtime",
            b"12345678901.1234567899",
            "file f 3 0+3@1536 time=12345678901+123456789",
        ),
        ("comment", b"anything \n = at all\0", "file f 3 0+3@1536"),
        (
            "SCHILY.xattr.user.a",
            b"line\nline\0=end",
            "file f 3 0+3@1536 1:a=line\\nline\\x00=end",
        ),
        ("SCHILY.xattr.user.empty", b"", "file f 3 0+3@1536 1:empty="),
        (
            "SCHILY.xattr.security.capability",
            b"\x01\0",
            "file f 3 0+3@1536 6:capability=\\x01\\x00",
        ),
        ("path", b"", "file f 3 0+3@1536"),
        ("uid", b"", "file f 3 0+3@1536"),
    ] {
        check(&pax_file(key, value), &[expected]);
    }
    let link = [pax(b'x', &[record("linkpath", "long")]), link("l", b'1', "short")].concat();
    check(&link, &["link l = long"]);
}

#[test]
fn the_size_of_a_pax_record_says_where_the_next_header_is() {
    let oversized = header("f", b'0', 0, |_| {});
    let archive = [
        pax(b'x', &[record("size", "600")]),
        oversized,
        vec![b'x'; 600],
        vec![0; 424],
        file("g", b""),
    ]
    .concat();
    check(&archive, &["file f 600 0+600@1536", "file g 0"]);
}

#[test]
fn a_local_record_wins_over_a_global_one_and_over_gnu_names() {
    let global = pax(
        b'g',
        &[
            record("uid", "5"),
            record("gid", "6"),
            record("SCHILY.xattr.user.a", "1"),
        ],
    );
    let local = pax(b'x', &[record("uid", "7"), record("SCHILY.xattr.user.b", "2")]);
    let archive = [
        global,
        file("a", b""),
        local,
        file("b", b""),
        pax(b'g', &[record("gid", "8")]),
        file("c", b""),
    ];
    let expected = [
        "file a 0 owner=5:6 1:a=1",
        "file b 0 owner=7:6 1:b=2",
        "file c 0 owner=5:8 1:a=1",
    ];
    check(&archive.concat(), &expected);
    let gnu = entry("././@LongLink", b'L', b"gnu\0", |_| {});
    check(
        &[pax(b'x', &[record("path", "pax")]), gnu, file("f", b"")].concat(),
        &["file pax 0"],
    );
    check(&pax(b'g', &[record("uid", "5")]), &[]);
}

#[test]
fn headers_hold_numbers_in_every_form() {
    let field = |at: usize, text: &[u8]| {
        entry("f", b'0', b"", |header| {
            header.as_mut_bytes()[at..at + text.len()].copy_from_slice(text);
        })
    };
    let (mode, uid, mtime) = (100, 108, 136);
    for (at, text, expected) in [
        (mode, &b"        "[..], "file f 0 mode=0"),
        (mode, b"\0\0\0\0\0\0\0\0", "file f 0 mode=0"),
        (mode, b"0104755\0", "file f 0 mode=4755"),
        (mode, b"   777 \0", "file f 0 mode=777"),
        (uid, b"77777777", "file f 0 owner=16777215:0"),
        (uid, b"\x80\0\0\0\xff\xff\xff\xff", "file f 0 owner=4294967295:0"),
        (uid, b"        ", "file f 0"),
        (mtime, b"00000000012\0", "file f 0 time=10+0"),
        (
            mtime,
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe",
            "file f 0 time=-2+0",
        ),
        (mtime, b"\x80\0\0\0\0\0\0\x02\0\0\0\0", "file f 0 time=8589934592+0"),
        (
            mtime,
            b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0",
            "file f 0 time=-9223372036854775808+0",
        ),
        (mtime, b"            ", "file f 0"),
    ] {
        check(&field(at, text), &[expected]);
    }
    let size = [&b"\x80\0\0\0\0\0\0\0\0\0\0\x03"[..]].concat();
    let file = header("f", b'0', 0, |header| {
        header.as_mut_bytes()[124..136].copy_from_slice(&size);
    });
    check(&[&file[..], b"abc"].concat(), &["file f 3 0+3@512"]);
    for (at, text, field_name) in [
        (uid, &b"12x\0"[..], "uid"),
        (uid, b"-1\0", "uid"),
        (uid, b"\xff\xff\xff\xff\xff\xff\xff\xff", "uid"),
        (uid, b"\x80\0\0\x01\0\0\0\0", "uid"),
        (mtime, b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "mtime"),
        (124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "size"),
    ] {
        let (_, error) = read(&field(at, text));
        assert!(matches!(error.expect("refused").fault, LayerFault::BadNumber { field, .. } if field == field_name));
    }
}

#[test]
fn a_checksum_counts_unsigned_or_signed_bytes_and_nothing_else() {
    let mut archive = file("\u{e9}", b"");
    check(&archive, &["file \\xc3\\xa9 0"]);
    let signed: i64 = archive[..148]
        .iter()
        .chain(&[b' '; 8])
        .chain(&archive[156..])
        .map(|byte| i64::from(*byte as i8))
        .sum();
    archive[148..156].copy_from_slice(format!("{signed:06o}\0 ").as_bytes());
    check(&archive, &["file \\xc3\\xa9 0"]);
    archive[0] ^= 1;
    check_refused(&archive, "tar entry at byte 0: not a tar header: its checksum is wrong");
    check_refused(
        &[file("f", b"abc"), vec![b'x'; 512]].concat(),
        "tar entry at byte 1024: field `checksum` is not a valid number: \"xxxxxxxx\"",
    );
}

#[test]
fn malformed_extended_headers_are_refused() {
    for body in [
        &b"5 a=b\n"[..],
        b"7 a=b\n",
        b"6 ab=\n7",
        b"6 a=bc",
        b"99999999999999999999999 a=b\n",
        b"6 abc\n",
        b"x a=b\n",
        b" a=b\n",
        b"0 a=b\n",
    ] {
        let archive = [entry("x", b'x', body, |_| {}), file("f", b"")].concat();
        let (entries, error) = read(&archive);
        assert!(entries.is_empty(), "{}", body.escape_ascii());
        assert!(
            matches!(error.expect("refused").fault, LayerFault::BadPaxRecord { .. }),
            "{}",
            body.escape_ascii()
        );
    }
    check(
        &[entry("x", b'x', b"8 uid=5\n\0\0\0", |_| {}), file("f", b"")].concat(),
        &["file f 0 owner=5:0"],
    );
    for (key, value) in [
        ("size", "-1"),
        ("size", "x"),
        ("uid", "4294967296"),
        ("mtime", "now"),
        ("mtime", "1.-5"),
        ("mtime", "99999999999999999999"),
    ] {
        let (_, error) = read(&pax_file(key, value));
        assert!(
            matches!(error.expect("refused").fault, LayerFault::BadNumber { field, .. } if field == key),
            "{key}={value}"
        );
    }
    let alone = [file("f", b""), pax(b'x', &[record("uid", "5")])].concat();
    check_refused(
        &alone,
        "tar entry at byte 1536: the archive ends after an extended header: the entry that it describes is missing",
    );
}

#[test]
fn an_endless_extended_header_is_refused_before_it_is_read() {
    for flag in *b"xgLK" {
        let message = "tar entry at byte 0: an extended header of 1048577 bytes; at most 1048576 are read";
        check_refused(&header("x", flag, 1024 * 1024 + 1, |_| {}), message);
    }
    let largest = pax(b'x', &[record("SCHILY.xattr.user.a", vec![b'v'; 1024 * 1024 - 29])]);
    assert_eq!(largest.len(), 1024 * 1024 + 512);
    let (entries, error) = read(&[largest, file("f", b"")].concat());
    assert!(error.is_none() && entries[0].xattrs.stored[0].value.len() == 1024 * 1024 - 29);
}

/// A file of 10,000 bytes with `abc` at 1,000 and `defgh` at 9,995.
mod sparse {
    use super::*;

    const DATA: &[u8] = b"abcdefgh";

    fn old_gnu(runs: &[(u64, u64)], real_bytes: u64, content: &[u8]) -> Vec<u8> {
        let (first, rest) = runs.split_at(runs.len().min(4));
        let mut bytes = header("f", b'S', content.len() as u64, |header| {
            let gnu = header.as_gnu_mut().expect("a GNU header");
            gnu.set_real_size(real_bytes);
            set_slots(&mut gnu.sparse, first);
            gnu.set_is_extended(!rest.is_empty());
        });
        for (number, runs) in rest.chunks(21).enumerate() {
            let mut extension = tar::GnuExtSparseHeader::new();
            set_slots(&mut extension.sparse, runs);
            extension.set_is_extended((number + 1) * 21 < rest.len());
            bytes.extend_from_slice(extension.as_bytes());
        }
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        bytes
    }

    fn set_slots(slots: &mut [tar::GnuSparseHeader], runs: &[(u64, u64)]) {
        for (slot, (offset, bytes)) in slots.iter_mut().zip(runs) {
            slot.set_offset(*offset);
            slot.set_length(*bytes);
        }
    }

    fn pax_1_0(real_bytes: &str, map: &[u8]) -> Vec<u8> {
        let records = [
            record("GNU.sparse.major", "1"),
            record("GNU.sparse.minor", "0"),
            record("GNU.sparse.name", "f"),
            record("GNU.sparse.realsize", real_bytes),
        ];
        let mut content = map.to_vec();
        content.resize(map.len().next_multiple_of(BLOCK_BYTES), 0);
        content.extend_from_slice(DATA);
        [pax(b'x', &records), file("GNUSparseFile.0/f", &content)].concat()
    }

    pub(super) fn pax_0_1(size: &str, map: &str) -> Vec<u8> {
        let records = [
            record("GNU.sparse.size", size),
            record("GNU.sparse.map", map),
            record("GNU.sparse.name", "f"),
        ];
        [pax(b'x', &records), file("GNUSparseFile.0/f", DATA)].concat()
    }

    #[test]
    fn every_encoding_gives_the_same_file() {
        let numbers = ["1000", "3", "9995", "5"];
        let pairs = numbers.chunks(2).flat_map(|pair| {
            [
                record("GNU.sparse.offset", pair[0]),
                record("GNU.sparse.numbytes", pair[1]),
            ]
        });
        let records_0_0 = [record("GNU.sparse.size", "10000"), record("GNU.sparse.numblocks", "2")]
            .into_iter()
            .chain(pairs);
        let records_0_0: Vec<_> = records_0_0.collect();
        for (archive, data) in [
            (old_gnu(&[(1000, 3), (9995, 5)], 10_000, DATA), 512),
            ([pax(b'x', &records_0_0), file("f", DATA)].concat(), 1536),
            (pax_0_1("10000", "1000,3,9995,5"), 1536),
            (pax_1_0("10000", b"2\n1000\n3\n9995\n5\n"), 2048),
        ] {
            let expected = format!("file f 10000 1000+3@{data} 9995+5@{}", data + 3);
            check(&[archive, file("next", b"")].concat(), &[&expected, "file next 0"]);
        }
    }

    #[test]
    fn holes_at_the_end_and_empty_runs_hold_nothing() {
        check(
            &old_gnu(&[(0, 8), (20_000, 0)], 20_000, DATA),
            &["file f 20000 0+8@512"],
        );
        check(&old_gnu(&[], 1 << 40, b""), &["file f 1099511627776"]);
        check(&pax_1_0("10000", b"0\n"), &["file f 10000"]);
        check(&pax_0_1("8", "0,8"), &["file f 8 0+8@1536"]);
    }

    #[test]
    fn maps_of_any_length() {
        for count in [4, 5, 25, 26, 46, 47, 500] {
            let runs: Vec<_> = (0..count).map(|number| (number * 4096, 1)).collect();
            let blocks = (count as usize).saturating_sub(4).div_ceil(21);
            let content = vec![b'x'; count as usize];
            let (entries, error) = read(&[old_gnu(&runs, 1 << 30, &content), file("next", b"")].concat());
            assert!(error.is_none() && entries.len() == 2, "{count} runs");
            let EntryKind::File(content) = &entries[0].kind else {
                panic!("not a file")
            };
            let data = (512 + blocks * 512) as u64;
            let expected = runs.iter().map(|(offset, bytes)| Piece {
                file_offset: *offset,
                layer_offset: data + offset / 4096,
                bytes: *bytes,
            });
            assert_eq!(content.pieces, expected.collect::<Vec<_>>(), "{count} runs");
        }
    }

    #[test]
    fn malicious_maps_are_refused() {
        let max = u64::MAX.to_string();
        for (archive, reason) in [
            (
                old_gnu(&[(5, 5), (9, 1)], 100, DATA),
                "runs overlap, are out of order or leave the file",
            ),
            (
                old_gnu(&[(50, 1), (9, 1)], 100, DATA),
                "runs overlap, are out of order or leave the file",
            ),
            (
                old_gnu(&[(99, 2)], 100, DATA),
                "runs overlap, are out of order or leave the file",
            ),
            (
                old_gnu(&[(0, 9)], 100, DATA),
                "the runs hold more than the entry's content",
            ),
            (pax_0_1("100", "0,4,4"), "an offset without a length"),
            (pax_0_1(&max, &format!("{max},1")), "a run ends beyond 2^64"),
            (pax_0_1(&max, &format!("1,{max}")), "a run ends beyond 2^64"),
            (
                pax_0_1(&max, &format!("0,{max}")),
                "the runs hold more than the entry's content",
            ),
            (
                pax_0_1(&max, &format!("0,{},{},1", u64::MAX - 1, u64::MAX - 1)),
                "the runs hold more than the entry's content",
            ),
            (pax_1_0("100", b"65537\n"), "more than 65,536 runs"),
            (
                pax_1_0("100", &[&b"300\n"[..], &b"1\n".repeat(254)].concat()),
                "the map does not end within the content",
            ),
            (
                pax_1_0("100", b"000000000000000000000000000001\n"),
                "a number of more than 20 digits",
            ),
        ] {
            let (_, error) = read(&archive);
            let message = error.expect("it must be refused").to_string();
            assert!(
                message.ends_with(&format!("malformed sparse map: {reason}")),
                "{message}"
            );
        }
        let newer = [
            pax(
                b'x',
                &[record("GNU.sparse.major", "2"), record("GNU.sparse.realsize", "5")],
            ),
            file("f", b""),
        ]
        .concat();
        check_refused(
            &newer,
            "tar entry at byte 1024: malformed sparse map: a format newer than GNU.sparse 1.0",
        );
        let not_gnu = entry("f", b'S', b"", |header| {
            header.as_mut_bytes()[257..265].copy_from_slice(b"ustar\x0000");
        });
        check_refused(
            &not_gnu,
            "tar entry at byte 0: malformed sparse map: a sparse entry without a GNU header",
        );
        let mut endless = old_gnu(&[(0, 1); 5], 0, b"");
        endless.truncate(512);
        assert!(read(&endless).1.is_some());
    }

    /// An archive with every kind of header that has a body.
    pub(super) fn everything() -> Vec<u8> {
        let long = entry("././@LongLink", b'L', &[b'n'; 600], |_| {});
        let runs: Vec<_> = (0..30).map(|number| (number * 10, 1)).collect();
        let parts = [
            pax(b'g', &[record("uid", "5")]),
            long,
            file("cut", &[b'x'; 700]),
            pax_file("SCHILY.xattr.user.a", [b'v'; 600]),
            old_gnu(&runs, 1000, &[b'x'; 30]),
            pax_1_0("10000", b"2\n1000\n3\n9995\n5\n"),
            pax_0_1("10000", "1000,3,9995,5"),
            link("l", b'1', "f"),
            vec![0; 1024],
        ];
        parts.concat()
    }
}

#[test]
fn a_truncated_archive_gives_an_error_or_fewer_entries() {
    let archive = sparse::everything();
    let (all, error) = read(&archive);
    assert!(error.is_none() && all.len() == 6);
    for length in 0..archive.len() {
        let (entries, error) = read(&archive[..length]);
        assert!(
            entries.len() <= all.len() && entries == all[..entries.len()],
            "cut to {length}"
        );
        let at_boundary = length % BLOCK_BYTES == 0;
        assert!(
            error.is_some() || entries.len() < all.len() || length >= archive.len() - 1024,
            "cut to {length}"
        );
        assert!(
            at_boundary || error.is_some() || length > archive.len() - 1024 || length / BLOCK_BYTES > 0,
            "cut to {length}"
        );
        check_pieces(&entries, length as u64);
    }
}

/// Content lies inside the layer and inside its file, in order.
fn check_pieces(entries: &[LayerEntry], layer_bytes: u64) {
    for entry in entries {
        let EntryKind::File(content) = &entry.kind else {
            continue;
        };
        let mut end = 0;
        for piece in &content.pieces {
            assert!(piece.bytes > 0 && piece.file_offset >= end && piece.layer_offset + piece.bytes <= layer_bytes);
            end = piece.file_offset + piece.bytes;
        }
        assert!(end <= content.bytes);
    }
}

/// The large files that a follower sees, when the archive comes in pieces of this size.
fn large_ranges(archive: &[u8], large_bytes_min: u64, piece_bytes: usize) -> Vec<std::ops::Range<u64>> {
    let mut follower = Follower::new(large_bytes_min);
    let (mut at, mut start, mut ranges) = (0, None, Vec::new());
    for mut piece in archive.chunks(piece_bytes) {
        while !piece.is_empty() {
            let bytes = match follower.follow(piece) {
                Stretch::Other { bytes } => bytes,
                Stretch::Large { bytes, ends } => {
                    let first = *start.get_or_insert(at);
                    if ends {
                        ranges.push(first..at + bytes as u64);
                        start = None;
                    }
                    bytes
                }
            };
            assert!(bytes > 0);
            at += bytes as u64;
            piece = &piece[bytes..];
        }
    }
    ranges.extend(start.map(|start| start..at));
    ranges
}

/// An archive from which some bytes were taken.
struct Holed<'a> {
    bytes: &'a [u8],
    absent: &'a [std::ops::Range<u64>],
}

impl ReadAt for Holed<'_> {
    fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        // What reaches past the end fails with or without holes, and in the same words.
        let is_inside = offset.saturating_add(buffer.len() as u64) <= self.bytes();
        if is_inside && self.readable_bytes(offset) < buffer.len() as u64 {
            return Err(std::io::Error::other("taken"));
        }
        self.bytes.read_exact_at(buffer, offset)
    }

    fn readable_bytes(&self, offset: u64) -> u64 {
        let next = self.absent.iter().find(|absent| absent.end > offset);
        next.map_or(self.bytes(), |absent| absent.start).saturating_sub(offset)
    }
}

fn read_all<R: ReadAt>(archive: R) -> (Vec<LayerEntry>, Option<String>) {
    let mut reader = LayerReader::new(archive);
    let mut entries = Vec::new();
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => entries.push(entry),
            end => return (entries, end.err().map(|error| error.to_string())),
        }
    }
}

/// Whatever an archive is, the reader finds the same in it without the bytes that a follower calls large.
fn check_follower(archive: &[u8], large_bytes_min: u64) -> Vec<std::ops::Range<u64>> {
    let absent = large_ranges(archive, large_bytes_min, archive.len().max(1));
    for piece_bytes in [1, 7, 512, 1000] {
        assert_eq!(
            large_ranges(archive, large_bytes_min, piece_bytes),
            absent,
            "in pieces of {piece_bytes}"
        );
    }
    let holed = Holed {
        bytes: archive,
        absent: &absent,
    };
    assert_eq!(read_all(holed), read_all(archive));
    absent
}

#[test]
fn a_follower_finds_large_dense_files_and_nothing_else() {
    let long = [b'n'; 600];
    let archive = [
        entry("d/", b'5', b"", |_| {}),
        file("small", &[b's'; 999]),
        file("large", &[b'l'; 1000]),
        entry("././@LongLink", b'L', &long, |_| {}),
        file("cut", &[b'l'; 2000]),
        pax(b'x', &[record("size", "1024")]),
        entry("by-pax", b'0', &[b'l'; 1024], |header| header.set_size(3)),
        link("link", b'1', "large"),
        // A size without content, as some writers give links.
        header("hard", b'1', 5000, |_| {}),
        header("soft", b'2', 5000, |_| {}),
        pax(b'g', &[record("uid", "5")]),
        entry("contiguous", b'7', &[b'l'; 1536], |_| {}),
        entry("socket", b'Z', &[b's'; 3000], |_| {}),
        sparse::pax_0_1("10000", "1000,3,9995,5"),
        file("last", &[b'l'; 1001]),
        vec![0; 1024],
        // Behind the end nothing counts.
        file("behind", &[b'b'; 4000]),
    ]
    .concat();
    let large = |entry: &LayerEntry| match &entry.kind {
        EntryKind::File(content) if content.bytes >= 1000 && content.pieces.len() == 1 => {
            Some(content.pieces[0].layer_offset..content.pieces[0].layer_offset + content.bytes)
        }
        _ => None,
    };
    let expected: Vec<_> = read(&archive).0.iter().filter_map(large).collect();
    assert_eq!(expected.len(), 5);
    assert_eq!(check_follower(&archive, 1000), expected);
}

#[test]
fn a_follower_gives_up_where_it_cannot_be_sure() {
    let large = file("large", &[b'l'; 2000]);
    let old_sparse = header("s", b'S', 0, |_| {});
    let mut damaged = file("f", b"text");
    damaged[0] ^= 1;
    let first = 512..2512;
    for before in [old_sparse, damaged, vec![0; 512]] {
        let archive = [large.clone(), before, large.clone()].concat();
        assert_eq!(check_follower(&archive, 1000), std::slice::from_ref(&first));
    }
}

proptest! {
    /// As an attacker would: any bytes anywhere, with the sums of headers put right.
    #[test]
    fn changed_archives_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut archive = sparse::everything();
        for (at, byte) in changes {
            let at = at.index(archive.len());
            archive[at] = byte;
        }
        for block in archive.chunks_exact_mut(BLOCK_BYTES).filter(|block| &block[257..262] == b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        check_pieces(&read(&archive).0, archive.len() as u64);
        for large_bytes_min in [1, 100, 700] {
            check_follower(&archive, large_bytes_min);
        }
    }
}
