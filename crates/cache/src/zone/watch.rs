//! The fleet of the moment: its file, read again and again.

use super::fleet::{Fleet, FleetSettings};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the fleet's file is read again.
const FLEET_POLL: Duration = Duration::from_secs(1);

/// The servers that a file names, for as long as this lives.
#[derive(Debug)]
pub(super) struct WatchedFleet {
    fleet: Arc<RwLock<Arc<Fleet>>>,
    watch: JoinHandle<()>,
}

/// What the file said last.
struct Watched {
    path: PathBuf,
    settings: Option<FleetSettings>,
    /// The last complaint about the file, so that it is made once.
    complaint: Option<String>,
    fleet: Arc<RwLock<Arc<Fleet>>>,
}

impl WatchedFleet {
    /// Reads the fleet's file, and starts a task on the current runtime. A file that cannot be used is complained about
    /// in the log, and read again like any other.
    pub(super) fn open(path: &Path) -> Self {
        let fleet = Arc::new(RwLock::new(Arc::new(Fleet::empty())));
        let mut watched = Watched {
            path: path.to_owned(),
            settings: None,
            complaint: None,
            fleet: Arc::clone(&fleet),
        };
        let read = FleetSettings::read(path).map_err(|error| error.to_string());
        watched.take(read);
        Self {
            fleet,
            watch: tokio::spawn(watched.watch()),
        }
    }

    pub(super) fn now(&self) -> Arc<Fleet> {
        Arc::clone(&self.fleet.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for WatchedFleet {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Watched {
    async fn watch(mut self) {
        loop {
            tokio::time::sleep(FLEET_POLL).await;
            let path = self.path.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || FleetSettings::read(&path)).await else {
                return;
            };
            self.take(read.map_err(|error| error.to_string()));
        }
    }

    fn take(&mut self, read: Result<FleetSettings, String>) {
        let path = self.path.display();
        match read {
            Ok(settings) if self.settings.as_ref() == Some(&settings) => self.complaint = None,
            Ok(settings) => {
                let before = Arc::clone(&self.fleet.read().unwrap_or_else(PoisonError::into_inner));
                let fleet = Fleet::build(&settings, self.settings.as_ref().map(|old| (&*before, old)));
                tracing::info!(%path, nodes = fleet.nodes.len(), "the zone cache's fleet");
                *self.fleet.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fleet);
                self.settings = Some(settings);
                self.complaint = None;
            }
            Err(error) if self.complaint.as_ref() == Some(&error) => {}
            Err(error) => {
                tracing::warn!(%path, "the zone cache's fleet stays as it is: {error}");
                self.complaint = Some(error);
            }
        }
    }
}
