//! How each image is made from its parent.
//!
//! Every recipe fills a staging file system (`root`) in the work folder and packs parts of it as layers, or takes layers of
//! the parent apart and packs them again. An application image has three layers: Debian, PyPI packages (`usr/local`) and
//! the application (`app`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::catalog::{Edit, Image, Recipe};
use super::chroot::Inside;
use super::layer::{self, DAY_SECONDS, Day};
use super::layout::{Layer, Layout};
use super::python::{self, PACKAGES_FOLDER};
use super::{Site, debian, node, tree};

/// Days between the first build of an image and the builds that come after it.
const REBUILD_DAYS: u64 = 9;

const BASE_PATH: &str = ".";
const PACKAGES_PATH: &str = "usr/local";
const APPLICATION_PATH: &str = "app";
const FUNCTION_PATH: &str = "function";

const BASE_BY: &str = "debootstrap --variant=minbase";
const PACKAGES_BY: &str = "RUN pip install --requirement requirements.txt";
const NODE_BY: &str = "COPY node /usr/local/bin/; RUN npm install --global aws-lambda-ric";
const APPLICATION_BY: &str = "COPY app /app";
const FUNCTION_BY: &str = "RUN pip install --target /function awslambdaric; COPY handler.py /function";

/// Builds an image as an OCI layout inside the work folder.
pub(super) fn build(site: &Site<'_>, image: &Image, work: &Path) -> Result<Layout> {
    let stage = Stage {
        site,
        work,
        root: work.join("root"),
    };
    fs::create_dir(&stage.root).with_context(|| format!("creating {}", stage.root.display()))?;
    fs::set_permissions(&stage.root, fs::Permissions::from_mode(0o755))?;
    let mut layout = Layout::create(&work.join("layout"))?;
    let parent = image.parent.map(|name| Layout::open(&site.image(name))).transpose()?;
    let parent = parent.as_ref().context("the recipe needs a parent");
    match &image.recipe {
        Recipe::Base => stage.base(&mut layout)?,
        Recipe::Application => stage.application(&mut layout, parent?, image.name)?,
        Recipe::Runtime => stage.runtime(&mut layout, parent?, image.name)?,
        Recipe::NodeRuntime => stage.node_runtime(&mut layout, parent?, image.name)?,
        Recipe::Function => stage.function(&mut layout, parent?, image.name)?,
        Recipe::Gzip => stage.gzip(&mut layout, parent?)?,
        Recipe::Rebuild => stage.rebuild(&mut layout, parent?)?,
        Recipe::EditedFile(edit) => stage.edited_file(&mut layout, parent?, edit)?,
        Recipe::UpgradedDependency(edit) => stage.upgraded_dependency(&mut layout, parent?, edit)?,
    }
    let config = match image.recipe {
        Recipe::Function => function_config(),
        Recipe::Runtime | Recipe::NodeRuntime => run_config(1),
        _ => run_config(layout.layers().len()),
    };
    layout.finish(&config)?;
    Ok(layout)
}

/// The runtime part of a function's configuration, as AWS's pages write it for images that are not AWS's own.
fn function_config() -> Value {
    let path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";
    json!({
        "Env": [path, "LANG=C.UTF-8"],
        "Entrypoint": ["/usr/bin/python3", "-m", "awslambdaric"],
        "Cmd": ["handler.handler"],
        "WorkingDir": "/function",
    })
}

/// The runtime part of the configuration: a lone base layer has no application to run.
fn run_config(layers: usize) -> Value {
    let path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";
    let (folder, command) = if layers > 1 {
        ("/app", json!(["python3", "app.py"]))
    } else {
        ("/", json!(["python3"]))
    };
    json!({"Env": [path, "LANG=C.UTF-8"], "Cmd": command, "WorkingDir": folder})
}

/// The place where one image is made.
struct Stage<'a> {
    site: &'a Site<'a>,
    work: &'a Path,
    /// File system that recipes fill; empty at first.
    root: PathBuf,
}

impl Stage<'_> {
    fn base(&self, layout: &mut Layout) -> Result<()> {
        debian::build(self.site.cache, &self.root)?;
        self.pack_into(layout, BASE_PATH, Day::FIRST, BASE_BY)
    }

    fn application(&self, layout: &mut Layout, base: &Layout, name: &str) -> Result<()> {
        self.unpack_and_share(layout, base)?;
        let assets = assets(name);
        let requirements = read(&assets.join("requirements.txt"))?;
        self.install_packages(&requirements)?;
        // The list of requirements of the preparation: what it needs and the image does not.
        if let Ok(tools) = fs::read_to_string(assets.join("requirements-prepare.txt")) {
            let wheels = python::wheels(self.site.cache, &tools)?;
            python::install(&self.root, &wheels, &["--target=/tmp/tools"])?;
        }
        copy_application(&assets.join("app"), &self.root.join("app"))?;
        self.prepare(&assets)?;
        python::compile(&self.root, &["/app"])?;
        self.pack_into(layout, PACKAGES_PATH, Day::FIRST, PACKAGES_BY)?;
        self.pack_into(layout, APPLICATION_PATH, Day::FIRST, APPLICATION_BY)
    }

    fn runtime(&self, layout: &mut Layout, base: &Layout, name: &str) -> Result<()> {
        self.unpack_and_share(layout, base)?;
        self.install_packages(&read(&assets(name).join("requirements.txt"))?)?;
        self.pack_into(layout, PACKAGES_PATH, Day::FIRST, PACKAGES_BY)
    }

    fn node_runtime(&self, layout: &mut Layout, base: &Layout, name: &str) -> Result<()> {
        self.unpack_and_share(layout, base)?;
        node::install(self.site.cache, &assets(name), self.work, &self.root)?;
        self.pack_into(layout, PACKAGES_PATH, Day::FIRST, NODE_BY)
    }

    fn function(&self, layout: &mut Layout, application: &Layout, name: &str) -> Result<()> {
        self.unpack_and_share(layout, application)?;
        let (assets, folder) = (assets(name), self.root.join(FUNCTION_PATH));
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        let wheels = python::wheels(self.site.cache, &read(&assets.join("requirements.txt"))?)?;
        let target = format!("--target=/{FUNCTION_PATH}");
        python::install(&self.root, &wheels, &[&target])?;
        let handler = folder.join("handler.py");
        fs::copy(assets.join("handler.py"), &handler).with_context(|| format!("copying to {}", handler.display()))?;
        fs::set_permissions(&handler, fs::Permissions::from_mode(0o644))?;
        python::compile(&self.root, &[&format!("/{FUNCTION_PATH}")])?;
        self.pack_into(layout, FUNCTION_PATH, Day::FIRST, FUNCTION_BY)
    }

    fn gzip(&self, layout: &mut Layout, parent: &Layout) -> Result<()> {
        for layer in parent.layers() {
            let compressed = self.work.join("layer.gz");
            layer::compress(&parent.layer_path(layer), &compressed)?;
            layout.add_gzip(&compressed, layer)?;
        }
        Ok(())
    }

    /// Every layer with later times. Building from scratch would give this: wheels and Debian's packages are the same on
    /// another day, and what is generated from them depends on them alone. Taking the parent's files instead keeps a point
    /// release of Debian between two runs of this task from looking like an effect of the rebuild.
    fn rebuild(&self, layout: &mut Layout, parent: &Layout) -> Result<()> {
        for layer in parent.layers() {
            tree::empty(&self.root)?;
            layer::unpack(&parent.layer_path(layer), &self.root)?;
            tree::shift_times(&self.root, Duration::from_secs(REBUILD_DAYS * DAY_SECONDS))?;
            self.pack_into(
                layout,
                packed_path(layer)?,
                Day::FIRST.plus(REBUILD_DAYS),
                &layer.created_by,
            )?;
        }
        Ok(())
    }

    /// A developer's push: one source file differs, and with it the .pyc that is made from it. Both are a day younger.
    fn edited_file(&self, layout: &mut Layout, parent: &Layout, edit: &Edit) -> Result<()> {
        for layer in parent.layers() {
            layer::unpack(&parent.layer_path(layer), &self.root)?;
            if layer.created_by != APPLICATION_BY {
                layout.add_shared(parent, layer)?;
            }
        }
        let path = self.root.join(edit.file);
        let edited = apply(edit, &read(&path)?)?;
        fs::write(&path, edited).with_context(|| format!("writing {}", path.display()))?;
        python::compile(&self.root, &[&format!("/{}", edit.file)])?;
        self.pack_into(layout, APPLICATION_PATH, Day::FIRST.plus(1), APPLICATION_BY)
    }

    /// A new list of requirements makes a builder run the whole `pip install` again: all files of that layer are younger.
    fn upgraded_dependency(&self, layout: &mut Layout, parent: &Layout, edit: &Edit) -> Result<()> {
        let requirements = apply(edit, &read(&assets("sklearn").join(edit.file))?)?;
        for layer in parent.layers() {
            if layer.created_by == PACKAGES_BY {
                self.install_packages(&requirements)?;
                self.pack_into(layout, PACKAGES_PATH, Day::FIRST.plus(REBUILD_DAYS), PACKAGES_BY)?;
            } else {
                layer::unpack(&parent.layer_path(layer), &self.root)?;
                layout.add_shared(parent, layer)?;
            }
        }
        Ok(())
    }

    fn unpack_and_share(&self, layout: &mut Layout, parent: &Layout) -> Result<()> {
        for layer in parent.layers() {
            layer::unpack(&parent.layer_path(layer), &self.root)?;
            layout.add_shared(parent, layer)?;
        }
        Ok(())
    }

    fn install_packages(&self, requirements: &str) -> Result<()> {
        let wheels = python::wheels(self.site.cache, requirements)?;
        println!("  installing and compiling {} packages", requirements.lines().count());
        python::install(&self.root, &wheels, &[])?;
        python::compile(&self.root, &[PACKAGES_FOLDER])
    }

    /// Runs the image's own `prepare.py` inside it: it trains the model, or writes what PyPI does not carry.
    fn prepare(&self, assets: &Path) -> Result<()> {
        println!("  preparing the model");
        let script = self.root.join("tmp/prepare.py");
        fs::copy(assets.join("prepare.py"), &script).with_context(|| format!("copying to {}", script.display()))?;
        let inside = Inside {
            root: &self.root,
            folder: "/tmp",
            variables: &["PYTHONPATH=/tmp/tools"],
        };
        inside
            .run(&["python3", "/tmp/prepare.py"])
            .context("preparing the model")?;
        Ok(())
    }

    fn pack_into(&self, layout: &mut Layout, path: &str, day: Day, created_by: &str) -> Result<()> {
        let file = self.work.join("layer.tar");
        layer::pack(&self.root, path, day, &file)?;
        layout.add_tar(&file, created_by)
    }
}

/// Where the recipe's inputs are in the source tree; this task is always run from a checkout, through cargo.
fn assets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

/// Copies files with fixed modes, because those of a checkout depend on its user's umask.
fn copy_application(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| format!("creating {}", to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_application(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), &place).with_context(|| format!("copying {}", entry.path().display()))?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

/// What a layer was packed from.
fn packed_path(layer: &Layer) -> Result<&'static str> {
    match layer.created_by.as_str() {
        BASE_BY => Ok(BASE_PATH),
        PACKAGES_BY => Ok(PACKAGES_PATH),
        APPLICATION_BY => Ok(APPLICATION_PATH),
        other => bail!("no recipe makes a layer by `{other}`"),
    }
}

fn apply(edit: &Edit, text: &str) -> Result<String> {
    ensure!(
        text.matches(edit.before).count() == 1,
        "{} must hold {:?} once",
        edit.file,
        edit.before
    );
    Ok(text.replace(edit.before, edit.after))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
