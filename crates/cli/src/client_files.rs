//! The two files that tell AWS's tools, and our own commands, where the endpoint is and who asks.
//!
//! ```text
//! DIR/aws/config        [profile lambent]  region, endpoint_url
//! DIR/aws/credentials   [lambent]          aws_access_key_id, aws_secret_access_key      mode 0600
//! ```
//! In the format of AWS's shared files, so that `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE` can point at them.

use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The profile's name in both files.
pub(crate) const PROFILE: &str = "lambent";

/// Region of a new data directory: the one that most examples of AWS use.
pub(crate) const REGION_DEFAULT: &str = "us-east-1";

/// Where the endpoint is and who asks.
pub(crate) struct ClientFiles {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

/// The file with endpoint and region.
pub(crate) fn config_path(data: &Path) -> PathBuf {
    data.join("aws/config")
}

/// The file with the key.
pub(crate) fn credentials_path(data: &Path) -> PathBuf {
    data.join("aws/credentials")
}

/// The address that clients on this machine use for a listener.
pub(crate) fn endpoint(listen: SocketAddr) -> String {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(host, listen.port()))
}

/// Writes both files; the key's is the owner's alone from its first byte on.
pub(crate) fn write(data: &Path, files: &ClientFiles) -> Result<()> {
    let mut config = format!("[profile {PROFILE}]\n");
    let _ = writeln!(config, "region = {}\nendpoint_url = {}", files.region, files.endpoint);
    let mut credentials = format!("[{PROFILE}]\n");
    let _ = writeln!(
        credentials,
        "aws_access_key_id = {}\naws_secret_access_key = {}",
        files.access_key_id, files.secret_access_key
    );
    replace(&config_path(data), &config)?;
    replace(&credentials_path(data), &credentials)
}

/// Reads both files; without them nobody has run `lambent up` here.
pub(crate) fn read(data: &Path) -> Result<ClientFiles> {
    let (config, credentials) = (config_path(data), credentials_path(data));
    let text = |path: &Path| {
        fs::read_to_string(path).with_context(|| {
            format!(
                "cannot read {}: start the endpoint with `lambent up` first, or say its directory with --data",
                path.display()
            )
        })
    };
    let (config_text, credentials_text) = (text(&config)?, text(&credentials)?);
    Ok(ClientFiles {
        endpoint: value(&config, &config_text, "endpoint_url")?,
        region: value(&config, &config_text, "region")?,
        access_key_id: value(&credentials, &credentials_text, "aws_access_key_id")?,
        secret_access_key: value(&credentials, &credentials_text, "aws_secret_access_key")?,
    })
}

/// The value of a key; the files have one profile, so sections need no reading.
fn value(path: &Path, text: &str, key: &str) -> Result<String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    match pairs
        .map(|(name, value)| (name.trim(), value.trim()))
        .find(|(name, _)| *name == key)
    {
        Some((_, value)) if !value.is_empty() => Ok(value.to_owned()),
        _ => bail!(
            "{} does not say {key}: remove it and run `lambent up` again",
            path.display()
        ),
    }
}

fn replace(path: &Path, text: &str) -> Result<()> {
    let directory = path.parent().context("the file is in a directory")?;
    let write = || {
        fs::create_dir_all(directory)?;
        let partial = path.with_extension("partial");
        let _ = fs::remove_file(&partial);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&partial, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_is_read_and_is_the_owners_alone() {
        let data = tempfile::tempdir().unwrap();
        assert!(read(data.path()).is_err());
        for secret in ["first/+=", "second"] {
            let files = ClientFiles {
                endpoint: "http://127.0.0.1:1".to_owned(),
                region: "eu-west-1".to_owned(),
                access_key_id: "AKIA".to_owned(),
                secret_access_key: secret.to_owned(),
            };
            write(data.path(), &files).unwrap();
            let found = read(data.path()).unwrap();
            assert_eq!((found.endpoint, found.region), (files.endpoint, files.region));
            assert_eq!(found.secret_access_key, secret);
        }
        let mode = fs::metadata(credentials_path(data.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_endpoint_can_be_reached() {
        for (listen, expected) in [
            ("127.0.0.1:9700", "http://127.0.0.1:9700"),
            ("0.0.0.0:1", "http://127.0.0.1:1"),
            ("[::]:2", "http://[::1]:2"),
            ("10.0.0.7:3", "http://10.0.0.7:3"),
        ] {
            assert_eq!(endpoint(listen.parse().unwrap()), expected);
        }
    }
}
