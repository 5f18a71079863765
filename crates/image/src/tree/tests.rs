use super::*;
use crate::layer::{Content, EntryKind, LayerEntry};
use crate::xattr::{Xattr, Xattrs};
use proptest::prelude::*;

const LIMITS: TreeLimits = TreeLimits {
    unpacked_bytes_max: 1_000_000,
    entries_max: 100_000,
};

/// Applies layers in a notation of one letter for each kind: `|` between layers, `;` between entries.
///
/// ```text
/// d PATH [MODE]    f PATH BYTES    l PATH -> TARGET    h PATH = TARGET    p PATH (fifo)    s PATH (socket)
/// ```
fn build(layers: &str) -> Result<(Tree, Vec<Warning>), TreeError> {
    apply(
        layers.split('|').map(|layer| {
            layer
                .split(';')
                .filter(|entry| !entry.trim().is_empty())
                .map(entry)
                .collect()
        }),
        LIMITS,
    )
}

fn apply(layers: impl Iterator<Item = Vec<LayerEntry>>, limits: TreeLimits) -> Result<(Tree, Vec<Warning>), TreeError> {
    let mut builder = TreeBuilder::new(limits);
    let mut warnings = Vec::new();
    for (number, layer) in layers.enumerate() {
        builder.start_layer(LayerNumber(number as u16));
        for entry in layer {
            warnings.extend(builder.apply(entry)?);
        }
    }
    Ok((builder.finish(), warnings))
}

fn entry(text: &str) -> LayerEntry {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut mode = 0o644;
    let kind = match *words.as_slice() {
        ["d", _] => EntryKind::Directory,
        ["d", _, octal] => {
            mode = u16::from_str_radix(octal, 8).expect("octal");
            EntryKind::Directory
        }
        ["f", _, bytes] => EntryKind::File(dense(bytes.parse().expect("a number"))),
        ["l", _, "->", target] => EntryKind::Symlink(target.into()),
        ["h", _, "=", target] => EntryKind::HardLink(target.into()),
        ["p", _] => EntryKind::Fifo,
        ["s", _] => EntryKind::Unsupported(b's'),
        _ => panic!("not an entry: {text}"),
    };
    LayerEntry {
        path: words[1].into(),
        kind,
        metadata: metadata(mode),
        xattrs: Xattrs::default(),
    }
}

fn metadata(mode: u16) -> Metadata {
    Metadata {
        mode,
        uid: 0,
        gid: 0,
        modified: Timestamp::default(),
    }
}

fn dense(bytes: u64) -> Content {
    let piece = Piece {
        file_offset: 0,
        layer_offset: 512,
        bytes,
    };
    Content {
        bytes,
        pieces: if bytes == 0 { vec![] } else { vec![piece] },
    }
}

/// The tree in path order: `DIR/`, `FILE BYTES`, `LINK -> TARGET`, `FIFO |`; a directory's mode unless 755; ` *N` for a
/// node with N names, and `NAME = FIRST` for all its names but the first.
fn show(tree: &Tree) -> String {
    let mut lines = Vec::new();
    let mut first_names = vec![None; tree.nodes_len()];
    show_directory(tree, Tree::ROOT, "", &mut lines, &mut first_names);
    let root = tree.node(Tree::ROOT).metadata.mode;
    if root != 0o755 {
        lines.insert(0, format!("./ {root:o}"));
    }
    lines.join("; ")
}

fn show_directory(tree: &Tree, id: NodeId, path: &str, lines: &mut Vec<String>, first_names: &mut [Option<String>]) {
    for (name, child) in tree.children(id) {
        let path = format!("{path}{}", name.escape_ascii());
        if let Some(first) = &first_names[child.index()] {
            lines.push(format!("{path} = {first}"));
            continue;
        }
        first_names[child.index()] = Some(path.clone());
        let node = tree.node(child);
        let links = if node.links == 1 {
            String::new()
        } else {
            format!(" *{}", node.links)
        };
        match &node.kind {
            NodeKind::Directory(_) => {
                let mode = if node.metadata.mode == 0o755 {
                    String::new()
                } else {
                    format!(" {:o}", node.metadata.mode)
                };
                lines.push(format!("{path}/{mode}{links}"));
                show_directory(tree, child, &format!("{path}/"), lines, first_names);
            }
            NodeKind::File { bytes, .. } => lines.push(format!("{path} {bytes}{links}")),
            NodeKind::Symlink(target) => lines.push(format!("{path} -> {}{links}", target.escape_ascii())),
            _ => lines.push(format!("{path} |{links}")),
        }
    }
}

fn check(layers: &str, expected: &str) {
    match build(layers) {
        Ok((tree, _)) => assert_eq!(show(&tree), expected, "{layers}"),
        Err(error) => panic!("{layers}: {error}"),
    }
}

fn check_refused(layers: &str, message: &str) {
    assert_eq!(build(layers).expect_err(layers).to_string(), message, "{layers}");
}

/// Like [`check`], with the entries of the last layer in every order.
fn check_every_order(lower: &str, last: &str, expected: &str) {
    let entries: Vec<&str> = last.split(';').collect();
    for order in orders(&entries) {
        check(&format!("{lower}|{}", order.join(";")), expected);
    }
}

fn orders<'a>(entries: &[&'a str]) -> Vec<Vec<&'a str>> {
    let [first, rest @ ..] = entries else {
        return vec![vec![]];
    };
    let shorter = orders(rest).into_iter();
    let inserted = shorter.flat_map(|order| {
        (0..=order.len()).map(move |at| {
            let mut order = order.clone();
            order.insert(at, *first);
            order
        })
    });
    inserted.collect()
}

#[test]
fn entries_make_a_tree_with_its_parents() {
    check("", "");
    check(
        "d a 755; f a/x 5; l a/s -> x; p a/p; f b 0",
        "a/; a/p |; a/s -> x; a/x 5; b 0",
    );
    check("f a/b/c 1", "a/; a/b/; a/b/c 1");
    check("f a/b/c 1; d a 700; d a/b 711", "a/ 700; a/b/ 711; a/b/c 1");
    check("f ./a//b/./c 1", "a/; a/b/; a/b/c 1");
    check("d ./ 700; f ./x 1", "./ 700; x 1");
    check("d / 711", "./ 711");
    check("d . 700 | d ./ 755", "");
}

#[test]
fn later_entries_replace_earlier_ones_whatever_both_are() {
    let kinds = ["d a 755", "f a 1", "l a -> b", "p a"];
    let shown = ["a/", "a 1", "a -> b", "a |"];
    for earlier in kinds {
        for (later, expected) in kinds.iter().zip(shown) {
            check(&format!("{earlier} | {later}"), expected);
            check(&format!("{earlier}; {later}"), expected);
        }
    }
    check("d a 755; f a/x 1 | f a 2 | d a 700; f a/y 3", "a/ 700; a/y 3");
    check("d a 755; f a/b/x 1 | l a -> b", "a -> b");
    check("d a 700; f a/x 1 | d a 711; f a/y 2", "a/ 711; a/x 1; a/y 2");
    check("f a 1 | s a", "a 1");
}

#[test]
fn whiteouts_remove_what_lower_layers_made_in_any_order() {
    let lower = "d a 700; f a/x 1; f a/y 2; d a/d 711; f a/d/z 3; f b 4";
    check_every_order(lower, "f a/.wh.x 0", "a/ 700; a/d/ 711; a/d/z 3; a/y 2; b 4");
    check_every_order(lower, "f .wh.a 0; f .wh.b 0", "");
    check_every_order(lower, "f a/.wh.d 0; f a/.wh.y 0; f a/w 5", "a/ 700; a/w 5; a/x 1; b 4");
    check_every_order(
        lower,
        "f a/.wh.x 0; f a/x 9",
        "a/ 700; a/d/ 711; a/d/z 3; a/x 9; a/y 2; b 4",
    );
    check_every_order(lower, "f .wh.a 0; d a 750; f a/n 1", "a/ 750; a/n 1; b 4");
    check_every_order(lower, "f .wh.a 0; f a/n 1", "a/; a/n 1; b 4");
    check_every_order(lower, "f .wh.a 0; f a/d/n 1", "a/; a/d/; a/d/n 1; b 4");
    check_every_order(lower, "f a/.wh..wh..opq 0; f a/n 1", "a/ 700; a/n 1; b 4");
    check_every_order(
        lower,
        "f a/.wh..wh..opq 0; f a/d/n 1; d a 750",
        "a/ 750; a/d/; a/d/n 1; b 4",
    );
    check_every_order(lower, "f a/.wh..wh..opq 0; f a/x 7; f a/.wh.y 0", "a/ 700; a/x 7; b 4");
    check_every_order(lower, "f .wh..wh..opq 0; f n 1; d a 701", "a/ 701; n 1");
    check_every_order(
        lower,
        "f .wh.nothing 0; f a/.wh.nothing 0; f none/.wh.x 0; f b/.wh.x 0; f none/.wh..wh..opq 0",
        "a/ 700; a/d/ 711; a/d/z 3; a/x 1; a/y 2; b 4",
    );
}

#[test]
fn a_whiteout_spares_its_own_layer_and_only_that_one() {
    check("f a 1; f .wh.a 0", "a 1");
    check("f a 1 | f a 2; f .wh.a 0 | f b 3", "a 2; b 3");
    check("f a 1 | f b 2 | f .wh.a 0; f .wh.b 0", "");
    check("d d 755; f d/x 1 | f .wh.d 0 | d d 700", "d/ 700");
    check("d d 755; f d/x 1 | f .wh.d 0; d d 700 | f d/y 1", "d/ 700; d/y 1");
    check("d d 755; f d/x 1 | f .wh.d 0; f d 5", "d 5");
    check("f d 5 | f .wh.d 0; d d 755; f d/x 1", "d/; d/x 1");
}

#[test]
fn left_overs_of_aufs_are_ignored() {
    check(
        "d .wh..wh.plnk 700; f .wh..wh.plnk/12.34 5; f .wh..wh.aufs 0; d .wh..wh.orph 700; f a 1",
        "a 1",
    );
    check("f d/.wh..wh.plnk/x 5; f d/a 1", "d/; d/a 1");
}

#[test]
fn a_whiteout_of_no_name_is_refused() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh."] {
        check_refused(
            &format!("d a 755; f {name} 0"),
            &format!("entry `{name}`: a whiteout without a file's name"),
        );
    }
    check("f .wh..hidden 0 | f .hidden 1 | f .wh..hidden 0", "");
}

#[test]
fn hard_links_count_their_names() {
    check("f a 1; h b = a; h c = b", "a 1 *3; b = a; c = a");
    check("f a 1 | h b = a", "a 1 *2; b = a");
    check("f a 1; h b = a | f a 2", "a 2; b 1");
    check("f a 1; h b = a | f .wh.a 0", "b 1");
    check("f d/a 1; h b = d/a | f .wh.d 0", "b 1");
    check("f a 1; h a = a; h b = a; h b = a", "a 1 *2; b = a");
    check("f a 1; f b 2 | h b = a", "a 1 *2; b = a");
    check("f d/x 1; h d = d/x", "d 1");
    check("f d/x 1; h y = d/x; h d = y", "d 1 *2; y = d");
    check("l s -> t; h b = s", "b -> t *2; s = b");
    check("p p; h q = p", "p | *2; q = p");
    check("f a 1; h d/b = ./a", "a 1 *2; d/; d/b = a");
    check("f a 1; h b = a | h .wh.b = a", "a 1");
    check("f a 1; h b = a | f b 2; h a = b", "a 2 *2; b = a");
}

#[test]
fn hard_links_to_nothing_or_to_directories_are_refused() {
    check_refused(
        "h b = a",
        "entry `b`: hard link to `a`, which does not exist in this or an earlier layer",
    );
    check_refused(
        "f a 1 | f .wh.a 0; h b = a",
        "entry `b`: hard link to `a`, which does not exist in this or an earlier layer",
    );
    check_refused(
        "h b = d/a",
        "entry `b`: hard link to `d/a`, which does not exist in this or an earlier layer",
    );
    check_refused(
        "d a 755; h b = .",
        "entry `b`: hard link to `.`, which does not exist in this or an earlier layer",
    );
    check_refused("d a 755; h b = a", "entry `b`: hard link to `a`, which is a directory");
    check_refused(
        "f a 1; h b = /a",
        "entry `b`: an absolute path escapes the image's root",
    );
    check_refused(
        "f a 1; h b = ../a",
        "entry `b`: it escapes the image's root through `..`",
    );
}

#[test]
fn a_file_has_at_most_65000_names() {
    let links = |count: usize| {
        let names = (0..count).map(|number| entry(&format!("h {number:05} = a")));
        apply(
            [std::iter::once(entry("f a 1")).chain(names).collect()].into_iter(),
            LIMITS,
        )
    };
    assert_eq!(
        links(64_999).expect("ext4 counts that far").0.node(NodeId(1)).links,
        65_000
    );
    assert_eq!(
        links(65_000).expect_err("one too many").to_string(),
        "entry `64999`: more than 65000 hard links to `a`"
    );
}

#[test]
fn entries_go_through_symbolic_links_inside_the_root() {
    check(
        "d usr/lib 755; l lib -> usr/lib | f lib/x 1",
        "lib -> usr/lib; usr/; usr/lib/; usr/lib/x 1",
    );
    check(
        "d usr/lib 755; l lib -> /usr/lib | f lib/x 1",
        "lib -> /usr/lib; usr/; usr/lib/; usr/lib/x 1",
    );
    check("d b 755; l a/up -> ../b | f a/up/x 1", "a/; a/up -> ../b; b/; b/x 1");
    check(
        "d b 755; l one -> two; l two -> ./b/ | f one/c/x 1",
        "b/; b/c/; b/c/x 1; one -> two; two -> ./b/",
    );
    check(
        "d usr/lib 755; l lib -> usr/lib; f usr/lib/x 1 | f lib/.wh.x 0",
        "lib -> usr/lib; usr/; usr/lib/",
    );
    check(
        "d usr/lib 755; l lib -> usr/lib; f usr/lib/x 1 | f lib/.wh..wh..opq 0",
        "lib -> usr/lib; usr/; usr/lib/",
    );
    check(
        "d usr/lib 755; l lib -> usr/lib; f usr/lib/x 1 | h y = lib/x",
        "lib -> usr/lib; usr/; usr/lib/; usr/lib/x 1 *2; y = usr/lib/x",
    );
    check(
        "d usr/lib 755; l lib -> usr/lib | d lib 700",
        "lib/ 700; usr/; usr/lib/",
    );
    check(
        "d usr/lib 755; f usr/lib/x 1; l lib -> usr/lib | f .wh.lib 0",
        "usr/; usr/lib/; usr/lib/x 1",
    );
    check("d b 755; l a -> b/../b/../b | f a/x 1", "a -> b/../b/../b; b/; b/x 1");
    check("l self -> . | f self/self/x 1", "self -> .; x 1");
}

#[test]
fn escapes_from_the_root_are_refused() {
    for path in ["..", "../x", "a/../x", "a/../../x", "./../x", "a/.."] {
        check_refused(
            &format!("f {path} 1"),
            &format!("entry `{path}`: it escapes the image's root through `..`"),
        );
    }
    check_refused(
        "f /etc/passwd 1",
        "entry `/etc/passwd`: an absolute path escapes the image's root",
    );
    let through = "entry `out/passwd`: it escapes the image's root through `..` in the symbolic link `../../etc`";
    check_refused("l out -> ../../etc | f out/passwd 1", through);
    check_refused(
        "l out -> ../../etc | f out/.wh.passwd 1",
        "entry `out/.wh.passwd`: it escapes the image's root through `..` in the symbolic link `../../etc`",
    );
    check_refused(
        "f a 1; l out -> /.. ; h b = out/a",
        "entry `b`: it escapes the image's root through `..` in the symbolic link `/..`",
    );
    check_refused(
        "l a -> b; l b -> a | f a/x 1",
        "entry `a/x`: more than 40 symbolic links lie on its path",
    );
    check_refused(
        "l a -> a/a | f a/x 1",
        "entry `a/x`: more than 40 symbolic links lie on its path",
    );
    check(
        "l out -> ../../etc; l abs -> /etc/passwd",
        "abs -> /etc/passwd; out -> ../../etc",
    );
}

#[test]
fn forty_symbolic_links_are_followed() {
    let chain = |links: usize| {
        let entries = (0..links).map(|number| format!("l {number} -> {}", number + 1));
        let entries = entries.chain([format!("d {links} 755"), "f 0/x 1".to_owned()]);
        build(&entries.collect::<Vec<_>>().join(";"))
    };
    assert!(chain(40).is_ok());
    assert!(matches!(
        chain(41),
        Err(TreeError {
            fault: TreeFault::TooManyLinks { .. },
            ..
        })
    ));
}

#[test]
fn parents_that_are_no_directories_are_refused() {
    check_refused("f a 1; f a/x 1", "entry `a/x`: its parent `a` is not a directory");
    check_refused("p a; d a/b/c 755", "entry `a/b/c`: its parent `a` is not a directory");
    check_refused(
        "l a -> none; f a/x 1",
        "entry `a/x`: a symbolic link on its path points to `none`, which does not exist",
    );
    check("l a -> none; f a/.wh.x 0", "a -> none");
}

#[test]
fn the_root_stays_a_directory() {
    for root in ["f ./ 1", "l . -> a", "h / = a", "p ."] {
        let error = build(&format!("f a 1; {root}")).expect_err(root);
        assert_eq!(error.fault, TreeFault::RootNotDirectory, "{root}");
    }
}

#[test]
fn names_paths_and_targets_have_the_limits_of_linux() {
    let name = "n".repeat(255);
    check(&format!("f {name} 1"), &format!("{name} 1"));
    let fault = |entries: &str| build(entries).expect_err("too long").fault;
    let name_length = TreeFault::NameLength {
        bytes: 256,
        bytes_max: 255,
    };
    assert_eq!(fault(&format!("f n{name} 1")), name_length);
    assert_eq!(fault(&format!("f n{name}/x 1")), name_length);
    let path = |bytes: usize| "d/".repeat(bytes / 2) + &"x".repeat(bytes % 2);
    assert!(build(&format!("f {} 1", path(4095))).is_ok());
    assert_eq!(
        fault(&format!("d {} 755", path(4096))),
        TreeFault::PathLength {
            bytes: 4096,
            bytes_max: 4095
        }
    );
    assert!(build(&format!("l a -> {}", path(4095))).is_ok());
    assert_eq!(
        fault(&format!("l a -> {}", path(4096))),
        TreeFault::SymlinkLength {
            bytes: 4096,
            bytes_max: 4095
        }
    );
    assert_eq!(fault("f a/b\0c 1"), TreeFault::NulByte);
    assert_eq!(fault("l a -> b\0c"), TreeFault::NulByte);
    let empty = LayerEntry {
        kind: EntryKind::Symlink(vec![]),
        ..entry("p a")
    };
    let error = apply([vec![empty]].into_iter(), LIMITS).expect_err("empty target");
    assert_eq!(
        error.fault,
        TreeFault::SymlinkLength {
            bytes: 0,
            bytes_max: 4095
        }
    );
}

#[test]
fn symbolic_links_make_no_deeper_trees_than_paths_reach() {
    let deep = vec!["d"; 2000].join("/");
    let build_below = |depth: usize| {
        build(&format!(
            "d {deep} 755; l s -> {deep} | d s/{} 755",
            vec!["e"; depth].join("/")
        ))
    };
    assert!(build_below(48).is_ok());
    assert_eq!(
        build_below(49).expect_err("too deep").fault,
        TreeFault::TooDeep { depth_max: 2048 }
    );
}

#[test]
fn limits_hold_for_bytes_and_entries() {
    let build = |layers: &str, entries_max: u64| {
        let layers = layers.split('|').map(|layer| layer.split(';').map(entry).collect());
        apply(
            layers,
            TreeLimits {
                unpacked_bytes_max: 100,
                entries_max,
            },
        )
    };
    assert!(build("f a 60; f b 40", 2).is_ok());
    let fault = |layers: &str, entries_max| build(layers, entries_max).expect_err("beyond the limit").fault;
    assert_eq!(fault("f a 60; f b 41", 2), TreeFault::TooManyBytes { bytes_max: 100 });
    assert_eq!(fault("f a 60 | f a 41", 2), TreeFault::TooManyBytes { bytes_max: 100 });
    assert_eq!(
        fault("f a 1; f b 1 | f .wh.a 0", 2),
        TreeFault::TooManyEntries { entries_max: 2 }
    );
    // A parent that no entry mentions takes memory as well: one path could make two thousand.
    assert_eq!(fault("f a/b/c/d 1", 3), TreeFault::TooManyEntries { entries_max: 3 });
    assert!(build("f a/b/c/d 1", 4).is_ok());
    let file = |content| {
        vec![LayerEntry {
            kind: EntryKind::File(content),
            ..entry("p f")
        }]
    };
    let pieces = (0..3)
        .map(|run| Piece {
            file_offset: run * 10,
            layer_offset: 512 + run,
            bytes: 1,
        })
        .collect::<Vec<_>>();
    let sparse = || {
        file(Content {
            bytes: 100,
            pieces: pieces.clone(),
        })
    };
    let limits = |entries_max| TreeLimits {
        unpacked_bytes_max: 100,
        entries_max,
    };
    assert!(apply([sparse()].into_iter(), limits(3)).is_ok());
    assert!(apply([sparse()].into_iter(), limits(2)).is_err());
    let huge = file(Content {
        bytes: u64::MAX,
        pieces: vec![],
    });
    let error = apply(
        [huge].into_iter(),
        TreeLimits {
            unpacked_bytes_max: u64::MAX,
            entries_max: 9,
        },
    )
    .expect_err("too large");
    assert!(matches!(error.fault, TreeFault::FileTooLarge { bytes: u64::MAX, .. }));
}

#[test]
fn attributes_are_kept_once_for_all_files_that_have_them() {
    let with = |text: &str, value: &[u8]| {
        let xattrs = Xattrs {
            stored: vec![Xattr::new(1, b"a", value.to_vec())],
            ignored: vec![],
        };
        LayerEntry { xattrs, ..entry(text) }
    };
    let (tree, _) = apply(
        [vec![
            with("f a 1", b"1"),
            with("d b 755", b"1"),
            with("f c 1", b"2"),
            with("d ./ 755", b"1"),
        ]]
        .into_iter(),
        LIMITS,
    )
    .expect("valid");
    let of = |name: &[u8]| {
        tree.node(
            tree.children(Tree::ROOT)
                .find(|child| child.0 == name)
                .expect("it is there")
                .1,
        )
        .xattrs
    };
    assert_eq!(of(b"a"), of(b"b"));
    assert_eq!(of(b"a"), tree.node(Tree::ROOT).xattrs);
    assert_eq!(tree.xattrs(of(b"c")), [Xattr::new(1, b"a", b"2".to_vec())]);
    assert_eq!(tree.xattr_sets_len(), 3);
    let error = apply([vec![with("f a 1", &[0; 4100])]].into_iter(), LIMITS).expect_err("ext4 has no room");
    assert_eq!(
        error.to_string(),
        "entry `a`: 4101 bytes of extended attributes; ext4 holds about 4,000 for each file"
    );
}

#[test]
fn what_is_left_out_is_said() {
    let (tree, warnings) = build("f a 1; s run/docker.sock").expect("only a warning");
    assert_eq!(show(&tree), "a 1; run/");
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        warnings[0].to_string(),
        "`run/docker.sock` ignored: a socket or other file of tar type 's'"
    );
    let xattrs = Xattrs {
        stored: vec![],
        ignored: vec![b"SCHILY.xattr.com.apple.x".to_vec()],
    };
    let (_, warnings) = apply(
        [vec![LayerEntry {
            xattrs,
            ..entry("f a 1")
        }]]
        .into_iter(),
        LIMITS,
    )
    .expect("only a warning");
    assert_eq!(
        warnings[0].to_string(),
        "`a`: attribute `SCHILY.xattr.com.apple.x` ignored: not a name that Linux stores"
    );
}

#[test]
fn content_is_remembered_by_its_place() {
    let content = |pieces: &[(u64, u64)], bytes| {
        let pieces = pieces.iter().map(|(offset, bytes)| Piece {
            file_offset: *offset,
            layer_offset: 512,
            bytes: *bytes,
        });
        let file = LayerEntry {
            kind: EntryKind::File(Content {
                bytes,
                pieces: pieces.collect(),
            }),
            ..entry("p f")
        };
        let (tree, _) = apply([vec![], vec![file]].into_iter(), LIMITS).expect("valid");
        match &tree.node(NodeId(1)).kind {
            NodeKind::File {
                content: FileContent::Hole,
                ..
            } => "hole",
            NodeKind::File {
                content:
                    FileContent::Dense {
                        layer: LayerNumber(1),
                        offset: 512,
                    },
                ..
            } => "dense",
            NodeKind::File {
                content: FileContent::Sparse {
                    layer: LayerNumber(1), ..
                },
                ..
            } => "sparse",
            kind => panic!("{kind:?}"),
        }
    };
    assert_eq!(content(&[], 0), "hole");
    assert_eq!(content(&[], 5000), "hole");
    assert_eq!(content(&[(0, 5)], 5), "dense");
    assert_eq!(content(&[(0, 5)], 6), "sparse");
    assert_eq!(content(&[(1, 5)], 6), "sparse");
}

#[test]
fn messages_show_hostile_names_escaped_and_cut() {
    let shown = DisplayPath(&[b"\x1b[31m\n\xff".as_slice(), &[b'x'; 400]].concat()).to_string();
    assert!(shown.starts_with("`\\x1b[31m\\n\\xffxxx") && shown.ends_with("x…`") && shown.len() < 330);
}

/// Directories `a`, `b`, `a/b` and files `x`, `y` in them: whatever the order, no entry meets one of another kind.
fn puts() -> impl Strategy<Value = Vec<String>> {
    let directory = prop::sample::select(vec!["", "a/", "b/", "a/b/"]);
    let put = (directory, 0..4_u8, 1..9_u32).prop_map(|(directory, kind, number)| match kind {
        0 if !directory.is_empty() => format!("d {directory} 70{}", number % 8),
        1 => format!("f {directory}y {number}"),
        _ => format!("f {directory}x {number}"),
    });
    proptest::collection::vec(put, 0..8)
}

fn whiteouts() -> impl Strategy<Value = Vec<String>> {
    let path = prop::sample::select(vec![
        ".wh.a",
        ".wh.b",
        ".wh.x",
        "a/.wh.x",
        "a/.wh.b",
        "a/b/.wh.y",
        "b/.wh.x",
        ".wh..wh..opq",
        "a/.wh..wh..opq",
    ]);
    proptest::collection::vec(path.prop_map(|path| format!("f {path} 0")), 0..5)
}

proptest! {
    #[test]
    fn whiteouts_work_the_same_wherever_they_stand(
        lower in puts(), upper in puts(), whiteouts in whiteouts(), places in proptest::collection::vec(any::<prop::sample::Index>(), 5),
    ) {
        let first = format!("{}|{}", lower.join(";"), [whiteouts.clone(), upper.clone()].concat().join(";"));
        let mut mixed = upper;
        for (whiteout, place) in whiteouts.into_iter().zip(places) {
            mixed.insert(place.index(mixed.len() + 1), whiteout);
        }
        let mixed = format!("{}|{}", lower.join(";"), mixed.join(";"));
        let show_all = |layers: &str| show(&build(layers).expect("no entry is refused").0);
        prop_assert_eq!(show_all(&mixed), show_all(&first), "{} and {}", mixed, first);
    }
}

#[test]
fn device_numbers_have_the_widths_of_linux() {
    let put = |major, minor| {
        let mut device = entry("p disk");
        device.kind = EntryKind::BlockDevice(crate::layer::DeviceNumber { major, minor });
        let mut builder = TreeBuilder::new(TreeLimits {
            unpacked_bytes_max: 1,
            entries_max: 1,
        });
        builder.apply(device).map_err(|error| error.fault)
    };
    assert_eq!(put(4_095, 1_048_575), Ok(vec![]));
    for (major, minor) in [(4_096, 0), (0, 1_048_576), (u32::MAX, u32::MAX)] {
        assert_eq!(put(major, minor), Err(TreeFault::DeviceNumber { major, minor }));
    }
}
