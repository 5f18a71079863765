//! Layers that change each other in every way, compared with what umoci makes of them.

use crate::judges::assert_equals_umoci;
use crate::lambent::Lambent;
use crate::layout::{Layer, Layout};

/// A layer of a directory `tree` that a script fills.
fn tree(script: &str) -> Layer {
    Layer::of(&format!(
        "mkdir tree; cd tree; {script}; tar --numeric-owner --xattrs --xattrs-include='*' -cf ../layer.tar *"
    ))
}

fn check(layers: &[Layer]) {
    let lambent = Lambent::new();
    let layout = Layout::write(&lambent.path("layout"), layers);
    lambent.push(&layout.source(), "image");
    assert_equals_umoci(&lambent, "image", layout.directory.to_str().unwrap());
}

#[test]
fn whiteouts_remove_what_lower_layers_have() {
    check(&[
        tree("mkdir -p a/b/c d; echo 1 >a/f; echo 2 >a/b/f; echo 3 >a/b/c/f; echo 4 >d/f; ln -s a link; echo 5 >keep"),
        tree("mkdir -p a/b; touch a/.wh.f a/b/.wh.c; shopt -s dotglob; touch .wh.link .wh.d"),
        tree("mkdir -p a/b/c; echo new >a/b/c/g; echo new >a/f"),
    ]);
}

#[test]
fn an_opaque_directory_hides_lower_layers_and_keeps_its_own() {
    check(&[
        tree("mkdir -p o/deep/er n; echo old >o/old; echo old >o/deep/er/old; echo old >n/old"),
        tree("mkdir -p o/deep; echo new >o/new; echo new >o/deep/new; touch o/.wh..wh..opq"),
        tree("mkdir n; touch n/.wh..wh..opq; echo later >n/.x"),
    ]);
}

#[test]
fn types_change_between_layers_and_back() {
    check(&[
        tree("mkdir -p x/in y; echo x >x/in/f; echo file >z; ln -s y link; mkfifo p"),
        tree("echo now-a-file >x; ln -s x y2; mkdir z; echo in >z/f; mkdir link; echo in >link/f; echo file >p"),
        tree("mkdir -p x; echo again >x/f; echo file >z; mknod link c 1 3; ln -s z p"),
    ]);
}

#[test]
fn hard_links_reach_into_lower_layers() {
    // GNU tar stores the second name as a link to the first; without the first entry the target is the lower layer's.
    let link = "echo shared >a; ln a b; tar --numeric-owner -cf layer.tar a b; tar --delete -f layer.tar a";
    check(&[
        tree("echo shared >a; ln a c; chmod 4755 a; chown 1234:5678 a; setfattr -n user.note -v x a"),
        Layer::of(link),
        tree("touch .wh.x; echo other >c; shopt -s dotglob"),
    ]);
}

#[test]
fn a_file_that_is_written_again_leaves_its_links() {
    check(&[
        tree("echo one >a; ln a b; ln a c; mkdir d; ln a d/e"),
        tree("echo two >a; mkdir d; chmod 700 d"),
        tree("echo three >b; touch -d '2001-02-03 04:05:06.789 UTC' b; setfattr -n user.k -v v b"),
    ]);
}
