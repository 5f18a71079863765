//! What was measured, as tables: on the terminal at once, and as Markdown for the results.

use super::attach::Attach;
use super::first_byte::FirstByte;
use super::link_check::LinkCheck;
use super::ondemand::Origin;
use super::rounds::{ImageStarts, Starts, Way};
use super::samples::Samples;
use super::throughput::{Throughput, Tiers};
use super::walk::Walk;
use crate::terminal::{bytes, markdown, table};

/// All tables so far.
#[derive(Default)]
pub(super) struct Report {
    markdown: String,
}

impl Report {
    /// What goes into the file.
    pub(super) fn markdown(&self) -> &str {
        &self.markdown
    }

    /// Prints a table and keeps it.
    pub(super) fn add<const N: usize>(&mut self, heading: &str, note: &str, header: [&str; N], rows: &[[String; N]]) {
        println!("\n▌ {heading}\n\n{}", table(header, rows));
        if !note.is_empty() {
            println!("  {note}");
        }
        self.markdown += &format!("## {heading}\n\n{note}\n\n{}\n", markdown(header, rows));
    }

    /// Prints and keeps why a part has no table.
    pub(super) fn fail(&mut self, part: &str, error: &anyhow::Error) {
        println!("\n▌ {part}: failed\n\n  {error:#}");
        self.markdown += &format!("## {part}: failed\n\n```\n{error:#}\n```\n\n");
    }

    pub(super) fn link(&mut self, check: &LinkCheck) {
        let rate = |name: &str, samples: &Samples| figure(name, samples, 1e-6, "MB/s");
        let time = |name: &str, samples: &Samples| figure(name, samples, 1.0, "ms");
        let rows = [
            rate("rate of one connection, shape alone", &check.rate),
            rate("rate of one connection, with the delay", &check.rate_delayed),
            time("a byte asked for, shape alone", &check.round_trip_ms),
            time("a byte asked for, with the delay", &check.round_trip_delayed_ms),
            time(
                "a byte asked for on a new connection, with the delay",
                &check.first_byte_ms,
            ),
        ];
        let note = "1 Gb/s is 125 MB/s, of which Ethernet, IP and TCP take 5 %.";
        self.add("The link", note, ["figure", "median", "min..max"], &rows);
    }

    /// Times of all ways, then their bytes.
    pub(super) fn starts(&mut self, found: &ImageStarts, origin: Origin) {
        let local = |way| matches!(way, Way::LoopCold | Way::LoopWarm);
        let of = |way| found.of(if local(way) { Origin::Directory } else { origin }, way);
        let pull = of(Way::Pull).map(|starts| starts.seconds.median());
        let cold = of(Way::LoopCold).map(|starts| starts.seconds.median());
        let ways = found
            .starts
            .keys()
            .filter(|(at, way)| local(*way) || *at == origin)
            .map(|(_, way)| *way);
        let mut ways: Vec<Way> = ways.collect();
        ways.sort_unstable();
        let rows = ways.iter().filter_map(|way| Some((way, of(*way)?)));
        let times: Vec<_> = rows
            .clone()
            .map(|(way, starts)| times(*way, starts, pull, cold))
            .collect();
        let name = place(origin);
        self.add(
            &format!("{}: time until ready, {name}", found.image),
            "",
            ["way", "median", "min..max", "pull ÷ it", "it ÷ local cold"],
            &times,
        );
        let moved: Vec<_> = rows
            .filter(|(_, starts)| !starts.fetched_bytes.is_empty() || !starts.wire_bytes.is_empty())
            .map(|(way, starts)| moved(*way, starts, found))
            .collect();
        let note = format!(
            "The image has {}; the start touches {} of it in pages of 4 KiB, metadata included. `fetched` is the daemon's \
             count of stored and so of compressed bytes, `wire` that of the proxy a few milliseconds later, HTTP's headers included; `÷ touched` \
             divides what was fetched.",
            bytes(found.image_bytes),
            bytes(found.touched_bytes)
        );
        self.add(
            &format!("{}: bytes until ready, {name}", found.image),
            &note,
            [
                "way",
                "fetched",
                "of image",
                "÷ touched",
                "wire",
                "requests",
                "prefetch used/late/wasted",
            ],
            &moved,
        );
    }

    /// `round_trip_ms` is the link's.
    pub(super) fn first_bytes(&mut self, image: &str, found: &[FirstByte], round_trip_ms: f64) {
        let rows: Vec<_> = found
            .iter()
            .map(|first| {
                let (least, most) = first.byte_ms.range();
                // What the link alone adds, in round trips: the same case without a link is the base.
                let near = found
                    .iter()
                    .find(|near| near.case == first.case && near.origin == Origin::Directory);
                let waited = near
                    .filter(|_| first.origin == Origin::S3)
                    .map(|near| (first.byte_ms.median() - near.byte_ms.median()) / round_trip_ms);
                [
                    format!("{:?}: {}", first.origin, first.case.name()),
                    format!("{:.1} ms", first.mount_ms.median()),
                    format!("{:.1} ms", first.byte_ms.median()),
                    format!("{least:.1}..{most:.1}"),
                    waited.map_or_else(|| "-".to_owned(), |waited| format!("{waited:.1}")),
                    count(&first.rounds),
                    count(&first.requests),
                ]
            })
            .collect();
        let note = "Whole commands, page cache dropped but for the program itself. `waited` is the time beyond the same case from a directory, in round \
                    trips of the link. `chain` is the longest chain of exchanges at the proxy of which each began after the \
                    one before had ended, TCP's handshakes included; a prefetch's own are among them, and it waits for \
                    nobody, so this is the upper bound. Aims: 20 ms with L1 warm, 3 round trips when cold.";
        let header = ["case", "mount", "first byte", "min..max", "waited", "chain", "requests"];
        self.add(&format!("{image}: mount to first byte"), note, header, &rows);
    }

    pub(super) fn attach(&mut self, image: &str, found: &Attach) {
        let row = |name: &str, samples: &Samples| figure(name, samples, 1.0, "/s");
        let rows = [
            row("lambent image mount, one command after the other", &found.mounts),
            row("lambent image umount", &found.unmounts),
            row("mount of the same loop device (util-linux)", &found.plain_mounts),
            row("lambent --version, the command alone", &found.commands),
        ];
        let note = format!(
            "200 directories in a run; loop devices used: {}. Aim: 200/s.",
            found.loop_devices
        );
        self.add(
            &format!("{image}: attach and mount, shared"),
            &note,
            ["what", "median", "min..max"],
            &rows,
        );
    }

    pub(super) fn walks(&mut self, files: u32, found: &[Walk]) {
        let rows: Vec<_> = found
            .iter()
            .map(|walk| {
                let (least, most) = walk.cold_seconds.range();
                let (cold, warm) = (walk.cold_seconds.median(), walk.warm_seconds.median());
                [
                    walk.name.clone(),
                    format!("{:.3} s", walk.mount_seconds.median()),
                    format!("{cold:.3} s"),
                    format!("{least:.3}..{most:.3}"),
                    format!("{warm:.3} s"),
                    format!("{:.1}", cold / warm),
                    format!("{:.1}", (cold + walk.mount_seconds.median()) / warm),
                ]
            })
            .collect();
        let note = "`find -type f -printf %s`, so every inode is read. Page cache dropped before the mount. Aim: cold at most 5 \
                    times warm.";
        let header = [
            "place",
            "mount",
            "cold",
            "min..max",
            "warm",
            "cold ÷ warm",
            "with the mount",
        ];
        self.add(&format!("find over {files} files"), note, header, &rows);
    }

    pub(super) fn throughput(&mut self, found: &Throughput) {
        let row = |name: &str, samples: &Samples, base: Option<&Samples>| {
            let [name, median, range] = figure(name, samples, 1e-6, "MB/s");
            let share = base.map_or_else(String::new, |base| percent(samples.median(), base.median()));
            [name, median, range, share]
        };
        let direct = if found.direct.median() > found.direct_many.median() {
            &found.direct
        } else {
            &found.direct_many
        };
        let rows = [
            row(
                "page cache, sequential 1 MiB",
                &found.hot_sequential,
                Some(&found.loop_hot_sequential),
            ),
            row("  plain loop", &found.loop_hot_sequential, None),
            row(
                "page cache, random 4 KiB",
                &found.hot_random,
                Some(&found.loop_hot_random),
            ),
            row("  plain loop", &found.loop_hot_random, None),
            row("L1 memory, page cache cold, sequential", &found.memory, None),
            row("L1 disk, page cache cold, sequential", &found.disk, Some(direct)),
            row("  plain loop, page cache cold", &found.loop_cold, Some(direct)),
            row("  O_DIRECT 1 MiB, one at a time", &found.direct, None),
            row("  O_DIRECT 1 MiB, four at once", &found.direct_many, None),
        ];
        let tiers = |tiers: Tiers| {
            let [memory, disk, origin] = [tiers.memory, tiers.disk, tiers.origin].map(bytes);
            format!("{memory} from memory, {disk} from disk, {origin} from the origin")
        };
        let note = format!(
            "`{}`, {}. Rates are of the file's own bytes; what is stored is compressed. The page cache's rows \
             take turns, five times in each run. By the daemon's count, stored bytes: the L1 memory row took {}; the L1 disk row {}. `of base` is the \
             plain loop for the page cache, and the faster O_DIRECT rate for L1 disk. Aims: 95 %, 95 %, 1500 MB/s, 70 %.",
            found.file,
            bytes(found.file_bytes),
            tiers(found.memory_tiers),
            tiers(found.disk_tiers)
        );
        self.add("Throughput", &note, ["what", "median", "min..max", "of base"], &rows);
    }
}

fn times(way: Way, starts: &Starts, pull: Option<f64>, cold: Option<f64>) -> [String; 5] {
    let (least, most) = starts.seconds.range();
    let median = starts.seconds.median();
    [
        way.name().to_owned(),
        format!("{median:.2} s"),
        format!("{least:.2}..{most:.2}"),
        pull.map_or_else(String::new, |pull| format!("{:.1}", pull / median)),
        cold.map_or_else(String::new, |cold| format!("{:.2}", median / cold)),
    ]
}

fn moved(way: Way, starts: &Starts, found: &ImageStarts) -> [String; 7] {
    let fetched = starts.fetched_bytes.median();
    let of = |samples: &Samples, text: String| if samples.is_empty() { "-".to_owned() } else { text };
    let fetch = |text: String| of(&starts.fetched_bytes, text);
    [
        way.name().to_owned(),
        fetch(bytes(fetched as u64)),
        fetch(percent(fetched, found.image_bytes as f64)),
        fetch(format!("{:.2}", fetched / found.touched_bytes.max(1) as f64)),
        of(&starts.wire_bytes, bytes(starts.wire_bytes.median() as u64)),
        count(&starts.requests),
        fetch(format!(
            "{:.0}/{:.0}/{:.0}",
            starts.prefetch_used.median(),
            starts.prefetch_late.median(),
            starts.prefetch_wasted.median()
        )),
    ]
}

/// What a place is called in headings.
pub(super) const fn place(origin: Origin) -> &'static str {
    match origin {
        Origin::Directory => "from a local directory",
        Origin::S3 => "from S3 behind the link",
    }
}

fn figure(name: &str, samples: &Samples, scale: f64, unit: &str) -> [String; 3] {
    let (least, most) = samples.range();
    [
        name.to_owned(),
        format!("{:.1} {unit}", samples.median() * scale),
        format!("{:.1}..{:.1}", least * scale, most * scale),
    ]
}

fn count(samples: &Samples) -> String {
    if samples.is_empty() {
        return "-".to_owned();
    }
    format!("{:.0}", samples.median())
}

fn percent(part: f64, whole: f64) -> String {
    format!("{:.1} %", part / whole.max(1.0) * 100.0)
}
