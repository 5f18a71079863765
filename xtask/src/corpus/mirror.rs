//! Which Debian mirror this machine uses, read from apt's own configuration.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::process;

/// Where packages come from and how to trust them.
#[derive(Debug, PartialEq)]
pub(super) struct Mirror {
    pub(super) uri: String,
    pub(super) keyring: String,
}

const DEFAULT_URI: &str = "http://deb.debian.org/debian";
const DEFAULT_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The first configured source that has one of the suites; Debian's own address when there is none.
pub(super) fn configured(suites: &[&str]) -> Mirror {
    let texts = source_files().into_iter().filter_map(|path| {
        let text = fs::read_to_string(&path).ok()?;
        let deb822 = path.extension().is_some_and(|extension| extension == "sources");
        if deb822 {
            in_deb822(&text, suites)
        } else {
            in_list(&text, suites)
        }
    });
    let default = Mirror {
        uri: DEFAULT_URI.to_owned(),
        keyring: DEFAULT_KEYRING.to_owned(),
    };
    texts.into_iter().next().unwrap_or(default)
}

/// apt's proxies as the variables that debootstrap's wget reads.
pub(super) fn proxy_variables() -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for scheme in ["http", "https"] {
        let key = format!("Acquire::{scheme}::Proxy");
        let value = process::run(Command::new("apt-config").args(["dump", "--format", "%v", &key])).unwrap_or_default();
        if !value.is_empty() && value != "DIRECT" {
            variables.push((format!("{scheme}_proxy"), value));
        }
    }
    variables
}

fn source_files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let folder = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    files.extend(folder.filter_map(|entry| Some(entry.ok()?.path())));
    files.sort();
    files
}

/// One source a line: `deb [options] URI suite component...`.
fn in_list(text: &str, suites: &[&str]) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let line = line.trim().strip_prefix("deb")?.trim_start();
        let (options, source) = match line.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", line),
        };
        let mut words = source.split_whitespace();
        let uri = words.next()?;
        let suite = words.next()?;
        let key = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="));
        (suites.contains(&suite) && words.any(|word| word == "main")).then(|| mirror(uri, key))
    })
}

/// One source a paragraph: `Types:`, `URIs:`, `Suites:`, `Components:`, `Signed-By:`.
fn in_deb822(text: &str, suites: &[&str]) -> Option<Mirror> {
    text.split("\n\n").find_map(|paragraph| {
        let words = |field: &str| -> Vec<&str> {
            let line = paragraph
                .lines()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            line.unwrap_or_default().split_whitespace().collect()
        };
        let ours = words("Types").contains(&"deb")
            && words("Components").contains(&"main")
            && words("Suites").iter().any(|suite| suites.contains(suite));
        let uri = *words("URIs").first()?;
        ours.then(|| mirror(uri, words("Signed-By").first().copied()))
    })
}

/// A key may be given as a fingerprint or as text; only a path is of use to debootstrap.
fn mirror(uri: &str, key: Option<&str>) -> Mirror {
    let keyring = key.filter(|key| key.starts_with('/')).unwrap_or(DEFAULT_KEYRING);
    Mirror {
        uri: uri.trim_end_matches('/').to_owned(),
        keyring: keyring.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: Option<&Mirror>, uri: &str, keyring: &str) {
        let found = found.expect("a mirror");
        assert_eq!((found.uri.as_str(), found.keyring.as_str()), (uri, keyring));
    }

    #[test]
    fn sources_are_found_in_both_formats() {
        let suites = &["bookworm"];
        let deb822 = "Types: deb\nURIs: http://s/debian-security\nSuites: bookworm-security\nComponents: main\n\n\
            # comment\nTypes: deb\nURIs: http://m/debian/\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n";
        check(in_deb822(deb822, suites).as_ref(), "http://m/debian", "/k.gpg");
        let list = "# deb http://no bookworm main\ndeb http://o/x other main\n\
            deb [arch=amd64 signed-by=/k.gpg] http://m/debian bookworm main contrib\n";
        check(in_list(list, suites).as_ref(), "http://m/debian", "/k.gpg");
        check(
            in_list("deb http://m/debian bookworm main", suites).as_ref(),
            "http://m/debian",
            DEFAULT_KEYRING,
        );
        assert_eq!(in_list("deb-src http://m/debian bookworm main", suites), None);
    }
}
