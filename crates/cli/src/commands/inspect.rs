//! `lambent image inspect`.

use crate::output::{self, bytes, percent};
use anyhow::Result;
use image::images::{Images, InspectedImage};
use image::record::{RecordDetails, RecordSummary};
use serde::Serialize;
use serde_json::Value;

pub(crate) fn run(images: &Images, name: &str, json: bool) -> Result<()> {
    let image = images.inspect(name)?;
    if json {
        return output::print_json(&InspectJson::of(&image));
    }
    print(&image);
    Ok(())
}

#[derive(Serialize)]
struct InspectJson<'a> {
    #[serde(flatten)]
    summary: &'a RecordSummary,
    metadata_chunks: u32,
    manifest_bytes: u64,
    unique_bytes: u64,
    #[serde(flatten)]
    details: &'a RecordDetails,
}

impl<'a> InspectJson<'a> {
    const fn of(image: &'a InspectedImage) -> Self {
        Self {
            summary: &image.summary,
            metadata_chunks: image.metadata_chunks,
            manifest_bytes: image.manifest_bytes,
            unique_bytes: image.unique_bytes,
            details: &image.details,
        }
    }
}

fn print(image: &InspectedImage) {
    let (summary, details) = (&image.summary, &image.details);
    let config = |field: &str| shown(details.config.pointer(&format!("/config/{field}")));
    println!(
        "{}",
        output::facts([
            ("name", summary.name.clone()),
            ("source", summary.source.clone()),
            (
                "digest",
                details
                    .manifest_digest
                    .clone()
                    .unwrap_or_else(|| "none (a docker archive)".to_owned())
            ),
            ("platform", summary.platform.clone()),
            (
                "manifest",
                format!(
                    "{}, {}, root {}",
                    summary.manifest,
                    bytes(image.manifest_bytes),
                    summary.generation
                )
            ),
            (
                "image",
                format!("{}, {} files", bytes(summary.image_bytes), summary.files)
            ),
            (
                "chunks",
                format!(
                    "{}, of which {} zero and {} metadata",
                    summary.chunks, summary.chunks_zero, image.metadata_chunks
                )
            ),
            ("stored", bytes(summary.stored_bytes)),
            (
                "only here",
                format!(
                    "{}, {} of what is stored",
                    bytes(image.unique_bytes),
                    percent(image.unique_bytes, summary.stored_bytes)
                )
            ),
            ("entry point", config("Entrypoint")),
            ("command", config("Cmd")),
            ("environment", config("Env")),
            ("directory", config("WorkingDir")),
            ("user", config("User")),
        ])
    );
    let rows = details.layers.iter().map(|layer| {
        [
            layer.diff_id.clone(),
            bytes(layer.source_bytes),
            bytes(layer.plain_bytes),
        ]
    });
    println!("\n{}", output::table(["layer", "in the source", "plain"], rows));
}

/// A value of the configuration on one line.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().map(|item| shown(Some(item))).collect::<Vec<_>>().join(" "),
        Some(other) => other.to_string(),
    }
}
