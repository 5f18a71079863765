//! `lambent account key show|rotate|rewrap|revoke|restore|prune`: the key that wraps the data keys of an account's images.

use crate::arguments::{AccountKeyCommand, GlobalArguments};
use crate::environment::{self, Parts};
use crate::output;
use crate::progress::{self, Audience, Shown};
use anyhow::{Result, bail};
use keys::{KeyProvider, Keyring, KeyringAccount};
use serde_json::json;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) fn run(global: &GlobalArguments, command: AccountKeyCommand) -> Result<ExitCode> {
    let parts = environment::open(global)?;
    match command {
        AccountKeyCommand::Show => show(&parts, global.json)?,
        AccountKeyCommand::Rotate => {
            let images = &parts.images;
            images.runtime.block_on(images.keys.rotate(&images.account))?;
            return rewrap(&parts, global.json);
        }
        AccountKeyCommand::Rewrap => return rewrap(&parts, global.json),
        AccountKeyCommand::Revoke => set_revoked(&parts, true, global.json)?,
        AccountKeyCommand::Restore => set_revoked(&parts, false, global.json)?,
        AccountKeyCommand::Prune => prune(&parts, global.json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(parts: &Parts, json: bool) -> Result<()> {
    let images = &parts.images;
    let uses = images.wrapping_keys()?.images;
    let own = match &images.keys {
        KeyProvider::Local(keyring) => images.runtime.block_on(keyring.account(&images.account))?,
        _ => None,
    };
    if json {
        let lines = uses
            .iter()
            .map(|(key, images)| json!({ "key": key.name(), "provider_key": key.to_string(), "images": images }));
        return output::print_json(&json!({
            "account": images.account.as_str(),
            "wraps": lines.collect::<Vec<_>>(),
            "keyring_keys": own.as_ref().map(|own| &own.names),
            "revoked": own.as_ref().map(|own| own.revoked),
        }));
    }
    let rows = uses.iter().map(|(key, images)| [key.to_string(), images.to_string()]);
    println!("{}", output::table(["wrapping key", "images"], rows));
    if let Some(KeyringAccount { names, revoked }) = own {
        println!("\nThe keyring's keys, the newest first: {}", names.join(", "));
        if revoked {
            println!("The account's key is revoked.");
        }
    }
    Ok(())
}

fn rewrap(parts: &Parts, json: bool) -> Result<ExitCode> {
    let done = AtomicU64::new(0);
    let look = || Shown::images(done.load(Ordering::Relaxed));
    let found = progress::watch(Audience::of(json), look, || parts.images.rewrap(&done))?;
    if json {
        output::print_json(&json!({
            "key": found.key.name(),
            "rewrapped": found.rewrapped,
            "unchanged": found.unchanged,
            "failures": found.failures,
            "named": found.named,
        }))?;
    } else {
        let (key, rewrapped, unchanged) = (&found.key, found.rewrapped, found.unchanged);
        println!("{rewrapped} images are wrapped anew with {key}; {unchanged} were before");
    }
    if found.failures == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "error: {} images are wrapped as they were:\n  {}\nrun `lambent account key rewrap` again",
        found.failures,
        found.named.join("\n  ")
    );
    Ok(ExitCode::FAILURE)
}

fn set_revoked(parts: &Parts, revoked: bool, json: bool) -> Result<()> {
    let (account, runtime) = (&parts.images.account, &parts.images.runtime);
    let own = runtime.block_on(keyring(parts)?.set_revoked(account, revoked))?;
    if json {
        return output::print_json(&json!({ "account": account.as_str(), "revoked": own.revoked }));
    }
    if revoked {
        println!("The key of account {account} is revoked: no image of it can be opened with this keyring.");
        println!("Daemons that use it wipe their keys within key_life_seconds of their worker.toml (60 s by default).");
    } else {
        println!("The key of account {account} is valid again.");
    }
    Ok(())
}

fn prune(parts: &Parts, json: bool) -> Result<()> {
    let images = &parts.images;
    let keyring = keyring(parts)?;
    let used = images.wrapping_keys()?.images;
    let keep = used.keys().map(|key| key.name().to_owned()).collect();
    let runtime = &images.runtime;
    let before = runtime.block_on(keyring.account(&images.account))?;
    let left = runtime.block_on(keyring.prune(&images.account, keep))?;
    let before = before.map_or_else(Vec::new, |own| own.names);
    let removed: Vec<&String> = before.iter().filter(|name| !left.names.contains(name)).collect();
    if json {
        return output::print_json(&json!({ "removed": removed, "left": left.names }));
    }
    println!("{} keys removed, {} left", removed.len(), left.names.len());
    Ok(())
}

/// What only the keyring does; the others have tools of their own for it.
fn keyring(parts: &Parts) -> Result<&Keyring> {
    match &parts.images.keys {
        KeyProvider::Local(keyring) => Ok(keyring),
        KeyProvider::AwsKms(_) => bail!(
            "keys of AWS KMS are revoked and removed there: disable the key, or deny the account in its policy by the \
             encryption context lambent:account"
        ),
        KeyProvider::Vault(_) => bail!(
            "keys of Vault are revoked and removed there: change the policies of the workers' tokens, or raise the key's \
             min_decryption_version"
        ),
    }
}
