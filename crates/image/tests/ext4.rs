//! File systems from layers, judged by e2fsck, the kernel and GNU tar. Runs as root.

mod support;

use std::path::Path;
use support::{Mounted, device, fsck, shell, tree_facts, write_image};

/// The archive formats that GNU tar writes, with all that each can hold.
const FORMATS: [&str; 2] = ["--format=gnu", "--format=pax --xattrs --xattrs-include=* --acls"];

/// The four ways of writing a sparse file.
const SPARSE_FORMATS: [&str; 4] = [
    "--format=gnu --sparse",
    "--format=pax --sparse --sparse-version=0.0",
    "--format=pax --sparse --sparse-version=0.1",
    "--format=pax --sparse --sparse-version=1.0",
];

/// Makes a tree with `script`, archives it with GNU tar in each format, and compares the mounted image with what GNU
/// tar itself extracts from the archive.
fn check(script: &str, formats: &[&str]) {
    let work = tempfile::tempdir().expect("a directory");
    shell(work.path(), &format!("umask 022; mkdir tree; cd tree; {script}"));
    for options in formats {
        shell(
            work.path(),
            &format!(
                "rm -rf copy layer.tar; mkdir copy; tar -C tree --numeric-owner {options} -cf layer.tar . 2>/dev/null; \
                 tar -C copy --numeric-owner --xattrs --xattrs-include='*' --acls --same-owner -xpf layer.tar"
            ),
        );
        check_layers(
            &[&work.path().join("layer.tar")],
            &work.path().join("copy"),
            work.path(),
        );
    }
}

fn check_layers(layers: &[&Path], expected: &Path, work: &Path) {
    let image = work.join("image.ext4");
    write_image(&device(layers), &image);
    fsck(&image);
    let mounted = Mounted::new(&image);
    tree_facts::assert_equal(&mounted.path(), expected);
}

#[test]
fn kinds_modes_owners_and_times() {
    check(
        r#"
        echo text >file; : >empty; head -c 5000 /dev/urandom >two-blocks; mkdir -p a/b/c; ln -s file link
        ln -s "$(printf 'x%.0s' $(seq 59))" link59; ln -s "$(printf 'x%.0s' $(seq 60))" link60
        ln -s "$(printf 'y%.0s' $(seq 4000))" link4000
        ln file hard; ln file a/b/hard; ln link hardsymlink
        mkfifo fifo; mknod null c 1 3; mknod big-char c 300 70000; mknod disk b 8 1
        chmod 4755 file; chmod 2750 a; chmod 1777 a/b; chmod 000 empty
        touch two-blocks; chown 4000000000:3000000000 two-blocks; chown -h 70000:80000 link
        touch -d '1901-12-14 00:00:00.5 UTC' a/b/c; touch -d '2038-01-19 03:14:08.123456789 UTC' empty
        touch -h -d '2400-01-01 00:00:00.999999999 UTC' link; touch -d '1969-12-31 23:59:59.25 UTC' two-blocks
    "#,
        &FORMATS,
    );
}

#[test]
fn names_of_every_kind() {
    check(
        r#"
        touch "$(printf 'n%.0s' $(seq 255))" $'not-utf8-\xff\xfe' $'new\nline' ' space ' 'ünïcode' '.hidden' ./-dash 'a=b' '.whx'
        d=$(printf 'd%.0s' $(seq 200)); mkdir -p $d/$d/$d/$d/$d; echo deep >$d/$d/$d/$d/$d/file
        ln $d/$d/$d/$d/$d/file $d/$d/link; ln -s $d/$d/$d/$d/$d/file symlink
    "#,
        &FORMATS,
    );
}

#[test]
fn extended_attributes_and_access_lists() {
    check(
        r#"
        for i in $(seq 3); do echo $i >f$i; done; mkdir d; cp /bin/true ping
        setfattr -n user.small -v 1 f1; setfattr -n user.empty f1; setfattr -n trusted.thing -v 0x00ff0a00 f1
        setfattr -n user.large -v "$(printf 'v%.0s' $(seq 3500))" f2; setfattr -n user.also -v x f2
        setfattr -n user.line -v $'a\nb\n\nc' f3
        setcap cap_net_raw+ep ping
        setfacl -m u:41000:rwx,g:42000:r-x,m::rwx f3; setfacl -d -m u:41234:rwx d; setfacl -m g:43077:--x d
        for i in $(seq 1100); do mkdir -p shared; echo >shared/$i; done
        setfattr -n user.large -v "$(printf 'w%.0s' $(seq 300))" shared/*
    "#,
        &FORMATS[1..],
    );
}

#[test]
fn sparse_files_in_every_encoding() {
    check(
        r#"
        truncate -s 100M hole; truncate -s 10M many; truncate -s 1000001 odd
        for i in $(seq 0 2 2000); do printf "block $i" | dd of=many bs=4096 seek=$i conv=notrunc status=none; done
        printf odd | dd of=odd bs=1 seek=500123 conv=notrunc status=none
        printf start >both-ends; printf end | dd of=both-ends bs=1 seek=90M conv=notrunc status=none
    "#,
        &SPARSE_FORMATS,
    );
}

#[test]
fn a_file_over_four_gibibytes() {
    check(
        "printf start >huge; printf middle | dd of=huge bs=1 seek=4294967290 conv=notrunc status=none; truncate -s 4400M huge",
        &SPARSE_FORMATS[3..],
    );
}

#[test]
fn large_directories_find_every_name() {
    check(
        r#"
        mkdir hundred-thousand; cd hundred-thousand; seq -f 'file-number-%06.0f' 1 100000 | xargs touch -d @1700000000; cd ..
        mkdir subdirs; cd subdirs; seq 1 3000 | xargs mkdir; cd ..
        mkdir edge; cd edge; seq -f 'twelve-b-%03.0f' 1 204 | xargs touch
    "#,
        &FORMATS[..1],
    );
}

#[test]
fn more_subdirectories_than_a_link_count_holds() {
    check("mkdir many; cd many; seq 1 65100 | xargs mkdir", &FORMATS[..1]);
}

#[test]
fn files_of_every_size_around_a_block_and_a_chunk() {
    check(
        r#"
        for size in 1 4095 4096 4097 524287 524288 524289 1048576 3000000; do head -c $size /dev/urandom >s$size; done
        mkdir small; for i in $(seq 2000); do head -c $((i * 7)) /dev/urandom >small/$i; done
        head -c 300000000 /dev/urandom >across-groups
    "#,
        &FORMATS[..1],
    );
}

#[test]
fn an_empty_layer_is_an_empty_root() {
    let work = tempfile::tempdir().expect("a directory");
    shell(
        work.path(),
        "mkdir copy; touch -d @0 copy; chmod 755 copy; head -c 10240 /dev/zero >layer.tar",
    );
    check_layers(
        &[&work.path().join("layer.tar")],
        &work.path().join("copy"),
        work.path(),
    );
}
