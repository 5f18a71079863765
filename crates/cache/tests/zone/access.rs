//! User names, passwords and TLS, as memcached offers them.

use super::conformance::conforms;
use super::*;
use std::path::Path;
use std::process::{Command, Stdio};

const SERVERS: usize = 5;

fn login(directory: &Path, password: &str, sasl: bool) -> String {
    let file = directory.join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    format!("[login]\nuser = \"lambent\"\npassword_file = {file:?}\nsasl = {sasl}\n")
}

fn servers_with_password(directory: &Path) -> Vec<Memcached> {
    let file = directory.join("users");
    std::fs::write(&file, "other:words\nlambent:sesame\n").unwrap();
    let argument = format!("--auth-file={}", file.display());
    (0..SERVERS).map(|_| Memcached::start(&[&argument])).collect()
}

#[tokio::test]
async fn a_fleet_with_a_password() {
    let directory = tempfile::tempdir().unwrap();
    let mut servers = servers_with_password(directory.path());
    let addresses = servers.iter().map(Memcached::address);
    let fleet = FleetFile::with_access(addresses, |own| login(own, "sesame", false));
    conforms(&mut servers, &fleet).await;
}

#[tokio::test]
async fn a_wrong_password_is_a_fallback_and_may_be_corrected() {
    let directory = tempfile::tempdir().unwrap();
    let servers = servers_with_password(directory.path());
    let shelf = Shelf::filled(20, 5000);
    for (password, is_given) in [("thistle", true), ("", false)] {
        let addresses: Vec<_> = servers.iter().map(Memcached::address).collect();
        let secret = directory.path().join("own");
        std::fs::create_dir_all(&secret).unwrap();
        let access = if is_given {
            login(&secret, password, false)
        } else {
            String::new()
        };
        let fleet = FleetFile::with_access(addresses, |_| access);
        let cache = open(&fleet, &shelf);
        assert_eq!(read_all(&cache, &shelf).await, 0);
        until("every node has said no", async || {
            read_all(&cache, &shelf).await;
            zone(&cache)
                .nodes
                .iter()
                .all(|node| node.failures > 0 && node.hits == 0)
        })
        .await;
        if is_given {
            login(&secret, "sesame", false);
            until("all comes from the zone", async || read_all(&cache, &shelf).await == 20).await;
        }
    }
}

/// The database that `saslpasswd2` writes, and the file that tells the library where it is.
fn sasl(directory: &Path) -> std::path::PathBuf {
    let database = directory.join("sasldb2");
    let mut command = Command::new("saslpasswd2");
    command
        .args(["-p", "-c", "-a", "memcached", "-f"])
        .arg(&database)
        .arg("lambent");
    // memcached looks users up in the realm that is the machine's name, which is the tool's default, too.
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .expect("sasl2-bin is installed by `cargo xtask setup`");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"open sesame\n").unwrap();
    assert!(child.wait().unwrap().success());
    let text = format!(
        "mech_list: plain\npwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {}\n",
        database.display()
    );
    std::fs::write(directory.join("memcached.conf"), text).unwrap();
    directory.to_owned()
}

#[tokio::test]
async fn a_fleet_with_sasl() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = sasl(directory.path());
    let start = || Memcached::start_with(&["--enable-sasl"], &[("SASL_CONF_PATH", &configuration)]);
    let mut servers: Vec<_> = (0..SERVERS).map(|_| start()).collect();
    let addresses: Vec<_> = servers.iter().map(Memcached::address).collect();
    let wrong = FleetFile::with_access(addresses.clone(), |own| login(own, "open says me", true));
    let shelf = Shelf::filled(3, 100);
    let cache = open(&wrong, &shelf);
    read_all(&cache, &shelf).await;
    until("every node has said no", async || {
        read_all(&cache, &shelf).await;
        zone(&cache)
            .nodes
            .iter()
            .all(|node| node.failures > 0 && node.hits == 0)
    })
    .await;
    let fleet = FleetFile::with_access(addresses, |own| login(own, "open sesame", true));
    conforms(&mut servers, &fleet).await;
}

/// What a certificate for 127.0.0.1 says that signs itself. OpenSSL would mark it as an authority's, which no server may
/// have.
const CERTIFICATE: &str = "
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = zone
[extensions]
basicConstraints = CA:FALSE
subjectAltName = IP:127.0.0.1, DNS:zone.test
";

fn certificate(directory: &Path) {
    std::fs::write(directory.join("request"), CERTIFICATE).unwrap();
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-config", "request", "-newkey", "ec", "-pkeyopt"])
        .args([
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-keyout",
            "key.pem",
            "-out",
            "ca.pem",
        ])
        .current_dir(directory)
        .stderr(Stdio::null());
    assert!(command.status().unwrap().success());
}

#[tokio::test]
async fn a_fleet_with_tls_and_a_password() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    certificate(path);
    std::fs::write(path.join("users"), "lambent:sesame\n").unwrap();
    let tls = format!("ssl_chain_cert={0}/ca.pem,ssl_key={0}/key.pem", path.display());
    let auth = format!("--auth-file={}/users", path.display());
    for name in [None, Some("zone.test")] {
        let start = || Memcached::start(&["--enable-ssl", "-o", &tls, &auth]);
        let mut servers: Vec<_> = (0..SERVERS).map(|_| start()).collect();
        let addresses: Vec<_> = servers.iter().map(Memcached::address).collect();
        let fleet = FleetFile::with_access(addresses, |own| {
            let name = name.map_or_else(String::new, |name| format!("name = {name:?}\n"));
            format!(
                "{}[tls]\nca = {:?}\n{name}",
                login(own, "sesame", false),
                path.join("ca.pem")
            )
        });
        conforms(&mut servers, &fleet).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_no_password() {
    let (path, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificate(path.path());
    certificate(other.path());
    let tls = format!("ssl_chain_cert={0}/ca.pem,ssl_key={0}/key.pem", path.path().display());
    let servers: Vec<_> = (0..SERVERS)
        .map(|_| Memcached::start(&["--enable-ssl", "-o", &tls]))
        .collect();
    let addresses = servers.iter().map(Memcached::address);
    let fleet = FleetFile::with_access(addresses, |_| {
        format!("[tls]\nca = {:?}\n", other.path().join("ca.pem"))
    });
    let shelf = Shelf::filled(10, 5000);
    let cache = open(&fleet, &shelf);
    until("every node has been refused", async || {
        assert_eq!(read_all(&cache, &shelf).await, 0);
        let nodes = zone(&cache).nodes;
        assert!(nodes.iter().all(|node| node.hits == 0), "{nodes:?}");
        nodes.iter().all(|node| node.failures > 0)
    })
    .await;
}
