//! `lambent keys create|ls|revoke`.

use crate::arguments::{GlobalArguments, KeysCommand};
use crate::environment;
use crate::output;
use anyhow::{Context, Result};
use control::{AccessKey, Control, KeyPolicy, KeyStatus};
use serde_json::{Value, json};

pub(crate) fn run(global: &GlobalArguments, command: &KeysCommand) -> Result<()> {
    let places = environment::places(global)?;
    let runtime = environment::start_runtime()?;
    runtime.block_on(async {
        // What a person wrote is looked at before anything is opened.
        let policy = match command {
            KeysCommand::Create { policy } => policy.as_deref().map(read_policy).transpose()?,
            _ => None,
        };
        let control = environment::record(global, &places).await?;
        match command {
            KeysCommand::Create { .. } => create(global, &control, policy).await,
            KeysCommand::Ls => list(global, &control).await,
            KeysCommand::Revoke { id } => revoke(global, &control, id).await,
        }
    })
}

/// What begins as an object is the policy itself, anything else a file's name.
fn read_policy(text: &str) -> Result<KeyPolicy> {
    if text.trim_start().starts_with('{') {
        return KeyPolicy::parse(text).context("cannot take --policy");
    }
    let written = std::fs::read_to_string(text).with_context(|| format!("cannot read the policy {text}"))?;
    KeyPolicy::parse(&written).with_context(|| format!("cannot take the policy {text}"))
}

async fn create(global: &GlobalArguments, control: &Control, policy: Option<KeyPolicy>) -> Result<()> {
    let key = control.create_limited_key(&global.account, policy).await?;
    if global.json {
        return output::print_json(&json!({
            "access_key_id": key.id,
            "secret_access_key": key.secret.as_str(),
            "policy": policy_of(&key),
        }));
    }
    println!(
        "{}",
        output::facts([
            ("access key id", key.id.clone()),
            ("secret access key", key.secret.as_str().to_owned()),
            ("may do", limits(&key).to_owned()),
        ])
    );
    println!("\nThe secret is shown this once.");
    Ok(())
}

async fn list(global: &GlobalArguments, control: &Control) -> Result<()> {
    let keys = control.access_keys(Some(&global.account)).await?;
    if global.json {
        let line = |key: &AccessKey| {
            json!({
                "access_key_id": key.id,
                "status": status(key.status),
                "created_ms": key.created_ms,
                "policy": policy_of(key),
            })
        };
        return output::print_json(&keys.iter().map(line).collect::<Vec<_>>());
    }
    let rows = keys.iter();
    let rows = rows.map(|key| [key.id.clone(), status(key.status).to_owned(), limits(key).to_owned()]);
    println!("{}", output::table(["access key id", "status", "may do"], rows));
    Ok(())
}

async fn revoke(global: &GlobalArguments, control: &Control, id: &str) -> Result<()> {
    control.revoke_access_key(id).await?;
    if global.json {
        return output::print_json(&json!({ "revoked": id }));
    }
    println!("{id} is revoked");
    Ok(())
}

/// Null for a key without a policy.
fn policy_of(key: &AccessKey) -> Value {
    let policy = key.policy.as_ref();
    policy.map_or(Value::Null, |policy| {
        serde_json::from_str(policy.text()).unwrap_or_default()
    })
}

fn limits(key: &AccessKey) -> &'static str {
    match (key.status, &key.policy) {
        (KeyStatus::Unreadable, _) => "nothing",
        (_, None) => "everything",
        (_, Some(_)) => "as its policy says",
    }
}

fn status(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "active",
        KeyStatus::Revoked => "revoked",
        KeyStatus::Unreadable => "unreadable",
    }
}
