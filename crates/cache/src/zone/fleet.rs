//! Which servers there are: a file, read again and again.
//!
//! ```toml
//! nodes = ["10.0.0.1:11211", "10.0.0.2:11211", "cache-3.zone:11211"]
//! answer_ms = 100                              # a node that takes longer has failed; may be left out
//!
//! [login]                                      # may be left out
//! user = "lambent"
//! password_file = "/etc/lambent/zone.password" # its first line
//! sasl = false                                 # true: SASL PLAIN (memcached -S); false: memcached -Y
//!
//! [tls]                                        # may be left out
//! ca = "/etc/lambent/zone-ca.pem"              # whom to trust
//! name = "zone.example"                        # the name in the certificates; default: each node's own
//! ```
//! The file and those that it names are read every second and compared by what is in them: two changes within a second
//! may leave equal times, and a symbolic link that is turned leaves the target's. A file that cannot be used is
//! reported once and changes nothing. Nodes that stay keep their connections and counts.

use super::node::Node;
use super::protocol::Dialect;
use super::ring::{NODES_MAX, Ring};
use serde::Deserialize;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use zeroize::Zeroizing;

/// Bytes of a file that are read at most: a thousand nodes and a dozen certificates are far below.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// After this long without an answer a node has failed, where the file does not say. 100 ms: a hundred round trips within
/// a zone, and what a store takes for a chunk when it is slow; whoever waits longer had better asked the origin.
const ANSWER_MAX: Duration = Duration::from_millis(100);

/// What the file may say. Below, a busy machine would drop good nodes; above, a read would fail before it came to the origin
/// (see [`crate::Settings::fetch_budget`]).
const ANSWER_RANGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    nodes: Vec<String>,
    answer_ms: Option<u64>,
    login: Option<LoginTable>,
    tls: Option<TlsTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginTable {
    user: String,
    password_file: PathBuf,
    #[serde(default)]
    sasl: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsTable {
    ca: PathBuf,
    name: Option<String>,
}

/// Why a fleet's file cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FleetError {
    /// It, or a file that it names, cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Not what the page above describes.
    #[error("cannot use {}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// What a fleet's file and those that it names say.
#[derive(PartialEq, Eq)]
pub(super) struct FleetSettings {
    nodes: Vec<String>,
    access: AccessSettings,
}

#[derive(PartialEq, Eq)]
struct AccessSettings {
    answer_max: Duration,
    login: Option<Login>,
    tls: Option<TlsSettings>,
}

#[derive(PartialEq, Eq)]
struct TlsSettings {
    ca: Vec<u8>,
    name: Option<String>,
}

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Zeroizing<String>,
    sasl: bool,
}

/// The user name only.
impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Login({})", self.user)
    }
}

/// How nodes are spoken to.
#[derive(Debug)]
pub(crate) struct Access {
    /// After this long without an answer a node has failed.
    pub(crate) answer_max: Duration,
    pub(crate) login: Option<Login>,
    pub(crate) tls: Option<Tls>,
}

/// TLS, ready for use.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) name: Option<String>,
}

/// The servers of the moment.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) ring: Ring,
}

impl Access {
    /// After this long a node counts as not to be reached: five times an answer, since TLS takes several round trips.
    pub(crate) fn connect_max(&self) -> Duration {
        self.answer_max * 5
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match &self.login {
            Some(Login { sasl: true, .. }) => Dialect::Binary,
            _ => Dialect::Meta,
        }
    }
}

impl FleetSettings {
    /// Reads and checks the file. Blocks.
    pub(super) fn read(path: &Path) -> Result<Self, FleetError> {
        let invalid = |reason: String| FleetError::Invalid {
            path: path.to_owned(),
            reason,
        };
        let text = read_text(path)?;
        let file: File = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        check_nodes(&file.nodes).map_err(invalid)?;
        let login = file.login.map(Login::read).transpose()?;
        let tls = file.tls.map(TlsSettings::read).transpose()?;
        let access = AccessSettings {
            answer_max: answer_max(file.answer_ms).map_err(invalid)?,
            login,
            tls,
        };
        let nodes = file.nodes;
        Ok(Self { nodes, access })
    }
}

impl Login {
    fn read(table: LoginTable) -> Result<Self, FleetError> {
        let text = read_text(&table.password_file)?;
        let password = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
        let (user, sasl) = (table.user, table.sasl);
        let has_blank = |text: &str| text.contains(|letter: char| letter.is_whitespace() || letter == '\0');
        // A line's end or a blank would end the name, or the command, in the ASCII protocol, and memcached's own check
        // of a password ends at a blank.
        if user.is_empty() || has_blank(&user) || (!sasl && has_blank(&password)) {
            let reason = "the user name is empty, or it or the password has a blank in it: a password may have one with SASL only".to_owned();
            let path = table.password_file;
            return Err(FleetError::Invalid { path, reason });
        }
        Ok(Self { user, password, sasl })
    }
}

impl TlsSettings {
    fn read(table: TlsTable) -> Result<Self, FleetError> {
        let ca = read_text(&table.ca)?.as_bytes().to_vec();
        let settings = Self { ca, name: table.name };
        let path = table.ca;
        // Built to see whether it can be: a file that cannot be used changes nothing.
        settings.client().map_err(|error| FleetError::Invalid {
            path,
            reason: error.to_string(),
        })?;
        Ok(settings)
    }

    fn client(&self) -> Result<ClientConfig, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.ca) {
            roots.add(certificate.map_err(|error| rustls::Error::General(error.to_string()))?)?;
        }
        if roots.is_empty() {
            return Err(rustls::Error::General("no certificate in it".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(client.with_root_certificates(roots).with_no_client_auth())
    }
}

impl AccessSettings {
    fn build(&self) -> Access {
        let tls = self.tls.as_ref().map(|tls| Tls {
            client: Arc::new(tls.client().expect("it was built when the file was read")),
            name: tls.name.clone(),
        });
        let login = self.login.clone();
        Access {
            answer_max: self.answer_max,
            login,
            tls,
        }
    }
}

impl Fleet {
    /// No servers.
    pub(super) fn empty() -> Self {
        Self {
            nodes: Vec::new(),
            ring: Ring::new(&[]),
        }
    }

    /// The servers of `settings`; those of `before` that are spoken to as before stay as they are.
    pub(super) fn build(settings: &FleetSettings, before: Option<(&Self, &FleetSettings)>) -> Self {
        let before = before.filter(|(_, before)| before.access == settings.access);
        let old: &[Arc<Node>] = before.map_or(&[], |(fleet, _)| &fleet.nodes);
        let access = match old.first() {
            Some(node) => Arc::clone(node.access()),
            None => Arc::new(settings.access.build()),
        };
        let node = |name: &String| match old.iter().find(|node| node.name() == name) {
            Some(node) => Arc::clone(node),
            None => Arc::new(Node::new(name.clone(), Arc::clone(&access))),
        };
        let names: Vec<&str> = settings.nodes.iter().map(String::as_str).collect();
        Self {
            nodes: settings.nodes.iter().map(node).collect(),
            ring: Ring::new(&names),
        }
    }
}

fn answer_max(ms: Option<u64>) -> Result<Duration, String> {
    let answer_max = ms.map_or(ANSWER_MAX, Duration::from_millis);
    if ANSWER_RANGE.contains(&answer_max) {
        return Ok(answer_max);
    }
    Err(format!(
        "answer_ms is {}: it may be 10 to 30000",
        answer_max.as_millis()
    ))
}

fn check_nodes(nodes: &[String]) -> Result<(), String> {
    if nodes.len() > NODES_MAX {
        return Err(format!("{} nodes: at most {NODES_MAX} can be used", nodes.len()));
    }
    let mut seen = HashSet::new();
    for node in nodes {
        let port = node.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(format!("node `{node}` is not HOST:PORT"));
        }
        if !seen.insert(node) {
            return Err(format!("node `{node}` is named twice"));
        }
    }
    Ok(())
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, FleetError> {
    use io::Read;
    let mut text = Zeroizing::new(String::new());
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    read.map(|_| text).map_err(|error| FleetError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FleetSettings, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("zone.toml");
        std::fs::write(directory.path().join("password"), "secret\nmore\n").unwrap();
        let text = text.replace("HERE", directory.path().to_str().unwrap());
        std::fs::write(&path, text).unwrap();
        FleetSettings::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_read() {
        let settings =
            read("nodes = [\"a:1\", \"[::1]:11211\"]\n[login]\nuser = \"me\"\npassword_file = \"HERE/password\"");
        let settings = settings.unwrap();
        assert_eq!(settings.nodes, ["a:1", "[::1]:11211"]);
        let login = settings.access.login.clone().unwrap();
        assert_eq!(
            (&*login.password, settings.access.build().dialect()),
            (&"secret".to_owned(), Dialect::Meta)
        );
        assert_eq!(format!("{login:?}"), "Login(me)", "no password in a log");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for (text, expected) in [
            ("", "missing field `nodes`"),
            ("nodes = []\nnode = 1", "unknown field `node`"),
            ("nodes = [\"a\"]", "node `a` is not HOST:PORT"),
            (
                "nodes = [\"a:1\"]\nanswer_ms = 0",
                "answer_ms is 0: it may be 10 to 30000",
            ),
            ("nodes = [\"a:x\"]", "node `a:x` is not HOST:PORT"),
            ("nodes = [\"a:1\", \"a:1\"]", "node `a:1` is named twice"),
            (
                "nodes = []\n[login]\nuser = \"me\"\npassword_file = \"HERE/none\"",
                "No such file",
            ),
            (
                "nodes = []\n[login]\nuser = \"m e\"\npassword_file = \"HERE/password\"",
                "has a blank",
            ),
            ("nodes = []\n[tls]\nca = \"HERE/password\"", "no certificate in it"),
        ] {
            let error = read(text).err().unwrap();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
