//! What `lambent store` prints.

use super::cache_tables;
use crate::output::{self, bytes, percent};
use anyhow::Result;
use chunk::Account;
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{AccountPolicy, GcReport, GcSettings, PolicyScope, Root, RootState, Survey};
use worker::CacheStats;

/// What the tiers on this machine gave.
pub(super) enum TierHits {
    /// Since the daemon began.
    Known(Box<CacheStats>),
    /// None runs: nothing is mounted.
    NoDaemon,
    /// It runs, and did not say; why.
    Unknown(String),
}

#[derive(Serialize)]
struct RootJson {
    generation: u32,
    state: String,
    since_unix_ms: u64,
    alarms: u32,
    alarm_waiting: bool,
}

impl RootJson {
    fn of((root, alarm_waiting): &(Root, bool)) -> Self {
        Self {
            generation: root.generation,
            state: root.state.to_string(),
            since_unix_ms: root.since_ms,
            alarms: root.alarms,
            alarm_waiting: *alarm_waiting,
        }
    }
}

pub(super) fn roots(roots: &[(Root, bool)], json: bool) -> Result<()> {
    if json {
        return output::print_json(&roots.iter().map(RootJson::of).collect::<Vec<_>>());
    }
    let rows = roots.iter().map(|(root, alarm_waiting)| {
        let alarms = if *alarm_waiting {
            format!("{} and one that waits for a collection", root.alarms)
        } else {
            root.alarms.to_string()
        };
        [root.generation.to_string(), root.state.to_string(), age(root), alarms]
    });
    println!("{}", output::table(["root", "state", "since", "alarms"], rows));
    Ok(())
}

fn age(root: &Root) -> String {
    if root.since_ms == 0 {
        return "-".to_owned();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = now.saturating_sub(Duration::from_millis(root.since_ms));
    format!("{} ago", indicatif::HumanDuration(since))
}

pub(super) fn collection(report: &GcReport, all: &[(Root, bool)], settings: &GcSettings, json: bool) -> Result<()> {
    #[derive(Serialize)]
    struct Change {
        generation: u32,
        to: String,
    }
    #[derive(Serialize)]
    struct Collection<'a> {
        dry_run: bool,
        changes: Vec<Change>,
        manifests_live: u64,
        manifests_moved: u64,
        chunks_moved: u64,
        bytes_moved: u64,
        objects_deleted: u64,
        bytes_deleted: u64,
        keys_deleted: u64,
        popular_chunks: u64,
        pushes_open: u64,
        pushes_revoked: u64,
        alarms: &'a [u32],
        faults: &'a [String],
        roots: Vec<RootJson>,
    }
    if json {
        let change = |(generation, state): &(u32, RootState)| Change {
            generation: *generation,
            to: state.to_string(),
        };
        return output::print_json(&Collection {
            dry_run: settings.is_dry_run,
            changes: report.changes.iter().map(change).collect(),
            manifests_live: report.manifests_live,
            manifests_moved: report.manifests_moved,
            chunks_moved: report.chunks_moved,
            bytes_moved: report.bytes_moved,
            objects_deleted: report.objects_deleted,
            bytes_deleted: report.bytes_deleted,
            keys_deleted: report.keys_deleted,
            popular_chunks: report.popular_chunks,
            pushes_open: report.pushes_open,
            pushes_revoked: report.pushes_revoked,
            alarms: &report.alarms,
            faults: &report.faults,
            roots: all.iter().map(RootJson::of).collect(),
        });
    }
    print(report, settings);
    roots(all, false)
}

fn print(report: &GcReport, settings: &GcSettings) {
    let would = if settings.is_dry_run { "would be " } else { "" };
    if report.changes.is_empty() {
        println!("nothing is due");
    }
    for (generation, state) in &report.changes {
        println!("root {generation} {would}{state}");
    }
    println!(
        "{} chunks of {} images {would}moved ({}), {} objects {would}deleted ({})",
        report.chunks_moved,
        report.manifests_moved,
        bytes(report.bytes_moved),
        report.objects_deleted,
        bytes(report.bytes_deleted),
    );
    if report.popular_chunks > 0 {
        println!(
            "{} chunks are so popular that new images store them under one of several salts",
            report.popular_chunks
        );
    }
    if report.keys_deleted > 0 {
        println!(
            "{} keys {would}deleted, which a rotation had wrapped anew for images that are gone",
            report.keys_deleted
        );
    }
    if report.pushes_open + report.pushes_revoked > 0 {
        println!(
            "{} pushes into a retired root are on their way, {} were sent to the new one",
            report.pushes_open, report.pushes_revoked
        );
    }
    for root in &report.alarms {
        eprintln!(
            "warning: root {root} was still needed after it expired; it is retired again, and nothing of it was deleted"
        );
    }
    for fault in &report.faults {
        eprintln!("warning: {fault}; push the image again");
    }
    println!();
}

pub(super) fn survey(survey: &Survey, hits: &TierHits, json: bool) -> Result<()> {
    #[derive(Serialize)]
    struct RootUseJson {
        generation: u32,
        state: String,
        manifests: u64,
        chunks: u64,
        bytes: u64,
        dead_bytes: u64,
        moved_bytes: u64,
        salted_images: u64,
    }
    #[derive(Serialize)]
    struct PopularJson {
        chunk: String,
        images: u64,
        stored_bytes: u32,
    }
    #[derive(Serialize)]
    struct SurveyJson<'a> {
        images: u64,
        referenced_bytes: u64,
        distinct_bytes: u64,
        dead_bytes: u64,
        salt_generations: u64,
        most_popular: Option<PopularJson>,
        roots: Vec<RootUseJson>,
        /// `null` when no daemon runs, or it does not say.
        cache: Option<&'a CacheStats>,
    }
    if !json {
        print_survey(survey);
        print_hits(hits);
        return Ok(());
    }
    let roots = survey.roots.iter().map(|used| RootUseJson {
        generation: used.root.generation,
        state: used.root.state.to_string(),
        manifests: used.manifests,
        chunks: used.chunks,
        bytes: used.bytes,
        dead_bytes: used.dead_bytes,
        moved_bytes: used.moved_bytes,
        salted_images: used.salted_manifests,
    });
    output::print_json(&SurveyJson {
        images: survey.manifests_live,
        referenced_bytes: survey.bytes_referenced,
        distinct_bytes: survey.bytes_distinct,
        dead_bytes: dead_bytes(survey),
        salt_generations: survey.salt_generations,
        most_popular: survey.popular.map(|popular| PopularJson {
            chunk: popular.id.to_string(),
            images: popular.manifests,
            stored_bytes: popular.stored_bytes,
        }),
        roots: roots.collect(),
        cache: match hits {
            TierHits::Known(cache) => Some(cache),
            TierHits::NoDaemon => None,
            TierHits::Unknown(reason) => {
                warn_of_hits(reason);
                None
            }
        },
    })
}

fn print_hits(hits: &TierHits) {
    match hits {
        TierHits::Known(cache) => cache_tables::print(cache),
        TierHits::NoDaemon => println!("\nhits by tier: nothing is mounted here, so no daemon counts them"),
        TierHits::Unknown(reason) => warn_of_hits(reason),
    }
}

fn warn_of_hits(reason: &str) {
    eprintln!("warning: hits by tier are not known: {reason}");
}

fn dead_bytes(survey: &Survey) -> u64 {
    survey.roots.iter().map(|used| used.dead_bytes).sum()
}

fn print_survey(survey: &Survey) {
    let popular = survey.popular.map_or_else(
        || "-".to_owned(),
        |popular| {
            let share = percent(popular.manifests, survey.manifests_live);
            let short: String = popular.id.to_string().chars().take(12).collect();
            format!(
                "{} of {} images ({share}), chunk {short}",
                popular.manifests, survey.manifests_live
            )
        },
    );
    let saved = survey.bytes_referenced.saturating_sub(survey.bytes_distinct);
    println!(
        "{}",
        output::facts([
            ("images", survey.manifests_live.to_string()),
            ("their chunks", bytes(survey.bytes_referenced)),
            (
                "as shared",
                format!(
                    "{}, {} saved",
                    bytes(survey.bytes_distinct),
                    percent(saved, survey.bytes_referenced)
                )
            ),
            ("dead", bytes(dead_bytes(survey))),
            ("salts in use", survey.salt_generations.to_string()),
            ("one bad chunk breaks", format!("at most {popular}")),
        ])
    );
    let rows = survey.roots.iter().map(|used| {
        [
            used.root.generation.to_string(),
            used.root.state.to_string(),
            used.manifests.to_string(),
            used.chunks.to_string(),
            bytes(used.bytes),
            bytes(used.dead_bytes),
            bytes(used.moved_bytes),
            used.salted_manifests.to_string(),
        ]
    });
    let header = [
        "root",
        "state",
        "manifests",
        "chunks",
        "bytes",
        "dead",
        "moved on",
        "salt of images",
    ];
    println!("\n{}", output::table(header, rows));
}

pub(super) fn policy(account: &Account, policy: AccountPolicy, json: bool) -> Result<()> {
    #[derive(Serialize)]
    struct Policy<'a> {
        account: &'a str,
        salt_scope: PolicyScope,
    }
    if json {
        return output::print_json(&Policy {
            account: account.as_str(),
            salt_scope: policy.salt_scope,
        });
    }
    let with = match policy.salt_scope {
        PolicyScope::Shared => "with all accounts of the store",
        PolicyScope::Account => "with nobody",
    };
    println!("new chunks of account {account} are shared {with}");
    Ok(())
}
