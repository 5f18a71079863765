//! Does the sum of it reach what was asked for? Source of the aims: issue 3.

use super::ondemand::Origin;
use super::rounds::{ImageStarts, Way};
use super::samples::geometric_mean;
use super::tables::Report;

/// Adds a table of the aims that concern starts, over all images.
pub(super) fn add(report: &mut Report, images: &[ImageStarts]) {
    let mut rows = Vec::new();
    for way in [Way::Trace, Way::StartPack] {
        let ratios: Vec<f64> = images.iter().filter_map(|image| ratio(image, Way::Pull, way)).collect();
        if !ratios.is_empty() {
            let mean = geometric_mean(&ratios);
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let name = |what: &str| format!("full pull ÷ {} behind the link, {what}", way.name());
            rows.push(row(
                name("geometric mean"),
                "at least 10",
                format!("{mean:.1}"),
                mean >= 10.0,
            ));
            rows.push(row(
                name("worst image"),
                "at least 1",
                format!("{least:.1}"),
                least >= 1.0,
            ));
        }
    }
    for image in images {
        let median = |way| Some(image.of(Origin::Directory, way)?.seconds.median());
        for way in [Way::ChunksAgain, Way::StartPackAgain] {
            if let (Some(warm), Some(cold)) = (median(way), median(Way::LoopCold)) {
                let ratio = warm / cold;
                let name = format!("{}: {} ÷ all local, page cache cold", image.image, way.name());
                rows.push(row(name, "at most 1.5", format!("{ratio:.2}"), ratio <= 1.5));
            }
        }
        if let Some(pack) = image.of(Origin::S3, Way::StartPack) {
            let share = pack.fetched_bytes.median() / image.image_bytes.max(1) as f64 * 100.0;
            let name = format!("{}: fetched with the start pack, of the image", image.image);
            rows.push(row(name, "at most 10 %", format!("{share:.1} %"), share <= 10.0));
        }
    }
    if !rows.is_empty() {
        report.add("Aims of starts", "", ["aim", "asked", "measured", "reached"], &rows);
    }
}

fn ratio(image: &ImageStarts, slow: Way, fast: Way) -> Option<f64> {
    let median = |way| Some(image.of(Origin::S3, way)?.seconds.median());
    Some(median(slow)? / median(fast)?)
}

fn row(name: String, asked: &str, measured: String, is_reached: bool) -> [String; 4] {
    [
        name,
        asked.to_owned(),
        measured,
        if is_reached { "yes" } else { "no" }.to_owned(),
    ]
}
