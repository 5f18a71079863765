//! The corpus: is the image right, is it the same every time, and is what should be shared shared?

use crate::judges::{assert_equals_umoci, hash};
use crate::lambent::{Lambent, corpus};
use serde_json::Value;

#[test]
fn a_pushed_image_is_what_umoci_unpacks() {
    for name in ["base", "sklearn"] {
        let lambent = Lambent::new();
        let source = corpus(name);
        lambent.push(&source, name);
        assert_equals_umoci(&lambent, name, source.strip_prefix("oci:").unwrap());
    }
}

#[test]
fn neither_threads_nor_compressed_layers_change_a_byte() {
    let (plain, gzip) = (corpus("sklearn"), corpus("sklearn-gzip"));
    let hashes = [(&plain, "1"), (&plain, "4"), (&gzip, "2")].map(|(source, threads)| {
        // A store of its own each time: what one push stored must not stand in for another's.
        let lambent = Lambent::new();
        let report = lambent.json(&["push", source, "--name", "image", "--threads", threads]);
        assert_eq!(report["threads"].to_string(), threads);
        hash(&lambent.export("image"))
    });
    assert_eq!(hashes[0], hashes[1], "one thread and four");
    assert_eq!(hashes[0], hashes[2], "plain and gzip layers");
}

#[test]
fn what_did_not_change_is_not_stored_again() {
    let lambent = Lambent::new();
    let number = |report: &Value, field: &str| report[field].as_u64().unwrap();
    let first = lambent.push(&corpus("sklearn"), "first");
    assert!(number(&first, "chunks_new") > 0);

    let again = lambent.push(&corpus("sklearn"), "again");
    assert_eq!((number(&again, "chunks_new"), number(&again, "stored_bytes")), (0, 0));

    let rebuild = lambent.push(&corpus("sklearn-rebuild"), "rebuild");
    assert!(
        number(&rebuild, "chunks_new") <= number(&rebuild, "metadata_chunks"),
        "{rebuild}"
    );

    let app = lambent.push(&corpus("sklearn-app"), "app");
    let stored = lambent.json(&["inspect", "app"])["stored_bytes"].as_u64().unwrap();
    assert!(
        number(&app, "stored_bytes") * 1000 <= stored * 25,
        "at most 2.5 %: {app}"
    );

    let compared = lambent.json(&["compare", "first", "again"]);
    assert_eq!(compared["only_first"]["chunks"], 0);
    assert_eq!(compared["only_second"]["chunks"], 0);
}
