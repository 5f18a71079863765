//! What of the repositories nobody needs: links that no manifest names, and uploads that nobody goes on with.

use super::{Repositories, RepositoryError, names_in, uploads};
use crate::packages::blobs::Blob;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

impl Repositories {
    /// Removes links that no manifest of their repository has named since `before`, and expired uploads. Adds to `named`
    /// what is left.
    pub(in crate::packages) fn sweep(
        &self,
        before: SystemTime,
        named: &mut HashSet<Blob>,
    ) -> Result<(), RepositoryError> {
        for repository in below(&self.directory.join("repositories"))? {
            self.sweep_repository(&repository, before, named)?;
        }
        for uploads in below(&self.directory.join("uploads"))? {
            uploads::sweep(&uploads)?;
        }
        Ok(())
    }

    fn sweep_repository(
        &self,
        repository: &Path,
        before: SystemTime,
        named: &mut HashSet<Blob>,
    ) -> Result<(), RepositoryError> {
        let manifests = blobs_in(&repository.join("manifests"))?;
        let links = blobs_in(&repository.join("blobs"))?;
        let mut needed = HashSet::new();
        for manifest in &manifests {
            match self.names_of(manifest) {
                Some(names) => needed.extend(names),
                // What it needs cannot be known, so all may be needed.
                None => needed.extend(links.iter().cloned()),
            }
        }
        let unnamed = self.unnamed(repository);
        for link in &links {
            let path = repository.join("blobs").join(link.hex());
            let is_removed = !needed.contains(link) && unnamed.expire(link.hex(), &path, before)?.is_some();
            if !is_removed {
                named.insert(link.clone());
            }
        }
        let hexes: HashSet<&str> = links.difference(&needed).map(Blob::hex).collect();
        unnamed.keep(|hex| hexes.contains(hex))?;
        named.extend(manifests);
        Ok(())
    }
}

/// The directories two levels below: `ACCOUNT/NAME`.
fn below(directory: &Path) -> Result<Vec<PathBuf>, RepositoryError> {
    let mut found = Vec::new();
    for account in names_in(directory)? {
        let account = directory.join(account);
        found.extend(names_in(&account)?.into_iter().map(|name| account.join(name)));
    }
    Ok(found)
}

fn blobs_in(directory: &Path) -> Result<HashSet<Blob>, RepositoryError> {
    let names = names_in(directory)?;
    Ok(names.iter().filter_map(|hex| Blob::from_hex(hex)).collect())
}
