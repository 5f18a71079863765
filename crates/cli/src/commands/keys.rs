//! `lambent keys create|ls|revoke`.

use crate::arguments::{GlobalArguments, KeysCommand};
use crate::environment;
use crate::output;
use anyhow::Result;
use control::KeyStatus;
use serde_json::json;

pub(crate) fn run(global: &GlobalArguments, command: &KeysCommand) -> Result<()> {
    let places = environment::places(global)?;
    let runtime = environment::start_runtime()?;
    runtime.block_on(async {
        let control = environment::record(global, &places).await?;
        match command {
            KeysCommand::Create => {
                let key = control.create_access_key(&global.account).await?;
                if global.json {
                    return output::print_json(&json!({
                        "access_key_id": key.id,
                        "secret_access_key": key.secret.as_str(),
                    }));
                }
                println!(
                    "{}",
                    output::facts([
                        ("access key id", key.id.clone()),
                        ("secret access key", key.secret.as_str().to_owned()),
                    ])
                );
                println!("\nThe secret is shown this once.");
            }
            KeysCommand::Ls => {
                let keys = control.access_keys(Some(&global.account)).await?;
                if global.json {
                    let lines: Vec<_> = keys
                        .iter()
                        .map(|key| json!({ "access_key_id": key.id, "status": status(key.status), "created_ms": key.created_ms }))
                        .collect();
                    return output::print_json(&lines);
                }
                let rows = keys.into_iter().map(|key| [key.id.clone(), status(key.status).to_owned()]);
                println!("{}", output::table(["access key id", "status"], rows));
            }
            KeysCommand::Revoke { id } => {
                control.revoke_access_key(id).await?;
                if global.json {
                    return output::print_json(&json!({ "revoked": id }));
                }
                println!("{id} is revoked");
            }
        }
        Ok(())
    })
}

fn status(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "active",
        KeyStatus::Revoked => "revoked",
    }
}
