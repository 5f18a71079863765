//! Tags that switch on what Lambda does not have, for the traffic of one function.
//!
//! | tag | value | default |
//! |---|---|---|
//! | `lambent:response-cache` | `ttl:SECONDS` | must be given |
//! | | `max:SIZE` of the answers that are kept: a number with `KiB`, `MiB` or `GiB` | 64 MiB |
//! | | `exclude:FIELD.FIELD;…` of the event that do not tell requests apart | none |
//! | `lambent:batch` | `max:EVENTS` in a list | must be given |
//! | | `wait:MILLISECONDSms` for further events | 5 ms |
//! | `lambent:concurrency` | events that an environment takes at once, 1 to 256 | 1 |
//!
//! Parts are separated by commas or spaces, paths by `;` or `+`: commas and semicolons stand in no tag of AWS's own, and
//! who must keep to its letters uses the others. A tag that cannot be read is refused when it is written.

use crate::ControlError;
use api::{Initialization, Lease};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What all of them begin with.
const PREFIX: &str = "lambent:";
const RESPONSE_CACHE: &str = "lambent:response-cache";
const BATCH: &str = "lambent:batch";
const CONCURRENCY: &str = "lambent:concurrency";

/// Longest life of an answer: 30 days. An answer that is good for longer belongs into a store, not into a cache.
const TTL_SECONDS_MAX: u64 = 30 * 24 * 3600;
/// Bytes of answers that are kept where the tag does not say: 16,000 embeddings of 4 KiB.
const CACHE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Fields that can be left out of the comparison. A tag has room for not many more.
const EXCLUDED_MAX: usize = 32;
/// Most events in a list. Lambda's own lists (of SQS) are mostly 10, at most 10,000; an inference batch is rarely above 128.
const BATCH_EVENTS_MAX: u32 = 1024;
/// How long the first event of a list waits where the tag does not say. From the example of the issue that asked for it.
const BATCH_WAIT_DEFAULT: Duration = Duration::from_millis(5);
/// Most events that an environment takes at once. Lambda's own limit is 1,600 on machines of their own; Python's runtime
/// client starts a process for each, and an environment has 1,024.
const CONCURRENCY_MAX: u32 = 256;
/// Longest wait for further events.
const BATCH_WAIT_MS_MAX: u64 = 1000;

/// What a function's tags ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Equal requests are answered from memory.
    pub response_cache: Option<ResponseCaching>,
    /// Requests that come together are handed to the handler as a list.
    pub batching: Option<Batching>,
    /// Events that an environment takes at once; at least 1.
    pub concurrency: Option<u32>,
}

/// How answers are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseCaching {
    /// How long an answer is good; at least a second.
    pub ttl: Duration,
    /// Bytes of answers that the function may keep; at least 1 KiB.
    pub bytes_max: u64,
    /// Fields of the event that are not compared, each as the names on the way to it; sorted, without doubles. No list
    /// and no name is empty.
    pub excluded: Vec<Vec<String>>,
}

/// How requests are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Most events in a list; at least 1.
    pub events_max: u32,
    /// How long an event waits for others while a list is being worked on.
    pub wait: Duration,
}

/// Whether a tag is Lambent's own, and may have the letters that AWS's have not.
pub(crate) fn is_own(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// Whether each tag of Lambent's own says something that can be done.
pub(crate) fn check(tags: &BTreeMap<String, String>) -> Result<(), ControlError> {
    for (key, value) in tags.iter().filter(|(key, _)| is_own(key)) {
        Traffic::default().read(key, value).map_err(|problem| {
            ControlError::invalid(format!("The value '{value}' of tag '{key}' is not valid: {problem}"))
        })?;
    }
    Ok(())
}

impl Traffic {
    /// What tags ask for. One that cannot be read was written by another version of this program, and asks for nothing.
    pub(crate) fn of(tags: &BTreeMap<String, String>) -> Self {
        let mut traffic = Self::default();
        for (key, value) in tags.iter().filter(|(key, _)| is_own(key)) {
            if let Err(problem) = traffic.read(key, value) {
                tracing::warn!("the tag {key} = {value} does nothing: {problem}");
            }
        }
        traffic
    }

    /// The lease of a function with these tags. Environments of another concurrency are others, so it is part of the
    /// revision; without the tag the lease is the record's own.
    pub(crate) fn applied_to(&self, lease: Arc<Lease>) -> Arc<Lease> {
        let Some(invocations_max) = self.concurrency.filter(|concurrency| *concurrency > 1) else {
            return lease;
        };
        let mut lease = Lease::clone(&lease);
        lease.revision = format!("{}-{invocations_max}", lease.revision);
        lease.invocations_max = invocations_max;
        // A snapshot is of a runtime that takes one at a time.
        lease.snapshot = None;
        if lease.initialization == Initialization::SnapStart {
            lease.initialization = Initialization::OnDemand;
        }
        Arc::new(lease)
    }

    fn read(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            RESPONSE_CACHE => self.response_cache = Some(response_cache(value)?),
            BATCH => self.batching = Some(batching(value)?),
            CONCURRENCY => self.concurrency = Some(concurrency(value)?),
            _ => return Err(format!("Lambent knows {RESPONSE_CACHE}, {BATCH} and {CONCURRENCY}")),
        }
        Ok(())
    }
}

fn response_cache(value: &str) -> Result<ResponseCaching, String> {
    let mut parts = Parts::read(value, &["ttl", "max", "exclude"])?;
    let ttl = parts
        .take("ttl")
        .ok_or("it needs ttl:SECONDS, such as ttl:300,max:1GiB")?;
    let seconds = number(ttl.strip_suffix('s').unwrap_or(ttl), "ttl", 1, TTL_SECONDS_MAX)?;
    let mut excluded = parts.take("exclude").map_or(Ok(Vec::new()), paths)?;
    excluded.sort_unstable();
    excluded.dedup();
    Ok(ResponseCaching {
        ttl: Duration::from_secs(seconds),
        bytes_max: parts.take("max").map_or(Ok(CACHE_BYTES_DEFAULT), size)?,
        excluded,
    })
}

fn batching(value: &str) -> Result<Batching, String> {
    let mut parts = Parts::read(value, &["max", "wait"])?;
    let most = parts
        .take("max")
        .ok_or("it needs max:EVENTS, such as max:32,wait:5ms")?;
    let events_max = number(most, "max", 1, u64::from(BATCH_EVENTS_MAX))?;
    let wait = match parts.take("wait") {
        None => BATCH_WAIT_DEFAULT,
        Some(text) => {
            let digits = text
                .strip_suffix("ms")
                .ok_or_else(|| format!("wait:{text} has no unit: write wait:5ms"))?;
            Duration::from_millis(number(digits, "wait", 0, BATCH_WAIT_MS_MAX)?)
        }
    };
    Ok(Batching {
        events_max: u32::try_from(events_max).unwrap_or(BATCH_EVENTS_MAX),
        wait,
    })
}

fn concurrency(value: &str) -> Result<u32, String> {
    let most = number(value, "concurrency", 1, u64::from(CONCURRENCY_MAX))?;
    Ok(u32::try_from(most).unwrap_or(1))
}

/// The parts `NAME:TEXT` of a value, each name at most once.
struct Parts<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Parts<'a> {
    fn read(value: &'a str, known: &[&str]) -> Result<Self, String> {
        let mut parts = BTreeMap::new();
        for part in value.split([',', ' ']).filter(|part| !part.is_empty()) {
            let (name, text) = part
                .split_once(':')
                .ok_or_else(|| format!("'{part}' is not NAME:VALUE"))?;
            if !known.contains(&name) {
                return Err(format!("'{name}' is none of {}", known.join(", ")));
            }
            if parts.insert(name, text).is_some() {
                return Err(format!("'{name}' is there twice"));
            }
        }
        Ok(Self(parts))
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        self.0.remove(name)
    }
}

fn number(text: &str, name: &str, least: u64, most: u64) -> Result<u64, String> {
    // `parse` takes a plus sign, too.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{name}:{text} is not a number from {least} to {most}"))
}

fn size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1024), ("MiB", 1024 * 1024), ("GiB", 1024 * 1024 * 1024)];
    let found = units
        .iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (digits, bytes) = found.ok_or_else(|| format!("max:{text} has no unit of KiB, MiB, GiB"))?;
    // 1 TiB: the machine's own limit is far below.
    Ok(number(digits, "max", 1, (1 << 40) / bytes)? * bytes)
}

fn paths(text: &str) -> Result<Vec<Vec<String>>, String> {
    let paths: Vec<Vec<String>> = text
        .split([';', '+'])
        .map(|path| path.split('.').map(str::to_owned).collect())
        .collect();
    if paths.iter().flatten().any(String::is_empty) {
        return Err(format!("exclude:{text} names a field without a name"));
    }
    if paths.len() > EXCLUDED_MAX {
        return Err(format!("exclude names more than {EXCLUDED_MAX} fields"));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<Traffic, String> {
        let tags = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        check(&tags).map_err(|error| error.to_string())?;
        Ok(Traffic::of(&tags))
    }

    #[test]
    fn what_a_cache_is_told() {
        let check = |value: &str, ttl: u64, bytes_max: u64, excluded: &[&[&str]]| {
            let found = read(RESPONSE_CACHE, value).unwrap().response_cache.unwrap();
            let excluded = excluded
                .iter()
                .map(|path| path.iter().map(|name| (*name).to_owned()).collect())
                .collect();
            let expected = ResponseCaching {
                ttl: Duration::from_secs(ttl),
                bytes_max,
                excluded,
            };
            assert_eq!(found, expected, "{value}");
        };
        check("ttl:300,max:1GiB", 300, 1 << 30, &[]);
        check("ttl:300s max:2MiB", 300, 2 << 20, &[]);
        check("max:1KiB, ttl:1", 1, 1024, &[]);
        check(
            "ttl:5,exclude:trace;a.b.c;a;a",
            5,
            64 << 20,
            &[&["a"], &["a", "b", "c"], &["trace"]],
        );
        check("ttl:5 exclude:trace+when", 5, 64 << 20, &[&["trace"], &["when"]]);
    }

    #[test]
    fn what_a_batch_is_told() {
        let check = |value: &str, events_max: u32, wait_ms: u64| {
            let wait = Duration::from_millis(wait_ms);
            assert_eq!(
                read(BATCH, value).unwrap().batching,
                Some(Batching { events_max, wait }),
                "{value}"
            );
        };
        check("max:32,wait:5ms", 32, 5);
        check("wait:0ms max:1", 1, 0);
        check("max:1024", 1024, 5);
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let check = |key: &str, value: &str, expected: &str| {
            let error = read(key, value).unwrap_err();
            assert_eq!(
                error,
                format!("The value '{value}' of tag '{key}' is not valid: {expected}")
            );
        };
        check(RESPONSE_CACHE, "", "it needs ttl:SECONDS, such as ttl:300,max:1GiB");
        check(RESPONSE_CACHE, "ttl:0", "ttl:0 is not a number from 1 to 2592000");
        check(RESPONSE_CACHE, "ttl:+5", "ttl:+5 is not a number from 1 to 2592000");
        check(RESPONSE_CACHE, "ttl:5,ttl:6", "'ttl' is there twice");
        check(RESPONSE_CACHE, "ttl", "'ttl' is not NAME:VALUE");
        check(RESPONSE_CACHE, "ttl:5,wait:5ms", "'wait' is none of ttl, max, exclude");
        check(RESPONSE_CACHE, "ttl:5,max:5", "max:5 has no unit of KiB, MiB, GiB");
        check(
            RESPONSE_CACHE,
            "ttl:5,max:99999999999999GiB",
            "max:99999999999999 is not a number from 1 to 1024",
        );
        check(
            RESPONSE_CACHE,
            "ttl:5,exclude:a..b",
            "exclude:a..b names a field without a name",
        );
        check(BATCH, "wait:5ms", "it needs max:EVENTS, such as max:32,wait:5ms");
        check(BATCH, "max:5,wait:5", "wait:5 has no unit: write wait:5ms");
        check(BATCH, "max:5,wait:1001ms", "wait:1001 is not a number from 0 to 1000");
        check(
            "lambent:cache",
            "x",
            "Lambent knows lambent:response-cache, lambent:batch and lambent:concurrency",
        );
        check(CONCURRENCY, "0", "concurrency:0 is not a number from 1 to 256");
    }

    #[test]
    fn what_an_older_record_holds_does_no_harm() {
        let tags = BTreeMap::from([
            ("lambent:batch".to_owned(), "many".to_owned()),
            ("team".to_owned(), "ttl:5".to_owned()),
        ]);
        assert_eq!(Traffic::of(&tags), Traffic::default());
    }
}
