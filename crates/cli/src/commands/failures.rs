//! `lambent function failures`: what no destination took.

use crate::arguments::GlobalArguments;
use crate::environment;
use crate::output;
use anyhow::Result;
use control::FailedDelivery;
use serde_json::json;

pub(crate) fn run(global: &GlobalArguments, name: &str, last: u32) -> Result<()> {
    let places = environment::places(global)?;
    let runtime = environment::start_runtime()?;
    let failures = runtime.block_on(async {
        let control = environment::record(global, &places).await?;
        anyhow::Ok(control.failed_deliveries(&global.account, name, last).await?)
    })?;
    if global.json {
        return output::print_json(&failures.iter().map(as_json).collect::<Vec<_>>());
    }
    if failures.is_empty() {
        println!("every destination of {name} has taken what it was sent, or is still asked to");
        return Ok(());
    }
    let rows = failures.iter().map(|failure| {
        [
            failure.request_id.clone(),
            failure.kind.as_str().to_owned(),
            failure.target.clone(),
            failure.attempts.to_string(),
            failure.reason.clone(),
        ]
    });
    println!(
        "{}",
        output::table(["request", "kind", "target", "tries", "last reason"], rows)
    );
    println!("With --json each has the record that was to be delivered.");
    Ok(())
}

fn as_json(failure: &FailedDelivery) -> serde_json::Value {
    json!({
        "request_id": failure.request_id,
        "kind": failure.kind.as_str(),
        "target": failure.target,
        "attempts": failure.attempts,
        "created_ms": failure.created_ms,
        "failed_ms": failure.failed_ms,
        "reason": failure.reason,
        "body": failure.body,
    })
}
