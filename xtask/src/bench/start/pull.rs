//! The baseline: an image comes from a registry as a whole, is unpacked, and only then runs.
//!
//! Two ways. skopeo and umoci are tools that people use; `umoci raw unpack` leaves out the list of checksums that
//! `umoci unpack` makes for later. The second is the fastest that we know: each layer streams from curl into tar, so
//! that nothing is written twice and unpacking overlaps with the network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::far::{Delay, FarProxy};
use super::link::Link;
use crate::bench::measure::shell;
use crate::process;
use crate::registry::Registry;

const PORT: u16 = 5000;

/// A registry with gzip layers behind the link, and the same images in a folder of this machine.
pub(super) struct Pulls {
    registry: Registry,
    pub(super) proxy: FarProxy,
    /// Images as a pull leaves them.
    layouts: PathBuf,
    /// Where a pull goes.
    work: PathBuf,
}

impl Pulls {
    /// Starts the registry over a folder, which should be in memory; what is pulled goes to `work`, on disk.
    pub(super) fn start(link: &Link, folder: &Path, work: &Path, delay: &Delay) -> Result<Self> {
        let registry = Registry::start_through(folder, &["nsenter", &format!("--net={}", link.namespace().display())])?;
        let proxy = FarProxy::start(link, PORT, &registry.host, delay)?;
        let (layouts, work) = (work.join("layouts"), work.join("pulled"));
        fs::create_dir_all(&layouts)?;
        Ok(Self {
            registry,
            proxy,
            layouts,
            work,
        })
    }

    /// Brings an image of the corpus into the registry, which compresses its layers, and from there into the folder.
    pub(super) fn add(&self, link: &Link, corpus: &Path, image: &str) -> Result<()> {
        let registry = format!("docker://{}/{image}:latest", self.registry.host);
        let mut push = link.far("skopeo");
        push.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
            .args(["--dest-compress-format", "gzip"])
            .arg(format!("oci:{}:latest", corpus.join(image).display()))
            .arg(&registry);
        process::run(&mut push)?;
        let mut pull = link.far("skopeo");
        pull.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"])
            .arg(&registry)
            .arg(format!("oci:{}:latest", self.layouts.join(image).display()));
        process::run(&mut pull).map(|_| ())
    }

    /// Pulls over the link, then unpacks; gives the root.
    pub(super) fn pull_and_unpack(&self, image: &str) -> Result<PathBuf> {
        let layout = self.work.join("layout");
        let mut pull = Command::new("skopeo");
        pull.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"])
            .arg(format!("docker://{}/{image}:latest", self.proxy.address))
            .arg(format!("oci:{}:latest", layout.display()));
        process::run(&mut pull)?;
        self.unpack(&layout)
    }

    /// Unpacks what a pull has left on this machine; gives the root.
    pub(super) fn unpack_local(&self, image: &str) -> Result<PathBuf> {
        self.unpack(&self.layouts.join(image))
    }

    /// Streams each layer over the link into tar; gives the root.
    pub(super) fn stream_and_unpack(&self, image: &str) -> Result<PathBuf> {
        let url = format!("http://{}/v2/{image}/blobs", self.proxy.address);
        self.untar(image, |digest| format!("curl --silent --fail {url}/{digest}"))
    }

    /// Streams each layer of this machine into tar; gives the root.
    pub(super) fn untar_local(&self, image: &str) -> Result<PathBuf> {
        let blobs = self.layouts.join(image).join("blobs");
        self.untar(image, |digest| {
            format!("cat {}", blobs.join(digest.replace(':', "/")).display())
        })
    }

    /// Removes what a pull has made.
    pub(super) fn clean(&self) -> Result<()> {
        if self.work.exists() {
            fs::remove_dir_all(&self.work)?;
        }
        fs::create_dir_all(&self.work).context("making a folder for pulled images")
    }

    fn unpack(&self, layout: &Path) -> Result<PathBuf> {
        let root = self.work.join("root");
        let mut unpack = Command::new("umoci");
        unpack
            .args(["raw", "unpack", "--image", &format!("{}:latest", layout.display())])
            .arg(&root);
        process::run(&mut unpack)?;
        Ok(root)
    }

    fn untar(&self, image: &str, fetch: impl Fn(&str) -> String) -> Result<PathBuf> {
        let root = self.work.join("root");
        let untar = format!(
            "tar -xzf - --numeric-owner --xattrs --xattrs-include='*' -C {}",
            root.display()
        );
        let mut script = format!("mkdir {}\n", root.display());
        for digest in self.layers(image)? {
            script += &format!("{} | {untar}\n", fetch(&digest));
        }
        process::run(&mut shell(&script))?;
        Ok(root)
    }

    fn layers(&self, image: &str) -> Result<Vec<String>> {
        let layout = self.layouts.join(image);
        let index = json(&layout.join("index.json"))?;
        let manifest = index["manifests"][0]["digest"]
            .as_str()
            .context("a layout has an image")?;
        let manifest = json(&layout.join("blobs").join(manifest.replace(':', "/")))?;
        let layers = manifest["layers"].as_array().context("an image has layers")?;
        let digests = layers.iter().map(|layer| layer["digest"].as_str().map(str::to_owned));
        digests.collect::<Option<_>>().context("layers have digests")
    }
}

fn json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("parsing {}", path.display()))
}
