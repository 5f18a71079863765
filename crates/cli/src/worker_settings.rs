//! `DIR/worker.toml`: what a user may tune of the worker's daemon.
//!
//! ```toml
//! cache_memory = "256MiB"    # sealed chunks in memory; 0 keeps none
//! cache_disk = "8GiB"        # sealed chunks in DIR/worker/cache; 0 keeps none
//! zone_cache = "zone.toml"   # the file that names the zone's memcached servers, from DIR; default: no zone cache
//! origin_requests = 32       # chunks on their way from the store at once
//! origin_bytes = "32MiB"     # bytes on their way from the store at once
//! hedge_percent = 5          # of 100 reads of a remote store, how many may be asked twice when late; 0 is none
//! hedge_after_ms = 20        # no answer is late before this
//! opened = "64MiB"           # plaintext of the chunks that were read last
//! idle_seconds = 10          # how long the daemon lives with nothing mounted
//! start_pack = true          # whether a mount uses the start pack
//! trace_prefetch = true      # whether a mount without start pack fetches what earlier starts touched
//! key_life_seconds = 60      # how long keys are used without asking for them again: a revocation takes as long
//! key_grace_seconds = 900    # how long keys are used while the KMS does not answer
//! record_seconds = 120       # when a start's record ends by itself
//! read_ahead_start_kb = 32   # the kernel's read-ahead while a program starts
//! read_ahead_kb = 512        # the kernel's read-ahead after that
//! ```
//! Every key may be left out; an unknown key is an error, since it would be a setting that does nothing.

use crate::environment::Places;
use crate::size::Size;
use anyhow::{Context, Result};
use cache::DiskSettings;
use serde::Deserialize;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use worker::Settings;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cache_memory: Option<Size>,
    cache_disk: Option<Size>,
    zone_cache: Option<PathBuf>,
    origin_requests: Option<usize>,
    origin_bytes: Option<Size>,
    hedge_percent: Option<u32>,
    hedge_after_ms: Option<u64>,
    opened: Option<Size>,
    idle_seconds: Option<u64>,
    start_pack: Option<bool>,
    trace_prefetch: Option<bool>,
    key_life_seconds: Option<u64>,
    key_grace_seconds: Option<u64>,
    record_seconds: Option<u64>,
    read_ahead_start_kb: Option<u32>,
    read_ahead_kb: Option<u32>,
}

/// Reads the file, if there is one.
pub(crate) fn read(places: &Places) -> Result<Settings> {
    let path = places.worker_settings();
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let file: File = toml::from_str(&text).with_context(|| format!("cannot use {}", path.display()))?;
    Ok(file.over(places))
}

impl File {
    fn over(self, places: &Places) -> Settings {
        let mut disk = DiskSettings::new(places.worker().join("cache"));
        set(&mut disk.bytes, self.cache_disk.map(|size| size.bytes));
        let mut cache = cache::Settings {
            disk: (disk.bytes > 0).then_some(disk),
            zone_fleet: self.zone_cache.map(|file| places.data.join(file)),
            ..cache::Settings::default()
        };
        set(&mut cache.memory_bytes, self.cache_memory.map(|size| size.bytes));
        set(&mut cache.origin_requests, self.origin_requests);
        set(&mut cache.origin_bytes, self.origin_bytes.map(|size| size.bytes));
        set(&mut cache.hedge_percent, self.hedge_percent);
        set(&mut cache.hedge_after, self.hedge_after_ms.map(Duration::from_millis));
        let mut settings = Settings::new(places.worker(), cache);
        set(&mut settings.opened_bytes, self.opened.map(|size| size.bytes));
        set(&mut settings.idle, self.idle_seconds.map(Duration::from_secs));
        let seconds = |given: Option<u64>| given.map(Duration::from_secs);
        set(&mut settings.key_life.life, seconds(self.key_life_seconds));
        set(&mut settings.key_life.grace, seconds(self.key_grace_seconds));
        set(&mut settings.start_pack, self.start_pack);
        set(&mut settings.trace_prefetch, self.trace_prefetch);
        set(
            &mut settings.recording.time,
            self.record_seconds.map(Duration::from_secs),
        );
        set(&mut settings.read_ahead_start_kb, self.read_ahead_start_kb);
        set(&mut settings.read_ahead_kb, self.read_ahead_kb);
        settings
    }
}

fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *setting = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_set_and_the_rest_keeps_its_default() {
        let places = Places {
            data: "/data".into(),
            store: "/data/store".parse().unwrap(),
        };
        let file: File =
            toml::from_str("cache_memory = \"1MiB\"\ncache_disk = \"0\"\nzone_cache = \"zone.toml\"\nhedge_percent = 0\nidle_seconds = 3")
                .unwrap();
        let settings = file.over(&places);
        assert_eq!(settings.cache.memory_bytes, 1 << 20);
        assert_eq!(settings.cache.disk, None);
        assert_eq!(settings.cache.zone_fleet, Some("/data/zone.toml".into()));
        assert_eq!(settings.cache.hedge_percent, 0);
        assert_eq!(settings.cache.hedge_after, Duration::from_millis(20));
        assert_eq!(settings.idle, Duration::from_secs(3));
        assert_eq!(settings.read_ahead_kb, 512);
    }

    #[test]
    fn unknown_keys_and_bad_sizes_are_refused() {
        for (text, expected) in [
            ("cash_memory = \"1MiB\"", "unknown field `cash_memory`"),
            ("cache_memory = \"much\"", "expected a number"),
            ("idle_seconds = -1", "invalid value"),
        ] {
            let error = toml::from_str::<File>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
