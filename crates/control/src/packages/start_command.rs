//! How a runtime's base image starts a function: found by looking at the image's files, without running any of them.

use image::device::FlattenError;
use image::layer::LayerReader;
use image::read_at::FileRange;
use image::tree::{LayerNumber, NodeId, NodeKind, Tree, TreeBuilder, TreeLimits};

/// Linux's MAXSYMLINKS.
const LINKS_FOLLOWED_MAX: u32 = 40;

/// What containers take where an image sets no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where npm and AWS's images keep global packages.
const NODE_MODULES: [&str; 4] = [
    "/usr/local/lib/node_modules",
    "/usr/lib/node_modules",
    "/var/runtime/node_modules",
    "/opt/nodejs/node_modules",
];

/// The program of aws-lambda-ric in its package: version 4, versions 3 and 2.
const NODE_PROGRAMS: [&str; 3] = ["index.mjs", "bin/index.mjs", "bin/index.js"];

/// Merges the layers of an image.
pub(super) fn tree_of(layers: &[FileRange], limits: TreeLimits) -> Result<Tree, FlattenError> {
    let mut builder = TreeBuilder::new(limits);
    for (number, layer) in layers.iter().enumerate() {
        let at = number + 1;
        builder.start_layer(LayerNumber(
            u16::try_from(number).expect("sources refuse more than 1,000 layers"),
        ));
        let mut reader = LayerReader::new(layer);
        while let Some(entry) = reader
            .next_entry()
            .map_err(|source| FlattenError::Layer { layer: at, source })?
        {
            let applied = builder.apply(entry);
            applied.map_err(|source| FlattenError::Entry { layer: at, source })?;
        }
    }
    Ok(builder.finish())
}

/// The arguments that start a function of this runtime; or what the image lacks, and how to install it. `path` is the
/// image's PATH.
pub(super) fn start_command(runtime: &str, tree: &Tree, path: Option<&str>) -> Result<Vec<String>, String> {
    let files = Files { tree };
    if runtime.starts_with("provided.") {
        return Ok(vec!["/var/task/bootstrap".to_owned()]);
    }
    if files.is_file("/var/runtime/bootstrap") {
        // AWS's own base image. Its entry point takes the handler as an argument, as ours is given.
        let entry = ["/lambda-entrypoint.sh", "/var/runtime/bootstrap"];
        let entry = entry.into_iter().find(|path| files.is_file(path));
        return Ok(vec![entry.unwrap_or("/var/runtime/bootstrap").to_owned()]);
    }
    let path = path.unwrap_or(DEFAULT_PATH);
    if runtime.starts_with("python") {
        return python(&files, path);
    }
    if runtime.starts_with("nodejs") {
        return node(&files, path);
    }
    Err("it has no /var/runtime/bootstrap: use AWS's base image of this runtime (public.ecr.aws/lambda/…)".to_owned())
}

fn python(files: &Files<'_>, path: &str) -> Result<Vec<String>, String> {
    let python = files
        .program("python3", path)
        .ok_or_else(|| format!("it has no python3 on its PATH ({path})"))?;
    let has_client = files.any_directory("awslambdaric", "__main__.py");
    if !has_client {
        return Err("it has no awslambdaric: add `RUN pip install awslambdaric` to its Dockerfile".to_owned());
    }
    Ok(vec![python, "-m".to_owned(), "awslambdaric".to_owned()])
}

fn node(files: &Files<'_>, path: &str) -> Result<Vec<String>, String> {
    let node = files
        .program("node", path)
        .ok_or_else(|| format!("it has no node on its PATH ({path})"))?;
    let places = NODE_MODULES.iter().flat_map(|modules| {
        NODE_PROGRAMS
            .iter()
            .map(move |program| format!("{modules}/aws-lambda-ric/{program}"))
    });
    let client = places.into_iter().find(|path| files.is_file(path));
    let client = client.ok_or_else(|| {
        "it has no aws-lambda-ric: add `RUN npm install -g aws-lambda-ric` to its Dockerfile".to_owned()
    })?;
    Ok(vec![node, client])
}

/// Paths of a tree, links followed inside it.
struct Files<'a> {
    tree: &'a Tree,
}

impl Files<'_> {
    fn is_file(&self, path: &str) -> bool {
        let node = self.find(path.as_bytes());
        node.is_some_and(|node| matches!(self.tree.node(node).kind, NodeKind::File { .. }))
    }

    /// The first file of that name in the directories of a PATH that somebody may run.
    fn program(&self, name: &str, path: &str) -> Option<String> {
        let candidates = path.split(':').filter(|directory| directory.starts_with('/'));
        let mut candidates = candidates.map(|directory| format!("{}/{name}", directory.trim_end_matches('/')));
        candidates.find(|path| {
            let node = self.find(path.as_bytes()).map(|node| self.tree.node(node));
            node.is_some_and(|node| matches!(node.kind, NodeKind::File { .. }) && node.metadata.mode & 0o111 != 0)
        })
    }

    /// Whether any directory of that name holds a file of that name.
    fn any_directory(&self, directory: &str, file: &str) -> bool {
        let mut open = vec![Tree::ROOT];
        while let Some(node) = open.pop() {
            for (name, child) in self.tree.children(node) {
                if !self.tree.node(child).is_directory() {
                    continue;
                }
                let is_there = name == directory.as_bytes() && self.child(child, file.as_bytes()).is_some();
                if is_there {
                    return true;
                }
                open.push(child);
            }
        }
        false
    }

    fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        let mut children = self.tree.children(directory);
        children.find(|(child, _)| *child == name).map(|(_, node)| node)
    }

    fn find(&self, path: &[u8]) -> Option<NodeId> {
        let components = |path: &[u8]| {
            path.split(|byte| *byte == b'/')
                .rev()
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        };
        let mut left = components(path);
        let mut walked = vec![Tree::ROOT];
        let mut links = 0;
        while let Some(name) = left.pop() {
            match name.as_slice() {
                b"" | b"." => {}
                b".." => {
                    // The root's parent is the root.
                    walked.truncate(walked.len().saturating_sub(1).max(1));
                }
                name => {
                    let here = *walked.last().expect("the root stays");
                    let child = self.child(here, name)?;
                    let NodeKind::Symlink(target) = &self.tree.node(child).kind else {
                        walked.push(child);
                        continue;
                    };
                    links += 1;
                    if links > LINKS_FOLLOWED_MAX {
                        return None;
                    }
                    if target.starts_with(b"/") {
                        walked.truncate(1);
                    }
                    left.extend(components(target));
                }
            }
        }
        walked.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::tar_layer::{Attributes, LayerWriter};
    use std::io::Write;
    use std::sync::Arc;

    /// `path`, `path!` for a program, `path -> target`.
    fn tree(entries: &[&str]) -> Tree {
        let mut builder = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(if entry.ends_with('!') { 0o755 } else { 0o644 });
            header.set_size(0);
            match entry.split_once(" -> ") {
                Some((path, target)) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    builder.append_link(&mut header, path, target).unwrap();
                }
                None => builder
                    .append_data(&mut header, entry.trim_end_matches('!'), &b""[..])
                    .unwrap(),
            }
        }
        let bytes = builder.into_inner().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let limits = TreeLimits {
            unpacked_bytes_max: 1 << 20,
            entries_max: 1_000,
        };
        tree_of(&[FileRange::whole(Arc::new(file), 0, bytes.len() as u64)], limits).unwrap()
    }

    fn check(runtime: &str, entries: &[&str], path: Option<&str>, expected: &str) {
        let found = start_command(runtime, &tree(entries), path);
        let found = found.map_or_else(|lack| lack, |arguments| arguments.join(" "));
        assert!(found.contains(expected), "{runtime} {entries:?}: {found}");
    }

    #[test]
    fn start_commands_are_found_by_what_the_image_holds() {
        let ric = "usr/lib/python3/dist-packages/awslambdaric/__main__.py";
        let debian = [
            "usr/bin/python3.11!",
            "usr/bin/python3 -> python3.11",
            "bin -> usr/bin",
            ric,
        ];
        check("python3.11", &debian, None, "/usr/bin/python3 -m awslambdaric");
        check("python3.11", &debian, Some("/bin"), "/bin/python3 -m awslambdaric");
        check(
            "python3.11",
            &debian,
            Some("/opt/bin"),
            "no python3 on its PATH (/opt/bin)",
        );
        check("python3.11", &debian[..3], None, "pip install awslambdaric");
        check("python3.11", &["usr/bin/python3 -> python3", ric], None, "no python3");
        check("python3.11", &["usr/bin/python3", ric], None, "no python3");
        let node = [
            "usr/local/bin/node!",
            "usr/local/lib/node_modules/aws-lambda-ric/index.mjs",
        ];
        check(
            "nodejs22.x",
            &node,
            None,
            "/usr/local/bin/node /usr/local/lib/node_modules/aws-lambda-ric/index.mjs",
        );
        check("nodejs22.x", &node[..1], None, "npm install -g aws-lambda-ric");
        let aws = ["var/runtime/bootstrap!", "lambda-entrypoint.sh!"];
        check("python3.12", &aws, None, "/lambda-entrypoint.sh");
        check("ruby3.3", &aws[..1], None, "/var/runtime/bootstrap");
        check("ruby3.3", &debian, None, "AWS's base image");
        check("provided.al2023", &[], None, "/var/task/bootstrap");
    }

    #[test]
    fn hidden_files_and_links_out_of_the_image_find_nothing() {
        let escape = ["usr/bin/python3 -> ../../../../../../bin/sh"];
        check("python3.11", &escape, None, "no python3");
    }

    #[test]
    fn a_layer_that_is_written_here_can_be_read() {
        let scratch = tempfile::tempdir().unwrap();
        let mut writer = LayerWriter::create(scratch.path()).unwrap();
        let attributes = Attributes {
            mode: 0o755,
            modified: 7,
        };
        writer.file("a", attributes, (3, &mut &b"abc"[..])).unwrap();
        assert!(writer.finish().unwrap().digest().to_string().starts_with("sha256:"));
    }
}
