//! The map in ARCHITECTURE.md is the truth: its table of crates has the edges that cargo sees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

type Edges = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_map_has_the_edges_that_cargo_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is readable");
    assert_eq!(drawn(&text), actual(&root));
}

/// Rows of the table after the marker: `crate` in the first column, its dependencies in the second.
fn drawn(text: &str) -> Edges {
    let (_, table) = text
        .split_once("<!-- edges")
        .expect("ARCHITECTURE.md has the marker of the table");
    let names = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let rows = table.lines().skip(3).take_while(|line| line.starts_with('|'));
    let edges = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (names(cells[1])[0].clone(), names(cells[2]).into_iter().collect())
    });
    edges.collect()
}

/// Normal dependencies among the members of the workspace.
fn actual(root: &Path) -> Edges {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &serde_json::Value| value["name"].as_str().expect("a name").to_owned();
    let members: BTreeSet<String> = packages.iter().map(name).collect();
    let edges = packages.iter().map(|package| {
        let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
        let normal = dependencies.filter(|dependency| dependency["kind"].is_null()).map(name);
        (name(package), normal.filter(|name| members.contains(name)).collect())
    });
    edges.collect()
}
