use super::media_types::LAYER_TYPES;
use super::*;
use serde_json::{Value, json};

fn digest(byte: &str) -> String {
    format!("sha256:{}", byte.repeat(32))
}

fn blob(media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest("ab"), "size": 7})
}

fn manifest() -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPES[0], "config": blob(CONFIG_TYPES[0]),
           "layers": [blob(LAYER_TYPES[1])]})
}

fn with(mut document: Value, key: &str, value: Value) -> Vec<u8> {
    document[key] = value;
    document.to_string().into_bytes()
}

#[test]
fn oci_and_docker_documents_are_told_apart_by_their_fields() {
    for (config, layer) in [(CONFIG_TYPES[0], LAYER_TYPES[0]), (CONFIG_TYPES[1], LAYER_TYPES[4])] {
        let document = json!({"schemaVersion": 2, "config": blob(config), "layers": [blob(layer)]});
        let Document::Manifest(manifest) = decode_document(document.to_string().as_bytes()).unwrap() else {
            panic!("a manifest is a manifest");
        };
        assert_eq!((manifest.layers.len(), manifest.layers[0].bytes), (1, 7));
    }
    let mut entry = blob(MANIFEST_TYPES[1]);
    entry["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    let document = json!({"schemaVersion": 2, "manifests": [entry]});
    let Document::Index(index) = decode_document(document.to_string().as_bytes()).unwrap() else {
        panic!("an index is an index");
    };
    assert_eq!(index.manifests[0].platform, Some(Platform::new("linux", "arm64", None)));
    assert_eq!(index.manifests[0].reference_name.as_deref(), Some("latest"));
}

#[test]
fn what_is_not_an_image_is_refused_by_name() {
    let layers = |media_type: &str| with(manifest(), "layers", json!([blob(media_type)]));
    let mut bad_digest = blob(LAYER_TYPES[0]);
    bad_digest["digest"] = json!("sha384:../../etc/passwd");
    let many = vec![blob(LAYER_TYPES[0]); LAYERS_MAX + 1];
    let cases = [
        (with(manifest(), "schemaVersion", json!(1)), "a schema 1 manifest"),
        (
            with(manifest(), "schemaVersion", json!(3)),
            "schemaVersion 3 is not known",
        ),
        (
            with(
                manifest(),
                "mediaType",
                json!("application/vnd.docker.distribution.manifest.v1+prettyjws"),
            ),
            "a schema 1 manifest",
        ),
        (with(manifest(), "manifests", json!([])), "both an index and a manifest"),
        (
            with(manifest(), "mediaType", json!(INDEX_TYPES[0])),
            "an image manifest is expected",
        ),
        (
            with(manifest(), "config", blob("application/vnd.cncf.helm.config.v1+json")),
            "media type `application/vnd.cncf.helm.config.v1+json` is not known here",
        ),
        (
            layers("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            "is not distributed",
        ),
        (
            layers("application/vnd.oci.image.layer.nondistributable.v1.tar"),
            "is not distributed",
        ),
        (
            layers("application/vnd.oci.image.layer.v1.tar+encrypted"),
            "`application/vnd.oci.image.layer.v1.tar+encrypted`",
        ),
        (with(manifest(), "layers", json!([bad_digest])), "not valid"),
        (
            with(manifest(), "layers", json!(many)),
            "501 layers, and 500 are the most",
        ),
        (vec![b' '; DOCUMENT_BYTES_MAX + 1], "bytes of JSON"),
        (b"{".to_vec(), "not valid"),
    ];
    for (bytes, expected) in cases {
        let message = decode_document(&bytes).unwrap_err().to_string();
        assert!(message.contains(expected), "{message} lacks {expected}");
    }
}

#[test]
fn a_configuration_written_by_docker_is_read() {
    let text = json!({
        "architecture": "arm64", "variant": "v8", "os": "linux", "docker_version": "27",
        "config": {"Env": ["A=b"], "Cmd": null, "Volumes": null, "ExposedPorts": {"80/tcp": {}}, "OnBuild": null},
        "rootfs": {"type": "layers", "diff_ids": [digest("01")]},
        "history": [{"created_by": "x", "empty_layer": true}]
    });
    let config = decode_config(text.to_string().as_bytes()).unwrap();
    assert_eq!(config.diff_ids[0].to_string(), digest("01"));
    assert_eq!(config.platform, Some(Platform::new("linux", "arm64", None)));
    let bad = with(text, "rootfs", json!({"type": "layers", "diff_ids": ["sha256:12"]}));
    assert!(matches!(decode_config(&bad), Err(DecodeError::Digest(_))));
}

#[test]
fn docker_manifest_lists_images_with_their_members() {
    let text = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["a/layer.tar"]}]);
    let images = decode_docker_manifest(text.to_string().as_bytes()).unwrap();
    assert_eq!(images[0].layers, ["a/layer.tar"]);
    assert!(images[0].tags.is_empty());
}
