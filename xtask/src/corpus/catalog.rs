//! The list of images: what each is made from and how.

/// One image of the corpus.
pub(super) struct Image {
    /// Name of its folder.
    pub(super) name: &'static str,
    /// To be raised when the recipe or its assets change, so that caches of old recipes are built again.
    pub(super) recipe_version: u32,
    /// The image that it is made from. Parents stand before their children in [`IMAGES`].
    pub(super) parent: Option<&'static str>,
    /// How it is made from its parent.
    pub(super) recipe: Recipe,
    /// What runs in the unpacked image to see that it works; it must print [`READY`].
    pub(super) check: &'static [&'static str],
}

/// The word that a working application prints.
pub(super) const READY: &str = "ready";

/// How an image comes to be.
pub(super) enum Recipe {
    /// A minimal Debian with Python.
    Base,
    /// The parent, a layer of PyPI packages and a layer with an application. Both are described in `assets/NAME`.
    Application,
    /// The parent and a layer of PyPI packages: a base for zips.
    Runtime,
    /// The parent and a layer with Node.js and Lambda's client for it: a base for zips.
    NodeRuntime,
    /// The parent and a layer with a Lambda handler and the runtime client.
    Function,
    /// The parent with gzip layers.
    Gzip,
    /// The parent, built again on a later day: other modification times and nothing else.
    Rebuild,
    /// The parent with one file of the application edited.
    EditedFile(Edit),
    /// The parent with one dependency upgraded.
    UpgradedDependency(Edit),
}

/// One replacement of text in a file of the assets.
pub(super) struct Edit {
    /// Path below the application's assets.
    pub(super) file: &'static str,
    /// Text that occurs exactly once.
    pub(super) before: &'static str,
    /// What stands there afterwards.
    pub(super) after: &'static str,
}

const BASE_CHECK: &[&str] = &["python3", "-c", "import ssl, sqlite3, zlib; print('ready')"];
const APPLICATION_CHECK: &[&str] = &["python3", "app.py"];
const RUNTIME_CHECK: &[&str] = &["python3", "-c", "import awslambdaric; print('ready')"];
const NODE_CHECK: &[&str] = &[
    "node",
    "--eval",
    // The module ends the process without an address.
    "process.env.AWS_LAMBDA_RUNTIME_API = '127.0.0.1:1'; \
     require('/usr/local/lib/node_modules/aws-lambda-ric/dist/rapid-client.node'); console.log('ready')",
];
const FUNCTION_CHECK: &[&str] = &["python3", "/function/handler.py"];

const FEATURES_EDIT: Edit = Edit {
    file: "app/inference/features.py",
    before: "VALUE_MAX = 10_000.0",
    after: "VALUE_MAX = 12_000.0",
};
const SCIPY_UPGRADE: Edit = Edit {
    file: "requirements.txt",
    before: "scipy==1.14.0",
    after: "scipy==1.14.1",
};

/// Every image, parents first.
pub(super) const IMAGES: &[Image] = &[
    Image {
        name: "base",
        recipe_version: 1,
        parent: None,
        recipe: Recipe::Base,
        check: BASE_CHECK,
    },
    application("sklearn", 1),
    application("onnx", 1),
    application("tensorflow", 1),
    of_sklearn("sklearn-rebuild", 1, Recipe::Rebuild),
    of_sklearn("sklearn-app", 1, Recipe::EditedFile(FEATURES_EDIT)),
    of_sklearn("sklearn-dep", 1, Recipe::UpgradedDependency(SCIPY_UPGRADE)),
    Image {
        name: "python-runtime",
        recipe_version: 1,
        parent: Some("base"),
        recipe: Recipe::Runtime,
        check: RUNTIME_CHECK,
    },
    Image {
        name: "node-runtime",
        recipe_version: 1,
        parent: Some("base"),
        recipe: Recipe::NodeRuntime,
        check: NODE_CHECK,
    },
    function("sklearn-function", "sklearn"),
    function("onnx-function", "onnx"),
    gzip("base-gzip", "base", BASE_CHECK),
    gzip("sklearn-gzip", "sklearn", APPLICATION_CHECK),
    gzip("tensorflow-gzip", "tensorflow", APPLICATION_CHECK),
];

const fn application(name: &'static str, recipe_version: u32) -> Image {
    Image {
        name,
        recipe_version,
        parent: Some("base"),
        recipe: Recipe::Application,
        check: APPLICATION_CHECK,
    }
}

const fn function(name: &'static str, parent: &'static str) -> Image {
    Image {
        name,
        recipe_version: 1,
        parent: Some(parent),
        recipe: Recipe::Function,
        check: FUNCTION_CHECK,
    }
}

const fn of_sklearn(name: &'static str, recipe_version: u32, recipe: Recipe) -> Image {
    Image {
        name,
        recipe_version,
        parent: Some("sklearn"),
        recipe,
        check: APPLICATION_CHECK,
    }
}

const fn gzip(name: &'static str, parent: &'static str, check: &'static [&'static str]) -> Image {
    Image {
        name,
        recipe_version: 1,
        parent: Some(parent),
        recipe: Recipe::Gzip,
        check,
    }
}

/// The names that the command line accepts.
pub(super) fn names() -> Vec<&'static str> {
    IMAGES.iter().map(|image| image.name).collect()
}

/// The named images and all that they are made from, parents first; every image when no name is given.
pub(super) fn with_parents(only: &[String]) -> Vec<&'static Image> {
    let mut wanted: Vec<&str> = only.iter().map(String::as_str).collect();
    for image in IMAGES.iter().rev().filter(|_| !only.is_empty()) {
        if wanted.contains(&image.name) {
            wanted.extend(image.parent);
        }
    }
    IMAGES
        .iter()
        .filter(|image| only.is_empty() || wanted.contains(&image.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_brings_its_parents_in_building_order() {
        let names = |only: &[&str]| -> Vec<_> {
            let only: Vec<_> = only.iter().map(|name| (*name).to_owned()).collect();
            with_parents(&only).iter().map(|image| image.name).collect()
        };
        assert_eq!(names(&["sklearn-dep"]), ["base", "sklearn", "sklearn-dep"]);
        assert_eq!(names(&["onnx", "base"]), ["base", "onnx"]);
        assert_eq!(names(&[]).len(), IMAGES.len());
    }
}
