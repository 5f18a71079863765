//! `lambent function starts`: cold starts, explained.

use crate::arguments::GlobalArguments;
use crate::environment;
use crate::output;
use anyhow::Result;
use api::ColdStart;
use chunk::Account;
use control::{Control, ControlError, Optimization, StartRecord, is_restore};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Characters in the bar of the slowest start.
const BAR_WIDTH: u64 = 40;

/// A letter for each part, in the bar.
const PARTS: [(&str, char); 8] = [
    ("lease", 'l'),
    ("mount", 'm'),
    ("sandbox", 's'),
    ("runtime", 'r'),
    ("init", 'i'),
    ("restore", 'R'),
    ("hooks", 'h'),
    ("first_byte", 'f'),
];

pub(crate) fn run(global: &GlobalArguments, name: &str, last: u32) -> Result<()> {
    let places = environment::places(global)?;
    let runtime = environment::start_runtime()?;
    let (starts, notes) = runtime.block_on(async {
        let control = environment::record(global, &places).await?;
        let starts = control.starts(&global.account, name, last).await?;
        let notes = notes(&control, (&global.account, name), &starts).await?;
        anyhow::Ok((starts, notes))
    })?;
    if global.json {
        let lines: Vec<_> = starts
            .iter()
            .map(|start| json!({ "version": start.version, "request_id": start.request_id, "start": start.start }))
            .collect();
        return output::print_json(&lines);
    }
    if starts.is_empty() {
        println!("{name} has had no cold start that is recorded");
        return Ok(());
    }
    print_table(&starts);
    notes.iter().for_each(|note| println!("{note}"));
    Ok(())
}

fn print_table(starts: &[StartRecord]) {
    let longest = starts
        .iter()
        .map(|start| start.start.total_us)
        .max()
        .unwrap_or(1)
        .max(1);
    let rows = starts.iter().map(|start| {
        let cold = &start.start;
        [
            start.version.clone(),
            kind(cold).to_owned(),
            milliseconds(cold.total_us),
            part(cold, "mount"),
            part(cold, "sandbox"),
            part(cold, "runtime"),
            part(cold, "init"),
            part(cold, "restore"),
            tiers(cold),
            bar(cold, longest),
        ]
    });
    println!(
        "{}",
        output::table(
            [
                "version",
                "kind",
                "total ms",
                "mount",
                "sandbox",
                "runtime",
                "init",
                "restore",
                "read",
                "m mount, s sandbox, r runtime, i init, R restore, h hooks"
            ],
            rows
        )
    );
}

/// How an environment came to be.
fn kind(start: &ColdStart) -> &'static str {
    match start.fell_back {
        Some(_) => "fell back",
        None if is_restore(start) => "restore",
        None => "start",
    }
}

/// What is to be said of these starts' versions and their snapshots.
async fn notes(
    control: &Control,
    (account, name): (&Account, &str),
    starts: &[StartRecord],
) -> Result<Vec<String>, ControlError> {
    let mut notes = fall_backs(starts);
    let versions: BTreeSet<&str> = starts.iter().map(|start| start.version.as_str()).collect();
    for version in versions {
        // A version that is gone has nothing to say any more.
        if let Ok(record) = control.function(account, name, Some(version)).await
            && let Optimization::Off { reason } = record.optimization
        {
            notes.push(format!("version {version} has no snapshot: {reason}"));
        }
        if let Some(slower) = control.slower_restores(account, name, version).await? {
            notes.push(format!(
                "version {} restores slower than version {}: {} ms after {} ms (medians)",
                slower.version,
                slower.before,
                milliseconds(slower.median_us),
                milliseconds(slower.before_median_us)
            ));
        }
    }
    Ok(notes)
}

/// Each reason once, with its share of the starts of versions that have snapshots.
fn fall_backs(starts: &[StartRecord]) -> Vec<String> {
    let is_restored = |start: &&StartRecord| start.is_restore() || start.start.fell_back.is_some();
    let restorable = starts.iter().filter(is_restored).count();
    let mut reasons: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for start in starts {
        if let Some(reason) = &start.start.fell_back {
            *reasons.entry((&start.version, reason)).or_default() += 1;
        }
    }
    let note = |((version, reason), count): ((&str, &str), usize)| {
        format!("{count} of {restorable} starts with a snapshot fell back (version {version}): {reason}")
    };
    reasons.into_iter().map(note).collect()
}

fn milliseconds(microseconds: u64) -> String {
    format!("{:.1}", microseconds as f64 / 1000.0)
}

fn part(start: &ColdStart, name: &str) -> String {
    let found = start.parts.iter().find(|part| part.name == name);
    found.map_or_else(|| "-".to_owned(), |part| milliseconds(part.took_us))
}

fn tiers(start: &ColdStart) -> String {
    let read = start.tiers.iter().filter(|tier| tier.chunks > 0);
    let texts: Vec<String> = read
        .map(|tier| format!("{} {}", output::bytes(tier.bytes), tier.tier))
        .collect();
    if texts.is_empty() {
        "nothing".to_owned()
    } else {
        texts.join(", ")
    }
}

/// Each part where it lies in time; gaps are dots.
fn bar(start: &ColdStart, longest_us: u64) -> String {
    let column = |us: u64| (us * BAR_WIDTH / longest_us).min(BAR_WIDTH) as usize;
    let mut bar = vec!['·'; column(start.total_us).max(1)];
    for part in &start.parts {
        let letter = PARTS
            .iter()
            .find(|(name, _)| *name == part.name)
            .map_or('?', |(_, letter)| *letter);
        let (from, to) = (column(part.begin_us), column(part.begin_us + part.took_us));
        bar.iter_mut().take(to).skip(from).for_each(|cell| *cell = letter);
    }
    bar.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::StartPart;
    use std::time::Duration;

    fn record(version: &str, start: ColdStart) -> StartRecord {
        StartRecord {
            version: version.to_owned(),
            request_id: String::new(),
            start,
        }
    }

    #[test]
    fn a_start_is_ordinary_or_a_restore_or_fell_back() {
        let ordinary = ColdStart::default();
        let restored = ColdStart {
            parts: vec![StartPart::new("restore", Duration::ZERO, Duration::from_millis(40))],
            ..ColdStart::default()
        };
        let fallen = ColdStart {
            fell_back: Some("another processor".to_owned()),
            ..ColdStart::default()
        };
        assert_eq!(
            [kind(&ordinary), kind(&restored), kind(&fallen)],
            ["start", "restore", "fell back"]
        );
        let starts = [
            record("1", ordinary),
            record("2", restored),
            record("2", fallen.clone()),
            record("2", fallen),
        ];
        let expected = "2 of 3 starts with a snapshot fell back (version 2): another processor";
        assert_eq!(fall_backs(&starts), [expected]);
    }

    #[test]
    fn a_bar_shows_parts_in_proportion() {
        let part = |name, begin, took| StartPart::new(name, Duration::from_millis(begin), Duration::from_millis(took));
        let start = ColdStart {
            total_us: 40_000,
            parts: vec![part("mount", 0, 10), part("sandbox", 10, 5), part("init", 20, 20)],
            ..ColdStart::default()
        };
        let expected = format!("{}{}{}{}", "m".repeat(10), "s".repeat(5), "·".repeat(5), "i".repeat(20));
        assert_eq!(bar(&start, 40_000), expected);
        assert_eq!(bar(&start, 80_000).chars().count(), 20);
    }
}
