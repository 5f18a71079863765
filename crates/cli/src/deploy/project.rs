//! What kind of function a directory holds.

use anyhow::{Result, bail};
use std::fs;
use std::path::Path;

/// The language decides how dependencies are installed and how a handler is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
    /// A program that speaks the Runtime API itself.
    Bootstrap,
}

/// What was found in a directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Project {
    pub(crate) language: Language,
    /// `FILE.FUNCTION`.
    pub(crate) handler: String,
}

/// Python files that may hold the handler, the likeliest first.
const PYTHON_FILES: [&str; 4] = ["lambda_function", "app", "main", "handler"];

/// Node.js files that may hold the handler, the likeliest first.
const NODE_FILES: [&str; 4] = ["index", "app", "main", "handler"];

/// What a handler is called, the likeliest first.
const HANDLER_NAMES: [&str; 2] = ["lambda_handler", "handler"];

/// A source file longer than this is not searched for a handler.
const SOURCE_BYTES_MAX: u64 = 4 * 1024 * 1024;

impl Project {
    /// Looks at the directory's names, and into the few files that may hold the handler.
    pub(crate) fn find(directory: &Path, handler: Option<&str>) -> Result<Self> {
        if !directory.is_dir() {
            bail!("{} is not a directory", directory.display());
        }
        let has = |name: &str| directory.join(name).exists();
        let language = if has("bootstrap") {
            Language::Bootstrap
        } else if has("package.json")
            || (!has("requirements.txt") && NODE_FILES.iter().any(|file| node_file(directory, file).is_some()))
        {
            Language::Node
        } else {
            Language::Python
        };
        let found = handler.map(str::to_owned).or_else(|| find_handler(directory, language));
        match found {
            Some(handler) => Ok(Self { language, handler }),
            None => bail!(
                "{} holds no handler that can be found: it needs bootstrap, or {} with a function {}, or {} that exports \
                 one; or say it with --handler FILE.FUNCTION",
                directory.display(),
                list(&PYTHON_FILES, ".py"),
                HANDLER_NAMES.join(" or "),
                list(&NODE_FILES, ".js/.mjs/.cjs"),
            ),
        }
    }
}

fn list(files: &[&str], extension: &str) -> String {
    let names: Vec<String> = files.iter().map(|file| format!("{file}{extension}")).collect();
    names.join(", ")
}

fn find_handler(directory: &Path, language: Language) -> Option<String> {
    match language {
        Language::Bootstrap => Some("bootstrap".to_owned()),
        Language::Python => PYTHON_FILES.iter().find_map(|file| {
            let text = read(&directory.join(format!("{file}.py")))?;
            let name = HANDLER_NAMES.iter().find(|name| defines_python(&text, name))?;
            Some(format!("{file}.{name}"))
        }),
        Language::Node => NODE_FILES.iter().find_map(|file| {
            let text = node_file(directory, file)?;
            let name = HANDLER_NAMES.iter().find(|name| exports_node(&text, name))?;
            Some(format!("{file}.{name}"))
        }),
    }
}

fn node_file(directory: &Path, file: &str) -> Option<String> {
    ["js", "mjs", "cjs"]
        .iter()
        .find_map(|extension| read(&directory.join(format!("{file}.{extension}"))))
}

fn read(path: &Path) -> Option<String> {
    let short = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= SOURCE_BYTES_MAX);
    short
        .then(|| fs::read(path).ok())
        .flatten()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a line without indentation defines or binds the name.
fn defines_python(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let rest = line.strip_prefix("async ").unwrap_or(line);
        let after = rest
            .strip_prefix("def ")
            .unwrap_or(rest)
            .trim_start()
            .strip_prefix(name);
        after.is_some_and(|after| {
            let after = after.trim_start();
            after.starts_with('(') || (after.starts_with('=') && !after.starts_with("=="))
        })
    })
}

/// Whether the name is exported, in the words of CommonJS or of modules.
fn exports_node(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        line.strip_prefix("module.")
            .unwrap_or(line)
            .starts_with(&format!("exports.{name}"))
            || (line.starts_with("export ") && line.contains(name))
            || (line.starts_with("module.exports") && line.contains(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Files = &'static [(&'static str, &'static str)];

    #[test]
    fn a_directory_says_what_it_is() {
        let cases: [(Files, Option<(Language, &str)>); 8] = [
            (
                &[("app.py", "import json\ndef handler(event, context):\n  pass\n")],
                Some((Language::Python, "app.handler")),
            ),
            (
                &[
                    ("lambda_function.py", "def lambda_handler(e, c): return 1"),
                    ("app.py", "def handler(e, c): 1"),
                ],
                Some((Language::Python, "lambda_function.lambda_handler")),
            ),
            (
                &[("main.py", "handler = Mangum(app)")],
                Some((Language::Python, "main.handler")),
            ),
            (&[("main.py", "class A:\n  def handler(self): pass")], None),
            (
                &[
                    ("package.json", "{}"),
                    ("index.mjs", "export const handler = async () => 1"),
                ],
                Some((Language::Node, "index.handler")),
            ),
            (
                &[("index.js", "exports.handler = async () => 1")],
                Some((Language::Node, "index.handler")),
            ),
            (&[("bootstrap", "\u{7f}ELF")], Some((Language::Bootstrap, "bootstrap"))),
            (&[("README.md", "nothing")], None),
        ];
        for (files, expected) in cases {
            let directory = tempfile::tempdir().unwrap();
            for (name, text) in files {
                fs::write(directory.path().join(name), text).unwrap();
            }
            let found = Project::find(directory.path(), None).ok();
            let expected = expected.map(|(language, handler)| Project {
                language,
                handler: handler.to_owned(),
            });
            assert_eq!(found, expected, "{files:?}");
        }
    }
}
