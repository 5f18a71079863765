//! Logins from docker's `config.json`: passwords, identity tokens, credential helpers.

use super::Reference;
use super::fault::{LoginState, RegistryFault};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes of `config.json`. A login takes some hundred.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// How docker calls its own registry in `config.json`.
const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";

/// Who we are to a registry. Without `Debug`, so that no log can show it.
pub(super) enum Login {
    Anonymous,
    Known { auth: RegistryAuth, path: PathBuf },
}

impl Login {
    /// The login for the registry of `reference`; anonymous where docker has none.
    pub(super) fn find(reference: &Reference, config: Option<&Path>) -> Result<Self, RegistryFault> {
        let Some(path) = config else {
            return Ok(Self::Anonymous);
        };
        let failed = |reason: String| RegistryFault::Credentials {
            path: path.to_owned(),
            reason,
        };
        let Some(config) = read(path).map_err(|error| failed(error.to_string()))? else {
            return Ok(Self::Anonymous);
        };
        let server = match reference.registry() {
            "docker.io" => DOCKER_HUB_SERVER,
            registry => registry,
        };
        let auth = match docker_credential::get_credential_from_reader(config.as_slice(), server) {
            Ok(DockerCredential::UsernamePassword(name, password)) => RegistryAuth::Basic(name, password),
            Ok(DockerCredential::IdentityToken(token)) => RegistryAuth::Bearer(token),
            Err(error) if is_absent(&error) => return Ok(Self::Anonymous),
            Err(error) => return Err(failed(reason(&error))),
        };
        Ok(Self::Known {
            auth,
            path: path.to_owned(),
        })
    }

    pub(super) const fn auth(&self) -> &RegistryAuth {
        match self {
            Self::Anonymous => &RegistryAuth::Anonymous,
            Self::Known { auth, .. } => auth,
        }
    }

    pub(super) fn state(&self) -> LoginState {
        match self {
            Self::Known {
                auth: RegistryAuth::Basic(..),
                path,
            } => LoginState::Password(path.clone()),
            Self::Known {
                auth: RegistryAuth::Bearer(_),
                path,
            } => LoginState::IdentityToken(path.clone()),
            _ => LoginState::Anonymous,
        }
    }
}

/// The file's bytes; `None` when there is no file.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        let message = format!("it is longer than {CONFIG_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Some(bytes))
}

/// Helpers say on their standard output that they know no login for a server; all of them use these words.
fn is_absent(error: &CredentialRetrievalError) -> bool {
    match error {
        CredentialRetrievalError::NoCredentialConfigured => true,
        CredentialRetrievalError::HelperFailure { stdout, .. } => stdout.contains("credentials not found"),
        _ => false,
    }
}

/// What went wrong, without what a helper printed: that may hold a secret.
fn reason(error: &CredentialRetrievalError) -> String {
    match error {
        CredentialRetrievalError::HelperFailure { helper, .. } => format!("the credential helper `{helper}` failed"),
        CredentialRetrievalError::HelperCommunicationError => "a credential helper cannot be started".to_owned(),
        CredentialRetrievalError::MalformedHelperResponse => "a credential helper's answer is no login".to_owned(),
        CredentialRetrievalError::ConfigReadError => "it is not docker's JSON".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(config: &str, reference: &str) -> Result<RegistryAuth, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        match Login::find(&reference.parse().unwrap(), Some(&path)) {
            Ok(login) => Ok(login.auth().clone()),
            Err(fault) => Err(fault.to_string()),
        }
    }

    #[test]
    fn logins_are_found_by_registry() {
        // "me:secret"
        let config = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0"},
            "localhost:5000": {"auth": "bWU6c2VjcmV0"},
            "tokens.example": {"auth": "", "identitytoken": "abc"}}}"#;
        let basic = RegistryAuth::Basic("me".to_owned(), "secret".to_owned());
        assert_eq!(find(config, "python:3.12"), Ok(basic.clone()));
        assert_eq!(find(config, "localhost:5000/a"), Ok(basic));
        assert_eq!(
            find(config, "tokens.example/a"),
            Ok(RegistryAuth::Bearer("abc".to_owned()))
        );
        assert_eq!(find(config, "other.example/a"), Ok(RegistryAuth::Anonymous));
        assert_eq!(find("{}", "python"), Ok(RegistryAuth::Anonymous));
    }

    #[test]
    fn an_unreadable_login_is_an_error_without_its_text() {
        let cases = [
            (r#"{"auths": {"a.example": {"auth": "%%secret%%"}}}"#, "decode"),
            (r#"secret"#, "not docker's JSON"),
            (
                r#"{"credHelpers": {"a.example": "lambent-test-has-no-such"}}"#,
                "cannot be started",
            ),
        ];
        for (config, expected) in cases {
            let message = find(config, "a.example/b").unwrap_err();
            assert!(message.contains(expected) && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn a_missing_file_is_anonymous() {
        let reference = "a.example/b".parse().unwrap();
        let missing = Path::new("/nonexistent/config.json");
        let Ok(login) = Login::find(&reference, Some(missing)) else {
            panic!("no file is no login");
        };
        assert!(matches!(login, Login::Anonymous));
    }
}
