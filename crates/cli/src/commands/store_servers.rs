//! What `lambent store servers` and `lambent store forget` print.

use crate::environment::Places;
use crate::output;
use anyhow::Result;
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};
use store::{Forgotten, ServerId, ServerUse};

pub(super) fn print(servers: &[ServerUse], places: &Places, json: bool) -> Result<()> {
    #[derive(Serialize)]
    struct Server {
        server: String,
        devices: u64,
        /// By the store's clock; `null` if it never said.
        seen_unix_ms: Option<u128>,
        is_this: bool,
    }
    let this = this_server(places);
    if json {
        let server = |server: &ServerUse| Server {
            server: server.server.to_string(),
            devices: server.devices,
            seen_unix_ms: server.seen.map(since_1970_ms),
            is_this: this == Some(server.server),
        };
        return output::print_json(&servers.iter().map(server).collect::<Vec<_>>());
    }
    if servers.is_empty() {
        println!("no server has had functions in this store");
        return Ok(());
    }
    let rows = servers.iter().map(|server| {
        let this = if this == Some(server.server) { " (this one)" } else { "" };
        [
            format!("{}{this}", server.server),
            server.devices.to_string(),
            server.seen.map_or_else(|| "never".to_owned(), ago),
        ]
    });
    println!("{}", output::table(["server", "devices", "last seen"], rows));
    Ok(())
}

pub(super) fn print_forgotten(server: ServerId, forgotten: Forgotten, json: bool) -> Result<()> {
    #[derive(Serialize)]
    struct ForgottenJson {
        server: String,
        devices: u64,
        records_removed: u64,
    }
    let Forgotten { devices, records } = forgotten;
    if json {
        return output::print_json(&ForgottenJson {
            server: server.to_string(),
            devices,
            records_removed: records,
        });
    }
    println!(
        "server {server} is forgotten: it held {devices} devices, of which {records} were needed by no other server"
    );
    if records > 0 {
        println!("their chunks go with the next collections: `lambent store gc`");
    }
    Ok(())
}

/// The server of this data directory, if it ever had functions.
fn this_server(places: &Places) -> Option<ServerId> {
    let path = places.data.join("packages/devices/server");
    std::fs::read_to_string(path).ok()?.trim_end().parse().ok()
}

fn ago(time: SystemTime) -> String {
    // A store whose clock is ahead has just seen it.
    let since = SystemTime::now().duration_since(time).unwrap_or_default();
    format!("{} ago", indicatif::HumanDuration(since))
}

fn since_1970_ms(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
