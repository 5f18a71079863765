//! The token's file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use zeroize::Zeroizing;

/// A service token has some 100 bytes, a batch token some hundred more.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;

/// Reads the token, or says why there is none. The file may be a link, as agents make them.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let failed = |source: io::Error| format!("cannot read the token in {}: {source}", path.display());
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let user = rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o777;
    if !metadata.is_file() || metadata.uid() != user || mode & 0o077 != 0 {
        return Err(format!(
            "the token in {0} must be a file of the user who runs lambent and of nobody else (its mode is {mode:03o}): \
             run chmod 600 {0}",
            path.display()
        ));
    }
    // As large as it can become: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(TOKEN_BYTES_MAX as usize + 1));
    file.take(TOKEN_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let token = text.trim();
    if token.is_empty() || token.len() as u64 > TOKEN_BYTES_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{} does not hold a token", path.display()));
    }
    Ok(Zeroizing::new(token.to_owned()))
}
