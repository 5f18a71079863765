"""Small container images of the handler, as OCI layouts that skopeo can copy."""

import hashlib
import io
import json
import subprocess
import tarfile

import support

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
PROCESSOR = {"x86_64": "amd64"}.get(support.ARCHITECTURE, support.ARCHITECTURE)


def write(folder, config, names=("bootstrap",), processor=PROCESSOR):
    """Writes the layout of an image that holds the handler under each name; `config` is what a Dockerfile would set."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def store(media_type, content):
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o755, len(support.bootstrap())
            archive.addfile(entry, io.BytesIO(support.bootstrap()))
    layer = store(LAYER, buffer.getvalue())
    rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
    document = {"architecture": processor, "os": "linux", "config": config, "rootfs": rootfs}
    parts = {"config": store(CONFIG, json.dumps(document).encode()), "layers": [layer]}
    manifest = store(MANIFEST, json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, **parts}).encode())
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def copy(layout, reference, key):
    """Copies an image into a registry without TLS; `key` is USER:PASSWORD."""
    words = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--dest-creds", key]
    subprocess.run([*words, f"oci:{layout}:latest", f"docker://{reference}"], check=True, capture_output=True)
