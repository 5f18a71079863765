//! `lambent function starts`: cold starts, explained.

use crate::arguments::GlobalArguments;
use crate::environment;
use crate::output;
use anyhow::Result;
use api::ColdStart;
use serde_json::json;

/// Characters in the bar of the slowest start.
const BAR_WIDTH: u64 = 40;

/// A letter for each part, in the bar.
const PARTS: [(&str, char); 6] = [
    ("lease", 'l'),
    ("mount", 'm'),
    ("sandbox", 's'),
    ("runtime", 'r'),
    ("init", 'i'),
    ("first_byte", 'f'),
];

pub(crate) fn run(global: &GlobalArguments, name: &str, last: u32) -> Result<()> {
    let places = environment::places(global)?;
    let runtime = environment::start_runtime()?;
    let starts = runtime.block_on(async {
        let control = environment::record(global, &places).await?;
        anyhow::Ok(control.starts(&global.account, name, last).await?)
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
            milliseconds(cold.total_us),
            part(cold, "mount"),
            part(cold, "sandbox"),
            part(cold, "runtime"),
            part(cold, "init"),
            tiers(cold),
            bar(cold, longest),
        ]
    });
    println!(
        "{}",
        output::table(
            [
                "version",
                "total ms",
                "mount",
                "sandbox",
                "runtime",
                "init",
                "read",
                "m mount, s sandbox, r runtime, i init"
            ],
            rows
        )
    );
    Ok(())
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
